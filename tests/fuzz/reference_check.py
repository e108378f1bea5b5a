"""The reader beside the format's reference implementation (the package safetensors, which is Rust): over the corpora and many files mutated from them,
what rapt accepts the reference accepts, and what the reference accepts rapt accepts, but for the exceptions in docs/state-files.md.

    python tests/fuzz/reference_check.py RAPT_STATE [--files 4000] [--seed 1] [--keep FOLDER]

Each exception is recognised here from the file itself, never from what rapt says. With --keep, files on which the two disagree are kept there.
"""

import argparse
import collections
import json
import math
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import safetensors

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ["tests/fuzz/corpus/third_party", "tests/fuzz/corpus/load_state", "fixtures/golden"]
BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I8": 8, "I16": 16, "I32": 32, "I64": 64, "U8": 8, "U16": 16, "U32": 32, "U64": 64, "BOOL": 8, "C64": 64,
        "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
SUB_BYTE = {"F4", "F6_E2M3", "F6_E3M2"}
BATCH = 500


def seeds():
    files = [p.read_bytes() for folder in FOLDERS for p in sorted((ROOT / folder).iterdir())]
    for golden in sorted((ROOT / "fixtures/golden").iterdir()):  # as anybody's
        header, data = split(golden.read_bytes())
        tensors = json.loads(header)
        del tensors["__metadata__"]
        files += [with_length(json.dumps(tensors).encode(), data)] * 2
    for header in sorted((ROOT / "tests/fuzz/corpus/header").iterdir()):
        files.append(with_length(header.read_bytes(), b""))
        files.append(with_length(header.read_bytes(), bytes(range(256)) * 16))
    return files


def dictionary():
    words = re.findall(r'^"(.*)"$', (ROOT / "tests/fuzz/safetensors.dict").read_text(), re.M)
    return [re.sub(rb"\\x(..)", lambda m: bytes([int(m[1], 16)]), w.replace('\\"', '"').replace("\\\\", "\\").encode()) for w in words]


def with_length(header, data):
    return len(header).to_bytes(8, "little") + header + data


def split(file):
    length = int.from_bytes(file[:8], "little")
    return (file[8:8 + length], file[8 + length:]) if length <= len(file) - 8 else (file[8:], b"")


class Mutator:
    def __init__(self, seed):
        self.random, self.words, self.seeds = random.Random(seed), dictionary(), seeds()

    def file(self):
        file = self.random.choice(self.seeds)
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            file = self.random.choice((self.bytes_of_the_file, self.text_of_the_header, self.text_of_the_header, self.structure, self.structure))(file)
        return file

    def bytes_of_the_file(self, file):
        file = bytearray(file)
        at = self.random.randrange(len(file) + 1)
        kind = self.random.randrange(4)
        if kind == 0 and at < len(file):
            file[at] ^= 1 << self.random.randrange(8)
        elif kind == 1:
            del file[at:at + self.random.choice((1, 1, 7, 64))]
        elif kind == 2:
            file[at:at] = self.random.randbytes(self.random.choice((1, 4)))
        else:
            del file[at:]
        return bytes(file)

    def text_of_the_header(self, file):
        """An edit of the text, with the length made right."""
        header, data = split(file)
        header = bytearray(header)
        at = self.random.randrange(len(header) + 1)
        kind = self.random.randrange(5)
        if kind == 0:
            header[at:at] = self.random.choice(self.words)
        elif kind == 1:
            header[at:at + 1] = self.random.choice((b" ", b"\n", b"\t", b"\r", b"0", b"9", b"-", b".", b"e", b"[", b"]", b"{", b"}", b",", b'"', b"\0", b"\xff"))
        elif kind == 2:
            numbers = list(re.finditer(rb"\d+", header))
            if numbers:
                found = self.random.choice(numbers)
                header[found.start():found.end()] = str(self.random.choice((0, 1, 2, 3, 8, 16, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64))).encode()
        elif kind == 3:
            header[self.random.choice((0, len(header))):0] = self.random.choice((b" ", b"\n", b"\xef\xbb\xbf", b"\0"))
        else:
            strings = list(re.finditer(rb'"[^"\\]*"', header))
            if strings:
                a, b = self.random.choice(strings), self.random.choice(strings)
                header[a.start():a.end()] = b.group()
        return with_length(bytes(header), data)

    def structure(self, file):
        """An edit of what the header says, most often with data that fits."""
        header, data = split(file)
        try:
            tensors = json.loads(header)
        except ValueError:
            return file
        if not isinstance(tensors, dict):
            return file
        names = [n for n in tensors if n != "__metadata__" and isinstance(tensors[n], dict)]
        kind = self.random.randrange(7)
        if names and kind < 5:
            tensor = tensors[self.random.choice(names)]
            if kind == 0:
                tensor["dtype"] = self.random.choice(("F64", "F32", "F16", "BF16", "I8", "U64", "BOOL", "C64", "F8_E8M0", "F8_E4M3FNUZ", "F4", "F6_E2M3", "f32", 4, None))
            elif kind == 1 and isinstance(tensor.get("shape"), list):
                tensor["shape"].insert(self.random.randrange(len(tensor["shape"]) + 1), self.random.choice((0, 1, 1, 1, 2, -1, 1.0, "1", 2**62, 2**63)))
            elif kind == 2 and isinstance(tensor.get("shape"), list):
                tensor["shape"] += [1] * self.random.choice((1, 5, 8))
            elif kind == 3:
                tensor[self.random.choice(("dtype", "shape", "data_offsets", "more"))] = self.random.choice((None, 0, [], {}, [0, 0], [0, 4], "F32"))
            else:
                tensors[self.random.choice(("a", "__metadata__", "z", names[0]))] = self.random.choice(([], {}, None, dict(tensor), ["F32", [1], [0, 4]]))
        elif kind == 5:
            tensors["__metadata__"] = self.random.choice((None, {}, {"a": "b"}, {"a": 1}, {"a": None}, [], {"rapt.later": "x"}, {"xxh3.a": ""}))
        else:
            tensors = dict(sorted(tensors.items(), key=lambda _: self.random.random()))
        if self.random.random() < 0.7:
            data = self.fitted(tensors)
        return with_length(json.dumps(tensors, ensure_ascii=self.random.random() < 0.5).encode(errors="surrogatepass"), data)

    def fitted(self, tensors):
        """Offsets and data for the dtypes and shapes that are there."""
        end = 0
        for name, tensor in tensors.items():
            if name == "__metadata__" or not isinstance(tensor, dict) or not isinstance(tensor.get("shape"), list):
                continue
            if not all(isinstance(extent, int) and 0 <= extent < 2**40 for extent in tensor["shape"]) or not isinstance(tensor.get("dtype"), str):
                continue
            size = math.prod(tensor["shape"]) * BITS.get(tensor["dtype"], 8) // 8
            if size < 2**16:
                tensor["data_offsets"] = [end, end + size]
                end += size
        return self.random.randbytes(end)


def exception(file):
    """Which of the documented exceptions the file is, or None."""
    header, _ = split(file)
    if header[:1] != b"{":
        return "white space before the header"
    twice = []

    def pairs(items):
        counts = collections.Counter(key for key, _ in items)
        twice.extend(key for key, count in counts.items() if count > 1)
        return dict(items)

    tensors = json.loads(header, object_pairs_hook=pairs)
    if twice:
        return "duplicate names or keys"
    metadata = tensors.pop("__metadata__", None) or {}
    if any(key.startswith(("rapt.", "xxh3.")) for key in metadata):
        return "metadata of rapt"
    for tensor in tensors.values():
        if isinstance(tensor, list):
            return "a tensor described by an array"
        if tensor["dtype"] in SUB_BYTE:
            return "elements of less than a byte"
        if len(tensor["shape"]) > 8:
            return "rank above 8"
        if math.prod(extent for extent in tensor["shape"] if extent > 0) > 2**60:
            return "extents whose product is too large"
    return None


def reference_accepts(file):
    try:
        safetensors.deserialize(file)
        return True
    except safetensors.SafetensorError:
        return False


def accepted_by_rapt(tool, paths):
    made = subprocess.run([tool, "verify", *map(str, paths)], capture_output=True, text=True, errors="replace")
    accepted = {line.split(": ok,")[0] for line in made.stdout.splitlines()}
    assert made.returncode in (0, 1) and len(accepted) + made.stderr.count("\n") == len(paths), made.stderr[-2000:]
    return accepted


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("--files", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=pathlib.Path)
    options = parser.parse_args()

    mutator = Mutator(options.seed)
    files = mutator.seeds + [mutator.file() for _ in range(options.files)]
    counts, disagreements = collections.Counter(), 0
    for begin in range(0, len(files), BATCH):
        with tempfile.TemporaryDirectory() as folder:
            batch = {pathlib.Path(folder) / f"{begin + i}": file for i, file in enumerate(files[begin:begin + BATCH])}
            for path, file in batch.items():
                path.write_bytes(file)
            accepted = accepted_by_rapt(options.tool, batch)
            for path, file in batch.items():
                ours, theirs = str(path) in accepted, reference_accepts(file)
                why = exception(file) if theirs and not ours else None
                if ours == theirs or why:
                    counts[why or ("both accept" if ours else "both refuse")] += 1
                    continue
                disagreements += 1
                print(f"file {path.name} of seed {options.seed}: rapt {'accepts' if ours else 'refuses'} it, the reference does not agree: {split(file)[0][:300]!r}")
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    (options.keep / f"seed-{options.seed}-{path.name}").write_bytes(file)
    for what, count in counts.most_common():
        print(f"{count:7} {what}")
    print(f"{len(files)} files, {disagreements} disagreements with safetensors {safetensors.__version__}")
    sys.exit(1 if disagreements else 0)


main()
