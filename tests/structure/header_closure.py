"""What each public header pulls in: rapt's own headers and what the standard library pulls in itself, nothing else.

usage: header_closure.py COMPILER INCLUDE_DIR     (rapt/interop is opt-in and may bring its library)
"""

import pathlib
import subprocess
import sys

STANDARD = """algorithm any array atomic barrier bit bitset charconv chrono cmath compare complex concepts condition_variable coroutine cstddef cstdint
cstdio cstdlib cstring deque exception filesystem fstream functional future initializer_list iomanip ios iostream istream iterator latch
limits list locale map memory memory_resource mutex new numbers numeric optional ostream queue random ranges ratio regex scoped_allocator semaphore set
shared_mutex span sstream stack stdexcept stop_token streambuf string string_view system_error thread tuple type_traits typeindex typeinfo
unordered_map unordered_set utility valarray variant vector version""".split()


def files_of(compiler, include, source):
    made = subprocess.run([compiler, "-std=c++20", "-M", "-x", "c++", f"-I{include}", "-"], input=source, capture_output=True, text=True)
    if made.returncode:
        sys.exit(f"{source}\n{made.stderr}")
    return {str(pathlib.Path(f).resolve()) for f in made.stdout.replace("\\\n", " ").split()[1:] if f != "-"}


def main():
    compiler, include = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    # <execution> is left out: here it brings oneTBB, which no header of rapt may pull in.
    standard = files_of(compiler, include, "".join(f"#include <{h}>\n" for h in STANDARD))
    headers = [h.relative_to(include) for h in sorted(include.rglob("*.hpp")) if "interop" not in h.parts]
    offences = 0
    for header in headers:
        for file in sorted(files_of(compiler, include, f"#include <{header}>\n") - standard):
            if not pathlib.Path(file).is_relative_to(include / "rapt"):
                print(f"{header} pulls in {file}")
                offences += 1
    print(f"{len(headers)} headers, {offences} foreign files")
    sys.exit(1 if offences or not headers else 0)


main()
