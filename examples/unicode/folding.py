#!/usr/bin/env python3
"""Writes folding.hpp: what BERT's uncased normaliser and its splitting at punctuation need.

    python3 examples/unicode/folding.py .models/minilm-l6-v2-vocab.txt > examples/unicode/folding.hpp

A character is folded by decomposing it (NFD), dropping accents and lower-casing what is left. The table keeps the characters whose folded
form is made of characters of the vocabulary; any other becomes [UNK] folded or not. Hangul is folded by arithmetic.
"""

import sys
import unicodedata

from tables import category, print_header, print_pairs, ranges

vocabulary = set(open(sys.argv[1], encoding="utf-8").read())
pairs = []
for point in range(0x110000):
    if 0xAC00 <= point < 0xD7A4 or 0xD800 <= point < 0xE000:
        continue
    folded = "".join(c for c in unicodedata.normalize("NFD", chr(point)) if unicodedata.category(c) != "Mn").lower()
    if folded != chr(point) and vocabulary.issuperset(folded):
        pairs += [(point, ord(c)) for c in folded]

print_header("folding.py", "folded characters, accents, punctuation and control characters")
print("struct folding { std::uint32_t from, to; };  // several entries with one `from` are appended in order")
print_pairs("folding foldings", pairs)
print_pairs("code_range accents", ranges(category("Mn")))
print_pairs("code_range punctuation", ranges(category("P")))
print_pairs("code_range controls", ranges(sorted(category("Cc") + category("Cf") + category("Co"))))
print("""// clang-format on

}  // namespace unicode""")
