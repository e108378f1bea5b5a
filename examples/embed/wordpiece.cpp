#include <fstream>
#include <stdexcept>
#include <unicode/classes.hpp>
#include <unicode/folding.hpp>

#include "wordpiece.hpp"

namespace embed {
namespace {

constexpr unicode::code_range ideographs[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},   {0x20000, 0x2A6DF},
                                              {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B820, 0x2CEAF}, {0x2F800, 0x2FA1F}};

/// Calls put(point) for what is left of a character without accents and in lower case.
template <class F>
void fold(std::uint32_t point, F put) {
  if (unicode::contains(unicode::accents, point)) return;
  if (point >= 0xAC00 && point < 0xD7A4) {  // a Hangul syllable is its leading consonant, vowel and, if any, trailing consonant
    const std::uint32_t syllable = point - 0xAC00;
    put(0x1100 + syllable / 588), put(0x1161 + syllable % 588 / 28);
    if (syllable % 28) put(0x11A7 + syllable % 28);
    return;
  }
  if (point < 0x80) return put(point >= 'A' && point <= 'Z' ? point + 32 : point);
  auto found = std::lower_bound(std::begin(unicode::foldings), std::end(unicode::foldings), point,
                                [](const unicode::folding& f, std::uint32_t p) { return f.from < p; });
  if (found == std::end(unicode::foldings) || found->from != point) return put(point);
  for (; found != std::end(unicode::foldings) && found->from == point; ++found) put(found->to);
}

bool is_punctuation(std::uint32_t point) {
  const bool ascii_symbol = point > 0x20 && point < 0x7F && !(point >= '0' && point <= '9') && !((point | 0x20) >= 'a' && (point | 0x20) <= 'z');
  return ascii_symbol || unicode::contains(unicode::punctuation, point);
}

/// Words of the folded text; a punctuation mark or an ideograph is a word of its own.
std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  bool open = false;  // whether the last word may grow
  const auto add = [&](std::uint32_t point, bool alone) {
    if (!open || alone) out.emplace_back();
    unicode::append_utf8(point, out.back());
    open = !alone;
  };
  for (const auto& c : unicode::characters(text)) {
    const bool line_space = c.point == '\t' || c.point == '\n' || c.point == '\r';
    if (c.point == unicode::invalid || c.point == 0xFFFD || (unicode::contains(unicode::controls, c.point) && !line_space)) continue;
    if (unicode::is_space(c.point)) {
      open = false;
      continue;
    }
    const bool ideograph = unicode::contains(ideographs, c.point);
    fold(c.point, [&](std::uint32_t point) { add(point, ideograph || is_punctuation(point)); });
  }
  return out;
}

}  // namespace

wordpiece::wordpiece(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("wordpiece: cannot open " + path);
  token_id next = 0;
  for (std::string line; std::getline(file, line);) ids_.try_emplace(line, next++);
  const auto special = [&](const char* name) {
    const auto found = ids_.find(name);
    if (found == ids_.end()) throw std::runtime_error("wordpiece: " + path + " has no " + name);
    return found->second;
  };
  cls_ = special("[CLS]"), sep_ = special("[SEP]"), unknown_ = special("[UNK]");
}

void wordpiece::encode_word(const std::string& word, std::vector<token_id>& ids) const {
  constexpr std::size_t max_characters = 100;
  const std::size_t before = ids.size();
  const auto characters = unicode::characters(word);
  bool known = characters.size() <= max_characters;
  for (std::size_t i = 0; known && i < characters.size();) {
    std::size_t end = characters.size();
    const auto piece = [&] { return (i ? "##" : "") + word.substr(characters[i].begin, characters[end - 1].end - characters[i].begin); };
    while (end > i && !ids_.contains(piece())) --end;
    known = end > i;
    if (known) ids.push_back(ids_.at(piece()));
    i = end;
  }
  if (known) return;
  ids.resize(before);
  ids.push_back(unknown_);
}

std::vector<token_id> wordpiece::encode(std::string_view text, std::size_t max_len) const {
  std::vector<token_id> ids{cls_};
  for (const std::string& word : words(text)) encode_word(word, ids);
  if (ids.size() + 1 > max_len) ids.resize(max_len - 1);
  ids.push_back(sep_);
  return ids;
}

}  // namespace embed
