#!/usr/bin/env python3
"""Writes unicode_classes.hpp: the letters (\\p{L}), numbers (\\p{N}) and white space that the tokenizer's pattern asks for.

    python3 examples/generate/unicode_classes.py > examples/generate/unicode_classes.hpp
"""

import unicodedata

# The White_Space property (PropList.txt); Python's str.isspace is another set.
WHITE_SPACE = [*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]


def ranges(points):
    runs = []
    for point in points:
        if runs and runs[-1][1] == point - 1:
            runs[-1][1] = point
        else:
            runs.append([point, point])
    return runs


def table(name, points):
    print(f"inline constexpr code_range {name}[] = {{")
    line = "   "
    for first, last in ranges(points):
        cell = f" {{0x{first:X}, 0x{last:X}}},"
        if len(line) + len(cell) > 150:
            print(line)
            line = "   "
        line += cell
    print(line + "\n};")


def category(letter):
    return [point for point in range(0x110000) if unicodedata.category(chr(point)).startswith(letter)]


print(f"""// Written by unicode_classes.py from Unicode {unicodedata.unidata_version}: which characters are letters, numbers and white space.
#pragma once
#include <algorithm>
#include <cstdint>
#include <iterator>

namespace unicode {{

struct code_range {{ std::uint32_t first, last; }};

// clang-format off""")
table("letters", category("L"))
table("numbers", category("N"))
table("white_space", WHITE_SPACE)
print("""// clang-format on

template <std::size_t n>
bool contains(const code_range (&ranges)[n], std::uint32_t point) {
  const auto next = std::upper_bound(std::begin(ranges), std::end(ranges), point, [](std::uint32_t p, const code_range& r) { return p < r.first; });
  return next != std::begin(ranges) && point <= std::prev(next)->last;
}

inline bool is_letter(std::uint32_t point) { return contains(letters, point); }
inline bool is_number(std::uint32_t point) { return contains(numbers, point); }
inline bool is_space(std::uint32_t point) { return contains(white_space, point); }

}  // namespace unicode""")
