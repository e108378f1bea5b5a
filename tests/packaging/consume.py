"""Builds one consumer project and compares what it prints with what the same program prints inside rapt's own build.

usage: consume.py KIND --source REPOSITORY --build DIR --prefix INSTALLED --reference PROGRAM --compiler CXX [--flags FLAGS]
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys


def run(command, **options):
    made = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if made.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{made.stdout}{made.stderr}")
    return made.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["find_package", "add_subdirectory", "fetch_content", "pkg_config"])
    for name in ("source", "build", "prefix", "reference", "compiler"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--flags", default="")
    options = parser.parse_args()

    projects = pathlib.Path(options.source) / "tests/packaging"
    build = pathlib.Path(options.build)
    build.mkdir(parents=True, exist_ok=True)
    program = build / "consumer"
    if options.kind == "pkg_config":
        found = sorted(pathlib.Path(options.prefix).rglob("rapt.pc"))
        run([projects / "pkg_config/build.sh", options.compiler, program], env={**os.environ, "PKG_CONFIG_PATH": str(found[0].parent)})
    else:
        settings = [f"-DCMAKE_CXX_COMPILER={options.compiler}", "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_CXX_FLAGS={options.flags}"]
        if options.kind == "find_package":
            settings.append(f"-DCMAKE_PREFIX_PATH={options.prefix}")
        if options.kind == "fetch_content":
            settings += ["-DFETCHCONTENT_FULLY_DISCONNECTED=ON", f"-DFETCHCONTENT_SOURCE_DIR_RAPT={options.source}"]
        if shutil.which("ccache"):
            settings.append("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache")
        run(["cmake", "-S", projects / options.kind, "-B", build, "-G", "Ninja", *settings])
        run(["cmake", "--build", build, "-j", 2, "--target", "consumer"])

    printed, expected = run([program]), run([options.reference])
    print(f"{options.kind}: {printed}in rapt's own build: {expected}", end="")
    sys.exit(0 if printed == expected else "the bits differ")


main()
