"""Every include against the table of rooms. usage: include_directions.py REPOSITORY"""

import pathlib
import re
import sys

PUBLIC = {  # include/rapt/<room> may include these rooms of include/rapt
    "version.hpp": [],
    "core": ["version.hpp", "core"],
    "ops": ["core", "ops"],
    "attention": ["core", "ops", "attention"],
    "state": ["core", "ops", "attention", "state"],
    "cpu": ["core", "cpu"],
    "cuda": ["core", "cuda"],
    "interop": ["core"],
    "rapt.hpp": ["version.hpp", "core", "ops", "attention", "state", "cpu"],
    "cuda.hpp": ["rapt.hpp", "cuda"],
}
PRIVATE = {  # src/<room> may include these rooms of src, and what include/rapt/<room> may
    "core": ["core"],
    "math": ["core", "math"],
    "ops": ["core", "math", "ops"],
    "attention": ["core", "math", "ops", "attention"],
    "state": ["core", "attention", "state"],
    "cpu": ["core", "math", "cpu"],
    "cuda": ["core", "cuda", "kernels"],
}
# The templates compiled for one backend: the only place that sees both.
PRIVATE["instances"] = []
# Programs, which no other room may include.
PRIVATE["tools"] = ["state", "tools"]
PUBLIC_OF_SRC = {**PUBLIC, "math": ["core"], "instances": ["core", "ops", "attention", "cpu", "cuda"],
                 "tools": ["core", "attention", "state", "cpu"]}
SOURCES = (".cpp", ".cu", ".hpp")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def room_of(path):
    return path.parts[0]


def check(file, room, public_rooms, private_rooms):
    for number, line in enumerate(file.read_text().splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        quote, path = found.groups()
        parts = pathlib.PurePosixPath(path).parts
        reason = None
        if ".." in parts:
            reason = "no ../"
        elif quote == '"':
            reason = "angle brackets from the root"
        elif parts[0] == "rapt":
            if parts[1] not in public_rooms:
                reason = f"{room} includes {', '.join(public_rooms) or 'nothing'} of rapt/"
        elif parts[0] in PRIVATE or parts[0] == "kernels":
            if parts[0] not in private_rooms:
                reason = f"{room} includes {', '.join(private_rooms) or 'nothing'} of src/"
        if reason:
            yield f"{file}:{number}: {line.strip()}   ({reason})"


def main():
    root = pathlib.Path(sys.argv[1])
    offences, num_files = [], 0
    for base, public, private in ((root / "include/rapt", PUBLIC, {}), (root / "src", PUBLIC_OF_SRC, PRIVATE)):
        for file in sorted(base.rglob("*")):
            if file.suffix not in SOURCES:
                continue
            room = room_of(file.relative_to(base))
            num_files += 1
            if room not in public or (base.name == "src" and room not in private):
                offences.append(f"{file}: room {room} is not in the table of {pathlib.Path(__file__).name}")
                continue
            offences += check(file, room, public[room], private.get(room, []))
    for file in sorted((root / "kernels").rglob("*")):
        if file.suffix in SOURCES:
            num_files += 1
            offences += check(file, "kernels", PUBLIC["core"], ["kernels"])
    print("\n".join(offences))
    print(f"{num_files} files, {len(offences)} includes against the table")
    sys.exit(1 if offences or num_files == 0 else 0)


main()
