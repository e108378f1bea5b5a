"""Compiles every kernel for devices and holds what ptxas says of it (registers, stack, spills, static shared memory) against kernels/ptxas.txt, and
how much code it is against a limit.

usage: ptxas.py check|write NVCC REPOSITORY
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ARCHITECTURES = ("80", "90a")
FOR_90A_ALONE = ("hopper.cu",)
MOST_MEGABYTES = 24  # of code for one architecture


def demangled(name):
    text = subprocess.run(["c++filt", name], check=True, capture_output=True, text=True).stdout.strip()
    # The signature repeats the template's arguments.
    text = re.sub(r"rapt::v0::(kernels::)?|void ", "", text)
    # Nor does the type of an enumerator say more than its number.
    return re.sub(r"\(\w+\)(\d)", r"\1", text).split("(")[0]


def compile_kernels(nvcc, root, source, architecture):
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc, "-std=c++20", "-O3", "--fmad=false", "--expt-relaxed-constexpr", f"-gencode=arch=compute_{architecture},code=sm_{architecture}",
                   "-Xptxas", "-v", "-I", str(root), "-I", str(root / "include"), "-cubin", str(source), "-o", folder + "/kernels.cubin"]
        done = subprocess.run(command, capture_output=True, text=True)
        output = done.stdout + done.stderr
        # C75xx, which are no warnings: products that are serialised, registers that are not moved.
        if done.returncode or re.search(r"warning|\(C75\d\d\)", output):
            raise RuntimeError(f"{' '.join(command)}\n{output}")
        return output, os.path.getsize(command[-1])


def lines_of(output, architecture):
    entries = re.split(r"Compiling entry function '", output)[1:]
    for entry in entries:
        stack, stores, loads, registers = (int((re.search(pattern, entry) or [0, 0])[1]) for pattern in
                                           (r"(\d+) bytes stack", r"(\d+) bytes spill stores", r"(\d+) bytes spill loads", r"Used (\d+) registers"))
        yield f"sm_{architecture} {demangled(entry.split(chr(39))[0])}: {registers} registers, {stack} bytes of stack, {stores + loads} of spills"


def main():
    verb, nvcc, root = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    table = root / "kernels/ptxas.txt"
    units = [(source, architecture) for source in sorted(root.glob("kernels/*.cu")) for architecture in ARCHITECTURES
             if architecture == "90a" or source.name not in FOR_90A_ALONE]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = list(pool.map(lambda unit: compile_kernels(nvcc, root, *unit), units))
    found = sorted(line for (output, _), (_, architecture) in zip(compiled, units) for line in lines_of(output, architecture))
    sizes = [(architecture, size) for (_, size), (_, architecture) in zip(compiled, units)]
    megabytes = {name: sum(size for architecture, size in sizes if architecture == name) / 1e6 for name in ARCHITECTURES}
    print(", ".join(f"sm_{architecture}: {size:.1f} MB of code" for architecture, size in megabytes.items()))
    if verb == "write":
        table.write_text("\n".join(found) + "\n")
        return
    if max(megabytes.values()) > MOST_MEGABYTES:
        sys.exit(f"more than {MOST_MEGABYTES} MB of code for an architecture")
    expected = table.read_text().splitlines()
    for line in found:
        if " 0 of spills" not in line:
            sys.exit(f"spills: {line}")
    changed = [f"- {line}" for line in expected if line not in found] + [f"+ {line}" for line in found if line not in expected]
    if changed:
        sys.exit(f"{table} is not what {nvcc} gives:\n" + "\n".join(changed))
    print(f"{len(found)} kernels as in {table}")


main()
