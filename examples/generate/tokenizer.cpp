#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <unicode/classes.hpp>

#include "tokenizer.hpp"

namespace generate {
namespace {

enum class kind { letter, number, space, other };

struct character {
  std::size_t begin, end;  // bytes
  std::uint32_t point;
  kind what;
};

kind kind_of(std::uint32_t point) {
  return unicode::is_letter(point) ? kind::letter : unicode::is_number(point) ? kind::number : unicode::is_space(point) ? kind::space : kind::other;
}

std::vector<character> classified(std::string_view text) {
  std::vector<character> out;
  for (const auto& [begin, end, point] : unicode::characters(text)) out.push_back({begin, end, point, kind_of(point)});
  return out;
}

/// Length, in characters, of the piece of GPT-2's pattern at position i of a stretch without numbers that ends at `end`:
/// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
std::size_t piece_length(const std::vector<character>& text, std::size_t i, std::size_t end) {
  const auto is = [&](std::size_t at, char c) { return at < end && text[at].point == static_cast<std::uint32_t>(c); };
  if (is(i, '\'')) {
    for (const char* ending : {"s", "t", "re", "ve", "m", "ll", "d"}) {
      const std::size_t length = std::char_traits<char>::length(ending);
      if (is(i + 1, ending[0]) && (length == 1 || is(i + 2, ending[1]))) return 1 + length;
    }
  }
  const std::size_t start = is(i, ' ') ? i + 1 : i;
  for (const kind what : {kind::letter, kind::other}) {
    std::size_t stop = start;
    while (stop < end && text[stop].what == what) ++stop;
    if (stop > start) return stop - i;
  }
  std::size_t stop = i;
  while (stop < end && text[stop].what == kind::space) ++stop;
  // The last space before a word belongs to the word, so a longer run stops one short of it.
  return stop < end && stop - i > 1 ? stop - i - 1 : stop - i;
}

/// GPT-2's alphabet: printable bytes stand for themselves, the others for U+0100 and up; a token in the file is UTF-8 over it.
std::string bytes_of(const std::string& token) {
  static const std::vector<std::uint32_t> alphabet = [] {
    std::vector<std::uint32_t> points(256);
    std::uint32_t next = 0x100;
    for (std::uint32_t b = 0; b < 256; ++b) points[b] = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174 ? b : next++;
    return points;
  }();
  std::string bytes;
  for (const auto& c : unicode::characters(token)) {
    const auto found = std::find(alphabet.begin(), alphabet.end(), c.point);
    if (found == alphabet.end()) throw std::runtime_error("tokenizer: token '" + token + "' is not over the byte alphabet");
    bytes += static_cast<char>(found - alphabet.begin());
  }
  return bytes;
}

}  // namespace

tokenizer::tokenizer(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("tokenizer: cannot open " + path);
  std::string line, format, word;
  std::getline(file, line);
  std::size_t num_tokens = 0, num_merges = 0, num_specials = 0;
  std::istringstream header(line);
  header >> format >> num_tokens >> word >> num_merges >> word >> num_specials;
  if (format != "byte-level-bpe" || num_specials > num_tokens) throw std::runtime_error("tokenizer: " + path + " is no byte-level-bpe file");

  std::fill(std::begin(byte_ids_), std::end(byte_ids_), -1);
  std::unordered_map<std::string, token_id> ids;
  for (std::size_t i = 0; i < num_tokens && std::getline(file, line); ++i) {
    const auto id = static_cast<token_id>(i);
    if (i < num_specials) {
      specials_.push_back(line);
      special_ids_[line] = id;
      bytes_.push_back(line);
      continue;
    }
    bytes_.push_back(bytes_of(line));
    ids[line] = id;
    if (bytes_.back().size() == 1) byte_ids_[static_cast<unsigned char>(bytes_.back()[0])] = id;
  }
  std::size_t rank = 0;
  for (; rank < num_merges && std::getline(file, line); ++rank) {
    const std::size_t space = line.find(' ');
    const auto a = ids.find(line.substr(0, space)), b = ids.find(line.substr(space + 1));
    const auto both = space == std::string::npos ? ids.end() : ids.find(line.substr(0, space) + line.substr(space + 1));
    if (a == ids.end() || b == ids.end() || both == ids.end()) throw std::runtime_error("tokenizer: merge '" + line + "' is not over the vocabulary");
    merges_.try_emplace(pair_key(a->second, b->second), merge{static_cast<std::int32_t>(rank), both->second});
  }
  if (bytes_.size() != num_tokens || rank != num_merges) throw std::runtime_error("tokenizer: " + path + " ends early");
  std::sort(specials_.begin(), specials_.end(), [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
}

void tokenizer::encode_piece(std::string_view piece, std::vector<token_id>& ids) const {
  std::vector<token_id> symbols;
  for (const char c : piece)
    if (const token_id id = byte_ids_[static_cast<unsigned char>(c)]; id >= 0) symbols.push_back(id);
  for (;;) {
    const merge* best = nullptr;
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = merges_.find(pair_key(symbols[i], symbols[i + 1]));
      if (found != merges_.end() && (!best || found->second.rank < best->rank)) {
        best = &found->second;
        at = i;
      }
    }
    if (!best) break;
    symbols[at] = best->result;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

void tokenizer::encode_stretch(std::string_view text, std::vector<token_id>& ids) const {
  const std::vector<character> chars = classified(text);
  for (std::size_t i = 0, end = 0; i < chars.size();) {
    // Each number is a piece of its own; the pattern sees only what lies between numbers, [i, end).
    if (end < i) end = i;
    while (end < chars.size() && chars[end].what != kind::number) ++end;
    const std::size_t length = end == i ? 1 : piece_length(chars, i, end);
    encode_piece(text.substr(chars[i].begin, chars[i + length - 1].end - chars[i].begin), ids);
    i += length;
  }
}

std::vector<token_id> tokenizer::encode(std::string_view text) const {
  std::vector<token_id> ids;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size();) {
    const auto special = std::find_if(specials_.begin(), specials_.end(), [&](const std::string& s) { return text.substr(i, s.size()) == s; });
    if (special == specials_.end()) {
      ++i;
      continue;
    }
    encode_stretch(text.substr(begin, i - begin), ids);
    ids.push_back(special_ids_.at(*special));
    begin = i += special->size();
  }
  encode_stretch(text.substr(begin), ids);
  return ids;
}

std::string tokenizer::decode(const std::vector<token_id>& ids) const {
  std::string text;
  for (const token_id id : ids) text += bytes(id);
  return text;
}

std::string chat_prompt(const std::string& question) {
  return "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\n" + question +
         "<|im_end|>\n<|im_start|>assistant\n";
}

}  // namespace generate
