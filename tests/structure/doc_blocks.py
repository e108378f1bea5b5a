"""Compiles and links every C++ block of the documents.

usage: doc_blocks.py REPOSITORY SCRATCH_DIR COMPILER [FLAG...]     ('--link FLAG...' ends the compile flags)

A block with a main() is a program. Any other becomes the body of a function; a comment `<!-- given: declarations -->` above it, which no reader of the
page sees, declares what the page's text has introduced. `<!-- file scope -->` above a block puts it outside of a function.
"""

import concurrent.futures
import pathlib
import re
import subprocess
import sys

BLOCK = re.compile(r"(?:<!--\s*(?P<note>given:.*?|file scope)\s*-->\s*)?^```cpp\n(?P<code>.*?)^```", re.S | re.M)
PRELUDE = "#include <structure/doc_prelude.hpp>\n"


def unit_of(block, file, line):
    code, note = block["code"], block["note"] or ""
    at = f'#line {line} "{file}"\n'
    if re.search(r"\bint main\(", code):
        return at + code
    if note == "file scope":
        return f"{PRELUDE}{at}{code}\nint main() {{}}\n"
    includes = "".join(l + "\n" for l in code.splitlines() if l.startswith("#include"))
    body = "\n".join("" if l.startswith("#include") else l for l in code.splitlines())
    given = note.removeprefix("given:")
    return f"{PRELUDE}{includes}void block();\nvoid block() {{\n{given}\n{at}{body}\n}}\nint main() {{}}\n"


def build(task):
    source, where, command = task
    made = subprocess.run(command, capture_output=True, text=True)
    return where, made.returncode, made.stderr


def main():
    root, scratch = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    flags = [flag for flag in sys.argv[3:] if flag]
    split = flags.index("--link")
    compile_flags, link_flags = flags[:split], flags[split + 1:]
    scratch.mkdir(parents=True, exist_ok=True)
    tasks = []
    for file in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        if not file.exists():
            continue
        text = file.read_text()
        for number, block in enumerate(BLOCK.finditer(text)):
            line = text.count("\n", 0, block.start("code")) + 1
            source = scratch / f"{file.stem}_{number}.cpp"
            source.write_text(unit_of(block, file, line))
            command = [*compile_flags, "-std=c++20", f"-I{root / 'include'}", f"-I{root / 'tests'}", str(source), "-o", str(source.with_suffix("")), *link_flags]
            tasks.append((source, f"{file.relative_to(root)}:{line}", command))
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for where, code, messages in pool.map(build, tasks):
            if code:
                failures += 1
                print(f"{where}: this block does not build\n{messages}")
    print(f"{len(tasks)} blocks, {failures} that do not build")
    sys.exit(1 if failures else 0 if tasks else 77)


main()
