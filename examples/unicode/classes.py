#!/usr/bin/env python3
"""Writes classes.hpp: the letters (\\p{L}), numbers (\\p{N}) and white space that a byte-level BPE tokenizer's pattern asks for.

    python3 examples/unicode/classes.py > examples/unicode/classes.hpp
"""

from tables import category, print_header, print_pairs, ranges

# The White_Space property (PropList.txt); Python's str.isspace is another set.
WHITE_SPACE = [*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]

print_header("classes.py", "which characters are letters, numbers and white space")
print_pairs("code_range letters", ranges(category("L")))
print_pairs("code_range numbers", ranges(category("N")))
print_pairs("code_range white_space", ranges(WHITE_SPACE))
print("""// clang-format on

inline bool is_letter(std::uint32_t point) { return contains(letters, point); }
inline bool is_number(std::uint32_t point) { return contains(numbers, point); }
inline bool is_space(std::uint32_t point) { return contains(white_space, point); }

}  // namespace unicode""")
