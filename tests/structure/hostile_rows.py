"""Every row of the table of bad inputs in docs/reliability.md has a test that is named by it: hostile_06_every_bit_flip_is_rejected is one of row 6.

usage: hostile_rows.py SOURCE_DIR
"""

import pathlib
import re
import sys

ROWS = [f"{n:02}" for n in range(1, 49)] + ["37b"]


def main():
    root = pathlib.Path(sys.argv[1])
    tests = {}
    for file in sorted((root / "tests").rglob("*_test.cpp")):
        for name in re.findall(r"^TEST(?:_[FP])?\(\s*\w+,\s*(hostile_\w+)\)", file.read_text(), re.MULTILINE):
            tests.setdefault(name, file.relative_to(root))
    numbered = {name: match[1] for name in tests if (match := re.match(r"hostile_(\d\d[a-z]?)_", name))}
    documented = re.findall(r"^\| (\d+[a-z]?) \|", (root / "docs" / "reliability.md").read_text(), re.MULTILINE)
    documented = [re.sub(r"^\d(?!\d)", r"0\g<0>", row) for row in documented]
    offences = [f"row {row}: no test is named hostile_{row}_..." for row in ROWS if row not in numbered.values()]
    offences += [f"row {row}: not in docs/reliability.md" for row in ROWS if row not in documented]
    offences += [f"docs/reliability.md has row {row}, which this test does not know" for row in documented if row not in ROWS]
    offences += [f"{tests[name]}: {name} names a row that is not in the table" for name, row in numbered.items() if row not in ROWS]
    print(*offences, f"{len(ROWS)} rows, {len(numbered)} tests, {len(offences)} offences", sep="\n")
    sys.exit(1 if offences else 0)


main()
