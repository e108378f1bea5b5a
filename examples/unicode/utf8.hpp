// UTF-8 to code points and back, and look-up in the range tables beside this file.
#pragma once
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace unicode {

struct code_range {
  std::uint32_t first, last;
};

template <std::size_t n>
bool contains(const code_range (&ranges)[n], std::uint32_t point) {
  const auto next = std::upper_bound(std::begin(ranges), std::end(ranges), point, [](std::uint32_t p, const code_range& r) { return p < r.first; });
  return next != std::begin(ranges) && point <= std::prev(next)->last;
}

inline constexpr std::uint32_t invalid = 0xFFFFFFFF;

struct character {
  std::size_t begin, end;  // bytes
  std::uint32_t point;     // invalid: a byte that belongs to no character
};

/// Splits UTF-8 into characters. Overlong forms, surrogates and values past the end of Unicode are no characters: each of their bytes stands alone.
inline std::vector<character> characters(std::string_view text) {
  std::vector<character> out;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xC2 && lead < 0xE0 ? 2
                               : lead >= 0xE0 && lead < 0xF0 ? 3
                               : lead >= 0xF0 && lead < 0xF5 ? 4
                                                             : 0;
    std::uint32_t point = length <= 1 ? lead : lead & (0x7Fu >> length);
    bool valid = length > 0 && i + length <= text.size();
    for (std::size_t j = 1; valid && j < length; ++j) {
      const auto next = static_cast<unsigned char>(text[i + j]);
      valid = (next & 0xC0) == 0x80;
      point = point << 6 | (next & 0x3Fu);
    }
    if (length == 3) valid = valid && point >= 0x800 && (point < 0xD800 || point > 0xDFFF);
    if (length == 4) valid = valid && point >= 0x10000 && point <= 0x10FFFF;
    const std::size_t end = i + (valid ? length : 1);
    out.push_back({i, end, valid ? point : invalid});
    i = end;
  }
  return out;
}

inline void append_utf8(std::uint32_t point, std::string& out) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (point >> shift & 0x3F)); };
  if (point < 0x80) return void(out += static_cast<char>(point));
  if (point < 0x800) return out += static_cast<char>(0xC0 | point >> 6), tail(0);
  if (point < 0x10000) return out += static_cast<char>(0xE0 | point >> 12), tail(6), tail(0);
  out += static_cast<char>(0xF0 | point >> 18);
  tail(12), tail(6), tail(0);
}

}  // namespace unicode
