"""Holds what ptxas says of every kernel of rapt::cuda (registers, stack, spills) against kernels/ptxas.txt, and the library's size against a limit.

usage: ptxas.py check|write LOG LIBRARY

LOG is what the library's build printed, all of it compiled, with CMAKE_CUDA_FLAGS=-Xptxas=-v.
"""

import pathlib
import re
import subprocess
import sys

TABLE = pathlib.Path(__file__).with_name("ptxas.txt")
MOST_MEGABYTES = 44  # of the library


def demangled(names):
    text = subprocess.run(["c++filt"], input="\n".join(names), check=True, capture_output=True, text=True).stdout
    # The signature repeats the template's arguments.
    text = re.sub(r"rapt::v0::(kernels::)?|void ", "", text)
    # Nor does the type of an enumerator say more than its number.
    text = re.sub(r"\(\w+\)(\d)", r"\1", text)
    return [line.split("(")[0] for line in text.splitlines()]


def lines_of(log):
    parts = re.split(r"Compiling entry function '(\w+)' for '(\w+)'", log)[1:]
    for name, architecture, said in zip(demangled(parts[0::3]), parts[1::3], parts[2::3]):
        stack, stores, loads, registers = (int(re.search(pattern, said)[1]) for pattern in
                                           (r"(\d+) bytes stack", r"(\d+) bytes spill stores", r"(\d+) bytes spill loads", r"Used (\d+) registers"))
        yield f"{architecture} {name}: {registers} registers, {stack} bytes of stack, {stores + loads} of spills"


def main():
    verb, log, library = sys.argv[1], pathlib.Path(sys.argv[2]).read_text(), pathlib.Path(sys.argv[3])
    # C75xx are no warnings to nvcc: products that are serialised, registers that are not moved.
    if said := re.search(r".*\(C75\d\d\).*", log):
        sys.exit(said[0])
    found = sorted(set(lines_of(log)))
    if verb == "write":
        TABLE.write_text("\n".join(found) + "\n")
    for line in found:
        if " 0 of spills" not in line:
            sys.exit(f"spills: {line}")
    expected = TABLE.read_text().splitlines()
    changed = [f"- {line}" for line in expected if line not in found] + [f"+ {line}" for line in found if line not in expected]
    if changed:
        sys.exit(f"{TABLE} is not what nvcc gives:\n" + "\n".join(changed))
    megabytes = library.stat().st_size / 1e6
    print(f"{len(found)} kernels as in {TABLE}; {library.name} has {megabytes:.1f} MB")
    if megabytes > MOST_MEGABYTES:
        sys.exit(f"{MOST_MEGABYTES} are the most")


main()
