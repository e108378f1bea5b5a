"""What the two generators of tables share: runs of code points, and how they are printed."""

import unicodedata


def category(start):
    return [point for point in range(0x110000) if unicodedata.category(chr(point)).startswith(start)]


def ranges(points):
    runs = []
    for point in points:
        if runs and runs[-1][1] == point - 1:
            runs[-1][1] = point
        else:
            runs.append([point, point])
    return runs


def print_pairs(declaration, pairs):
    print(f"inline constexpr {declaration}[] = {{")
    line = "   "
    for first, last in pairs:
        cell = f" {{0x{first:X}, 0x{last:X}}},"
        if len(line) + len(cell) > 150:
            print(line)
            line = "   "
        line += cell
    print(line + "\n};")


def print_header(script, purpose):
    print(f"// Written by {script} from Unicode {unicodedata.unidata_version}: {purpose}.\n#pragma once\n#include <unicode/utf8.hpp>\n\nnamespace unicode {{\n\n// clang-format off")
