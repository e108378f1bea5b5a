// SmolLM2's byte-level BPE tokenizer: text to token ids and back.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace generate {

using token_id = std::int32_t;

class tokenizer {
 public:
  /// Reads the file that examples/models/fetch.py writes. Throws std::runtime_error where it is not one.
  explicit tokenizer(const std::string& path);

  /// Special tokens such as <|im_start|> are recognised in the text. Nothing is added. Any bytes are accepted; the 21 bytes that have no token
  /// (control characters and bytes that UTF-8 does not use) are dropped, as the original does.
  std::vector<token_id> encode(std::string_view text) const;

  /// The bytes of one token. A character may be split across tokens.
  std::string_view bytes(token_id id) const { return bytes_.at(static_cast<std::size_t>(id)); }
  std::string decode(const std::vector<token_id>& ids) const;

 private:
  struct merge {
    std::int32_t rank;
    token_id result;
  };
  static std::uint64_t pair_key(token_id a, token_id b) { return std::uint64_t(std::uint32_t(a)) << 32 | std::uint32_t(b); }
  void encode_piece(std::string_view piece, std::vector<token_id>& ids) const;
  void encode_stretch(std::string_view text, std::vector<token_id>& ids) const;

  std::vector<std::string> bytes_;
  std::vector<std::string> specials_;  // the first ids, longest text first when searched
  std::unordered_map<std::string, token_id> special_ids_;
  std::unordered_map<std::uint64_t, merge> merges_;
  token_id byte_ids_[256];  // -1: no token
};

/// The chat format the model was trained on, one question, ready for the answer; an answer ends with end_of_turn.
std::string chat_prompt(const std::string& question);
inline constexpr token_id end_of_turn = 2;

}  // namespace generate
