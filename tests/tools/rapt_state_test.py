"""rapt-state over good and bad files: what it says, where, and with which exit status. Standard library alone.

usage: rapt_state_test.py RAPT_STATE REPOSITORY
"""

import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unittest

TOOL = sys.argv[1]
ROOT = pathlib.Path(sys.argv[2])
GOLDEN = ROOT / "fixtures/golden"
FINE, BAD, USAGE = 0, 1, 2


def safetensors(tensors, metadata=None):
    """A file of others: {name: (dtype, shape, bytes)}."""
    header, data = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def f32(*values):
    return struct.pack(f"<{len(values)}f", *values)


class RaptState(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_tool(self, *arguments, stdout=subprocess.PIPE):
        made = subprocess.run([TOOL, *map(str, arguments)], stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120)
        return made.returncode, made.stdout, made.stderr

    def fine(self, *arguments):
        status, out, errors = self.run_tool(*arguments)
        self.assertEqual((status, errors), (FINE, ""), arguments)
        return out

    def bad(self, *arguments):
        """Exit status 1 and one line on stderr, nothing on stdout."""
        status, out, errors = self.run_tool(*arguments)
        self.assertEqual((status, out), (BAD, ""), errors)
        self.assertRegex(errors, r"\Arapt-state: [^\n]+\n\Z")
        return errors

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def inspected(self, path):
        return json.loads(self.fine("inspect", "--json", path))

    # -- inspect -------------------------------------------------------------------------------------------------------------------------
    def test_inspect_tells_what_a_state_holds(self):
        path = GOLDEN / "everything_f32.state"
        found = self.inspected(path)
        self.assertEqual((found["kind"], found["version"], found["numerics"]), ("state", "1.0", "cpu-v1"))
        self.assertEqual(found["contents"], ["weights", "static", "projected", "cache"])
        self.assertEqual(found["bytes"], path.stat().st_size)
        self.assertEqual((found["config"]["num_heads"], found["config"]["rope"]["theta"]), (4, 500.0))
        self.assertEqual(found["layers"], 2)
        self.assertEqual(found["cache"]["page_len"], 16)
        self.assertEqual(found["sequences"], [{"tokens": 3, "first_position": 0, "last_position": 2},
                                              {"tokens": 2, "first_position": 2**40, "last_position": 2**40 + 3}])
        self.assertEqual(set(found["fingerprints"]), {"weights", "0", "1", "projected"})
        self.assertEqual(len(set(found["fingerprints"].values())), 1)  # the cache was made by the weights beside it
        tensors = {t["name"]: t for t in found["tensors"]}
        self.assertEqual(tensors["layers.1.cache.0.v"], {"name": "layers.1.cache.0.v", "dtype": "F32", "shape": [3, 2, 3], "bytes": 72,
                                                         "xxh3": tensors["layers.1.cache.0.v"]["xxh3"]})
        self.assertRegex(tensors["weights.w_q"]["xxh3"], r"\A[0-9a-f]{16}\Z")
        self.assertFalse([n for n in tensors if n.startswith("pad.")])

    def test_inspect_as_text_says_the_same(self):
        out = self.fine("inspect", GOLDEN / "cache_f16.state")
        for line in (r"kind +state, version 1\.0", r"contents +cache", r"numerics +cpu-v1", r"layers +2", r"sequence 0 +17 tokens, positions 0 to 16",
                     r"sequence 1 +3 tokens, positions 1099511627776 to 1099511627782", r"sequence 2 +0 tokens",
                     r"made by +0123456789abcdef0000000000000001 \(0\)", r"tensor +layers\.0\.cache\.0\.k F16 \[17, 2, 2\], 136 bytes"):
            self.assertRegex(out, rf"(?m)^{line}$")

    def test_inspect_of_a_file_of_others(self):
        path = self.file("other", safetensors({"a\n\x1b[2J": ("F32", [1, 2], f32(1, 2)), "b": ("F8_E4M3", [3], b"abc")}, {"format": "pt"}))
        found = self.inspected(path)
        self.assertEqual((found["kind"], found["metadata"]), ("safetensors", {"format": "pt"}))
        self.assertEqual([(t["name"], t["dtype"], t["shape"]) for t in found["tensors"]], [("a\n\x1b[2J", "F32", [1, 2]), ("b", "F8_E4M3", [3])])
        out = self.fine("inspect", path)
        self.assertNotIn("\x1b", out)
        self.assertRegex(out, r"(?m)^tensor +a\?\?\[2J F32 \[1, 2\], 8 bytes$")

    # -- verify --------------------------------------------------------------------------------------------------------------------------
    def test_verify_accepts_every_good_file(self):
        files = sorted(GOLDEN.glob("*.state"))
        out = self.fine("verify", "--state", *files)
        self.assertEqual(len(re.findall(r": ok, \d+ tensors, all checksums hold\n", out)), len(files))
        self.assertEqual(self.fine("verify", "-q", *files), "")
        other = self.file("other", safetensors({"a": ("I32", [1], b"1234")}))
        self.assertIn("ok, 1 tensors, no checksums", self.fine("verify", other))
        self.assertIn("rapt.format", self.bad("verify", "--state", other))

    def test_verify_finds_every_bit_that_changed(self):
        data = bytearray((GOLDEN / "static_f32.state").read_bytes())
        for at in range(3, len(data), 97):
            data[at] ^= 1 << at % 8
            self.bad("verify", self.file("changed", data))
            data[at] ^= 1 << at % 8
        self.fine("verify", self.file("changed", data))

    def test_verify_looks_at_all_files_also_behind_a_bad_one(self):
        good, short = GOLDEN / "cache_f32.state", self.file("short", (GOLDEN / "cache_f32.state").read_bytes()[:-1])
        status, out, errors = self.run_tool("verify", good, short, self.folder / "absent", good)
        self.assertEqual(status, BAD)
        self.assertEqual(out.count(": ok"), 2)
        self.assertRegex(errors, r"\A[^\n]*truncated[^\n]*\n[^\n]*absent[^\n]*\n\Z")

    def test_bad_files_give_one_line_whatever_the_command(self):
        os.mkfifo(self.folder / "fifo")
        names = {"empty": b"", "seven bytes": b"1234567", "no json": struct.pack("<Q", 4) + b"abcd", "a line\nbreak": b"\n" * 40,
                 "claims": struct.pack("<Q", 2**63) + b"{}", "nested": struct.pack("<Q", 50_000) + b"[" * 50_000,
                 "marked": safetensors({"a": ("U8", [1], b"x")}, {"rapt.later": "1"}),
                 "of others": safetensors({"a": ("U8", [2], b"x")})}
        paths = [self.file(name, content) for name, content in names.items()]
        good = GOLDEN / "cache_f32.state"
        for path in [*paths, self.folder / "absent", self.folder, self.folder / "fifo", pathlib.Path("/dev/zero"), self.folder / ("x" * 300)]:
            for command in (["inspect", path], ["inspect", "--json", path], ["verify", path], ["diff", path, good], ["diff", good, path],
                            ["export", path, self.folder / "out"], ["import", path, self.folder / "out"]):
                with self.subTest(command=list(map(str, command))):
                    self.bad(*command)
                    self.assertFalse((self.folder / "out").exists())

    def test_long_files_have_a_line_of_progress_on_a_terminal(self):
        path = self.file("long.safetensors", safetensors({"a": ("U8", [4 << 20], bytes(4 << 20))}))
        master, terminal = os.openpty()
        made = subprocess.run([TOOL, "verify", path], stdout=subprocess.PIPE, stderr=terminal, text=True, timeout=120)
        os.close(terminal)
        shown = os.read(master, 1 << 16).decode()
        os.close(master)
        self.assertEqual((made.returncode, made.stdout), (FINE, f"{path}: ok, 1 tensors, no checksums\n"))
        self.assertRegex(shown, rf"\A(\r\x1b\[K{re.escape(str(path))}: \d+ %)+\r\x1b\[K\Z")
        self.assertGreater(shown.count("%"), 2)
        self.fine("verify", path)  # without a terminal stderr stays empty

    # -- diff ----------------------------------------------------------------------------------------------------------------------------
    def test_diff_of_equal_files_says_nothing(self):
        path = GOLDEN / "everything_f32.state"
        self.assertEqual(self.fine("diff", path, self.file("copy", path.read_bytes())), "")

    def test_diff_names_the_first_element_and_both_values(self):
        a = self.file("a", safetensors({"same": ("F32", [1], f32(1)), "t": ("F32", [2, 3], f32(1, 2, 3, 4, 5, 6)), "nan": ("F32", [1], f32(float("nan"))),
                                        "zero": ("F32", [1], f32(0)), "only": ("U8", [0], b""), "type": ("F16", [1], b"\0\x3c"), "raw": ("C64", [1], b"\1" * 8)},
                                       {"who": "a"}))
        b = self.file("b", safetensors({"same": ("F32", [1], f32(1)), "t": ("F32", [2, 3], f32(1, 2, 3, 4, 5.5, 7)), "nan": ("F32", [1], f32(float("nan"))),
                                        "zero": ("F32", [1], f32(-0.0)), "type": ("BF16", [1], b"\0\x3c"), "raw": ("C64", [1], b"\2" * 8)}, {"who": "b"}))
        status, out, errors = self.run_tool("diff", a, b)
        self.assertEqual((status, errors), (BAD, ""))
        self.assertEqual(out.splitlines(), [
            "metadata who: a and b",
            f"tensor only: only in {a}",
            "tensor raw: C64 [1]: 1 of 1 elements differ, the first at [0]: 0x0101010101010101 and 0x0202020202020202",
            "tensor t: F32 [2, 3]: 2 of 6 elements differ, the first at [1, 1]: 5 and 5.5",
            "tensor type: F16 [1] and BF16 [1]",
            "tensor zero: F32 [1]: 1 of 1 elements differ, the first at [0]: 0 and -0"])

    def test_diff_shows_elements_of_every_type(self):
        kinds = {"F64": ("<d", 0.1, -0.1, "0.1", "-0.1"), "F32": ("<f", 0.1, 0.2, "0.1", "0.2"), "F16": ("<e", 0.5, 65504, "0.5", "65504"),
                 "I64": ("<q", -(2**63), 2**63 - 1, str(-(2**63)), str(2**63 - 1)), "U8": ("<B", 0, 255, "0", "255"), "BOOL": ("<B", 0, 1, "0", "1"),
                 "BF16": ("<H", 0x3F80, 0x7FC1, "1", "nan (0x7fc1)")}
        for dtype, (code, left, right, left_text, right_text) in kinds.items():
            a = self.file("a", safetensors({"": (dtype, [], struct.pack(code, left))}))
            b = self.file("b", safetensors({"": (dtype, [], struct.pack(code, right))}))
            _, out, _ = self.run_tool("diff", a, b)
            self.assertTrue(out.endswith(f": 1 of 1 elements differ, the first at []: {left_text} and {right_text}\n"), out)

    # -- export and import ---------------------------------------------------------------------------------------------------------------
    def test_export_and_import_give_the_same_bytes(self):
        for path in sorted(GOLDEN.glob("*.state")):
            with self.subTest(path.name):
                plain, state = self.folder / "plain", self.folder / "state"
                self.fine("export", path, plain)
                found = self.inspected(plain)
                self.assertEqual(found["kind"], "safetensors")
                self.assertEqual(found["metadata"]["numerics"], "cpu-v1")
                self.fine("import", plain, state)
                self.assertEqual(state.read_bytes(), path.read_bytes())

    def test_export_of_a_file_of_others_is_refused(self):
        self.assertIn("nothing to export", self.bad("export", self.file("other", safetensors({"a": ("U8", [1], b"x")})), self.folder / "out"))
        self.assertIn("already", self.bad("import", GOLDEN / "cache_f32.state", self.folder / "out"))

    CONFIG = {"model_dim": 2, "num_heads": 1, "head_dim": 2, "output_dim": 2}

    def test_import_of_weights_under_the_names_of_others(self):
        q, k, v, o = f32(1, 2, 3, 4), f32(5, 6, 7, 8), f32(9, 10, 11, 12), f32(13, 14, 15, 16)
        square = [2, 2]
        layouts = {
            "hugging-face": {"l.q_proj.weight": ("F32", square, q), "l.k_proj.weight": ("F32", square, k), "l.v_proj.weight": ("F32", square, v),
                             "l.o_proj.weight": ("F32", square, o)},
            "torch": {"l.in_proj_weight": ("F32", [6, 2], q + k + v), "l.out_proj.weight": ("F32", square, o)},
            "tabpfn": {"l._w_qkv": ("F32", [3, 1, 2, 2], q + k + v), "l._w_out": ("F32", [1, 2, 2], f32(13, 15, 14, 16))}}
        for layout, tensors in layouts.items():
            with self.subTest(layout):
                plain, state = self.file("plain", safetensors(tensors)), self.folder / "state"
                self.fine("import", "--layout", layout, "--prefix", "l.", "--config", json.dumps(self.CONFIG), plain, state)
                found = self.inspected(state)
                self.assertEqual((found["contents"], found["numerics"], found["config"]["kv_dtype"]), (["weights"], "cpu-v1", "f32"))
                self.fine("export", state, self.folder / "again")
                expected = {"weights.w_out": ("F32", [1, 2, 2], f32(13, 15, 14, 16))}
                if layout == "hugging-face":
                    expected |= {"weights.w_k": ("F32", [1, 2, 2], k), "weights.w_q": ("F32", [1, 1, 2, 2], q), "weights.w_v": ("F32", [1, 2, 2], v)}
                else:
                    expected |= {"weights.w_qkv": ("F32", [3, 1, 2, 2], q + k + v)}
                metadata = self.inspected(self.folder / "again")["metadata"]
                self.assertEqual(self.run_tool("diff", self.folder / "again", self.file("expected", safetensors(expected, metadata)))[:2], (FINE, ""))

    def test_import_refuses_what_no_state_can_hold_and_writes_nothing(self):
        config = json.dumps({**self.CONFIG, "kv_dtype": "f32"})
        w_out = {"weights.w_out": ("F32", [1, 2, 2], f32(1, 2, 3, 4)), "weights.w_q": ("F32", [1, 1, 2, 2], f32(1, 2, 3, 4))}
        positions = {"projected.k": ("F32", [1, 1, 1, 2], f32(1, 2)), "projected.v": ("F32", [1, 1, 1, 2], f32(1, 2))}
        out = self.folder / "out"
        cases = (("no config", w_out, []), ("config_from_json", w_out, ["--config", "{"]), ("kv_dtype", w_out, ["--config", json.dumps(self.CONFIG)]),
                 ("'extra'", {**w_out, "extra": ("F32", [1], f32(1))}, ["--config", config]),
                 ("no state holds", {**w_out, "weights.b_q": ("I32", [1], b"1234")}, ["--config", config]),
                 ("no numerics", positions, ["--config", config]),
                 ("fingerprint", positions, ["--config", config, "--numerics", "cpu-v1"]),
                 ("'q_proj.weight'", w_out, ["--config", config, "--layout", "hugging-face"]))
        out.write_bytes(b"as before")
        for reason, tensors, options in cases:
            with self.subTest(reason):
                self.assertIn(reason, self.bad("import", *options, self.file("plain", safetensors(tensors)), out))
                self.assertEqual(out.read_bytes(), b"as before")
        self.fine("import", "--config", config, self.file("plain", safetensors(w_out)), out)
        self.fine("verify", "--state", out)

    def test_what_can_not_be_written_is_said(self):
        self.assertIn("absent", self.bad("export", GOLDEN / "cache_f32.state", self.folder / "absent" / "out"))
        with open("/dev/full", "w") as full:
            status, _, errors = self.run_tool("inspect", GOLDEN / "cache_f32.state", stdout=full)
        self.assertEqual((status, errors), (BAD, "rapt-state: standard output could not be written\n"))

    # -- arguments -----------------------------------------------------------------------------------------------------------------------
    def test_help_names_the_commands_and_the_exit_status(self):
        out = self.fine("--help")
        for word in ("inspect", "verify", "diff", "export", "import", "Exit status"):
            self.assertIn(word, out)
        for command in ("inspect", "verify", "diff", "export", "import"):
            self.assertIn(command, self.fine(command, "--help"))
        self.assertRegex(self.fine("--version"), r"\A\d+\.\d+\.\d+\n\Z")

    def test_the_manual_names_every_command_and_option(self):
        manual = (ROOT / "docs/rapt-state.1").read_text().replace("\\-", "-")
        for command in ("inspect", "verify", "diff", "export", "import"):
            self.assertIn(f".B {command}", manual)
            for option in re.findall(r"--[a-z]+", self.fine(command, "--help")):
                self.assertIn(option, manual)

    def test_wrong_usage_is_2(self):
        good = GOLDEN / "cache_f32.state"
        for arguments in ([], ["look"], ["inspect"], ["inspect", good, good], ["verify"], ["diff", good], ["diff", good, good, good], ["inspect", "--xml", good],
                          ["import", "--layout", "keras", good, good], ["export", good], ["inspect", "--json"]):
            with self.subTest(arguments):
                status, out, errors = self.run_tool(*arguments)
                self.assertEqual((status, out), (USAGE, ""))
                self.assertNotEqual(errors, "")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
