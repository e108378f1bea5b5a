// BERT's uncased WordPiece tokenizer: text to token ids.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace embed {

using token_id = std::int32_t;

class wordpiece {
 public:
  /// Reads vocab.txt: one token a line, its number is its id. Throws std::runtime_error where the file or one of BERT's special tokens is missing.
  explicit wordpiece(const std::string& path);

  /// [CLS] text [SEP]. Special tokens are not recognised in the text. At most max_len ids, the text is cut to fit.
  std::vector<token_id> encode(std::string_view text, std::size_t max_len) const;

 private:
  void encode_word(const std::string& word, std::vector<token_id>& ids) const;

  std::unordered_map<std::string, token_id> ids_;
  token_id cls_, sep_, unknown_;
};

}  // namespace embed
