"""The parity runner itself: doctored files must fail, each for its reason.

usage: runner_test.py RAPT_PARITY FIXTURES [unittest argument...]
"""

import copy
import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

RUNNER, FIXTURES = sys.argv[1], pathlib.Path(sys.argv[2])


class Case:
    """A case file: the header as Python values, tensors as (dtype, shape, bytes)."""

    def __init__(self, path):
        data = path.read_bytes()
        begin = 8 + struct.unpack("<Q", data[:8])[0]
        described = json.loads(data[8:begin])
        self.name, self.header = path.stem, json.loads(described.pop("__metadata__")["case"])
        self.tensors = {name: (t["dtype"], t["shape"], data[begin + t["data_offsets"][0]:begin + t["data_offsets"][1]]) for name, t in described.items()}

    def save(self, folder, case_text=None):
        described, blobs, end = {"__metadata__": {"case": case_text or json.dumps(self.header)}}, [], 0
        for name, (dtype, shape, blob) in self.tensors.items():
            described[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(blob)]}
            blobs.append(blob)
            end += len(blob)
        header = json.dumps(described).encode()
        path = folder / f"{self.name}.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header + b"".join(blobs))
        return path

    def floats(self, name, change):
        """Elements of an F64 or F32 tensor through `change`, a function of their list."""
        dtype, shape, blob = self.tensors[name]
        letter = {"F64": "d", "F32": "f"}[dtype]
        values = change(list(struct.unpack(f"<{len(blob) // struct.calcsize(letter)}{letter}", blob)))
        self.tensors[name] = dtype, shape, struct.pack(f"<{len(values)}{letter}", *values)


def to_bfloat16(x):
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return struct.unpack("<f", struct.pack("<I", (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000))[0]


class Runner(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.scratch.name)

    def tearDown(self):
        self.scratch.cleanup()

    def case(self, name, family="full"):
        return Case(FIXTURES / family / f"{name}.safetensors")

    def run_on(self, target, *arguments):
        done = subprocess.run([RUNNER, str(target), *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout

    def passes(self, case, *arguments):
        status, output = self.run_on(case.save(self.folder), *arguments)
        self.assertEqual(status, 0, output)
        return output

    def fails(self, case, *texts, case_text=None):
        """Exit 1, a FAIL for the case, and every text in the output."""
        status, output = self.run_on(case.save(self.folder, case_text))
        self.assertEqual(status, 1, output)
        self.assertRegex(output, f"(?m)^{case.name} .*FAIL$")
        self.assertNotRegex(output.splitlines()[-1], r" 0 failed$")
        for text in texts:
            self.assertIn(text, output)
        return output

    # -- what is refused -----------------------------------------------------------------------------------------------------------------
    def test_a_folder_without_cases_fails(self):
        self.assertEqual(self.run_on(self.folder)[0], 1)
        (self.folder / "notes.txt").write_text("no case")
        status, output = self.run_on(self.folder)
        self.assertEqual((status, output.splitlines()[-1]), (1, "0 passed, 0 failed"))

    def test_a_key_that_is_not_known_is_refused_wherever_it_stands(self):
        def of_rope(header):
            return header["config"]["rope"]
        for name, place in (("causal", lambda h: h), ("causal", lambda h: h["config"]), ("causal", lambda h: h["steps"][0]), ("rope_llama3", of_rope),
                            ("rope_llama3", lambda h: of_rope(h)["scaling"]), ("forward_strides", lambda h: h["steps"][0]["strides"]),
                            ("error_state", lambda h: h["steps"][0]), ("error_state", lambda h: h["steps"][0]["call"]),
                            ("error_construct", lambda h: next(s for s in h["steps"] if s["op"] == "expect_error")["call"]),
                            ("streaming", lambda h: next(s for s in h["steps"] if s["op"] == "truncate")),
                            ("attend_options", lambda h: h["steps"][0]), ("merge", lambda h: h["steps"][0])):
            with self.subTest(name):
                case = self.case(name)
                place(case.header)["new_feature"] = None
                self.fails(case, "refused", "new_feature")

    def test_other_cases_run_beside_a_refused_one(self):
        self.case("softcap").save(self.folder)
        case = self.case("causal")
        case.header["new_feature"] = 1
        case.save(self.folder)
        status, output = self.run_on(self.folder)
        self.assertEqual(status, 1)
        self.assertRegex(output.splitlines()[-1], r"^[1-9]\d* passed, 1 failed$")
        self.assertRegex(output, r"(?m)^softcap .*PASS$")

    def test_malformed_headers_are_refused(self):
        case = self.case("causal")
        text = json.dumps(case.header)
        self.fails(case, "stands twice", case_text=text.replace('"causal": true', '"causal": true, "causal": false'))
        self.fails(case, "no JSON", case_text=text[:-1])
        for change, message in ((lambda h: h.update(format=2), "format is 2"), (lambda h: h["steps"][0].update(op="reverse"), "reverse"),
                                (lambda h: h["steps"][0].update(cache="keep"), "keep"), (lambda h: h["steps"][0].pop("expect"), "expect"),
                                (lambda h: h["steps"][0].update(add_input="yes"), "add_input"), (lambda h: h["steps"][0].update(x="x9"), "inputs.x9"),
                                (lambda h: h["steps"][0].update(expect="y9"), "y0"), (lambda h: h.update(dtypes=["f8"]), "f8"),
                                (lambda h: h["steps"].append({"op": "construct", "config": {}, "weights": []}), "construct"),
                                (lambda h: h["steps"][0].update(reuse_first_head_kv=True), "no call for")):
            case = self.case("causal")
            change(case.header)
            self.fails(case, message)

    # -- what is compared ----------------------------------------------------------------------------------------------------------------
    def test_an_expectation_that_is_off_fails_and_says_where(self):
        for output in ("y0", "lse0"):
            case = self.case("causal")
            case.floats(f"expected.{output}", lambda values: values[:-1] + [values[-1] + 1.0])
            self.fails(case, "causal, step 0 (forward)", f"{output}[", "got ", "expected ", "bound ")

    def test_double_is_held_to_1e_12(self):
        case = self.case("causal")
        case.floats("expected.y1", lambda values: [values[0] + 1e-11] + values[1:])
        output = self.fails(case, "step 1 (forward): y1[0, 0, 0]")
        self.assertEqual(len([line for line in output.splitlines() if " f64 " in line and line.endswith("FAIL")]),
                         len([line for line in output.splitlines() if line.endswith("FAIL")]))

    def test_caches_are_compared(self):
        for name in ("streaming", "with_caching", "separate_equal_dims"):
            case = self.case(name)
            expected = next(n for n in case.tensors if n.startswith(("expected.kv", "expected.v")))
            case.floats(expected, lambda values: values[:-1] + [values[-1] * 1.001])
            self.fails(case, "(expect_cache)")

    def test_nan_and_infinity_are_compared(self):
        for wrong in (math.nan, math.inf, -math.inf):
            case = self.case("causal")
            case.floats("expected.y0", lambda values: [wrong] + values[1:])
            self.fails(case, "y0[0, 0, 0]")
        case = self.case("nan_seen")
        case.floats("expected.y0", lambda values: [0.0 if math.isnan(v) else v for v in values])
        self.fails(case, "got nan")

    def test_errors_must_come_and_be_of_the_type(self):
        case = self.case("error_state")
        case.header["steps"][0]["error"] = "shape_error"
        self.fails(case, "threw state_error", "shape_error was expected")
        case = self.case("error_state")
        case.header["steps"][0]["call"]["cache"] = "none"
        self.fails(case, "threw nothing")

    def test_inputs_rounded_to_bfloat16_break_the_bound(self):
        for weight in ("inputs.x0", "weights.w_qkv"):
            case = self.case("basic_self_attn_small")
            case.floats(weight, lambda values: [to_bfloat16(v) for v in values])
            self.fails(case, " f32 ")

    # -- what a case says is done ----------------------------------------------------------------------------------------------------------
    def test_no_option_of_a_config_is_skipped(self):
        for name, key, value in (("causal", "causal", False), ("window_left", "window", None), ("softcap", "softcap", None), ("alibi", "alibi", False),
                                 ("rope_half", "rope", None), ("scale_explicit", "softmax_scale", None)):
            with self.subTest(name):
                case = self.case(name)
                case.header["config"][key] = value
                self.fails(case, "(forward)", "got ")
        case = self.case("rope_yarn")
        case.header["config"]["rope"]["pairing"] = "interleaved"
        self.fails(case, "got ")
        case = self.case("sinks")
        case.header["config"]["sinks"] = None
        case.header["weights"].remove("sinks")
        self.fails(case, "got ")
        case = self.case("bias_some")
        case.header["weights"].remove("b_v")
        self.fails(case, "got ")

    def test_no_option_of_a_call_is_skipped(self):
        for name, key in (("kv_lens", "kv_lens"), ("residual", "add_input"), ("mask_bool", "mask"), ("mask_additive", "mask"), ("positions", "positions"),
                          ("first_head_fused", "reuse_first_head_kv"), ("first_head_fused", "only_cache_first_head_kv"), ("attend_options", "mask"),
                          ("attend_options", "kv_lens"), ("attend_options", "positions"), ("cross_attention", "x_kv")):
            with self.subTest(f"{name} without {key}"):
                case = self.case(name)
                for step in case.header["steps"]:
                    if step.get(key):
                        step[key] = False if step[key] is True else None
                        if key == "mask":
                            step["mask_kind"] = None
                self.fails(case, "got ")

    def test_no_step_that_changes_state_is_skipped(self):
        for name, op, symptom in (("streaming", "truncate", "got "), ("error_state", "clear_cache", "threw nothing"),
                                  ("static_kv_beside_weights", "set_static_kv", "got "), ("fork", "fork", "got ")):
            with self.subTest(f"{name} without {op}"):
                case = self.case(name)
                case.header["steps"] = [s for s in case.header["steps"] if s["op"] != op]
                self.fails(case, symptom)

    def test_a_state_saved_and_loaded_after_every_step_changes_nothing(self):
        for path in sorted((FIXTURES / "exact").glob("*.safetensors")):
            case = Case(path)
            if "w_out" not in case.header["weights"]:
                continue
            steps = []
            for step in case.header["steps"]:
                steps += [step, {"op": "save_load"}]
            case.header["steps"] = steps
            case.header["dtypes"] = ["f32", "bf16"]
            case.save(self.folder)
        status, output = self.run_on(self.folder, "--quiet")
        self.assertEqual(status, 0, output)

    # -- arguments -----------------------------------------------------------------------------------------------------------------------
    def test_cache_dtypes_that_are_asked_for_are_replayed(self):
        output = self.passes(self.case("streaming", "exact"), "--kv", "f32,bf16")
        for dtypes in ("f64", "f64 kv f32", "f64 kv bf16", "f32", "f32 kv bf16", "bf16", "bf16 kv f32", "f16 kv bf16"):
            self.assertRegex(output, rf"(?m)^streaming +{dtypes}  .*PASS$")

    def test_the_table_goes_to_json_too(self):
        case = copy.deepcopy(self.case("causal"))
        self.passes(case, "--json", str(self.folder / "out.json"))
        found = json.loads((self.folder / "out.json").read_text())
        self.assertEqual({r["dtype"] for r in found["rows"]}, {"f64", "f32"})
        for row in found["rows"]:
            self.assertEqual([t["tensor"] for t in row["tensors"]], ["y0", "lse0", "y1", "lse1", "y2", "lse2"])
            self.assertTrue(all(t["max_error"] <= t["bound"] for t in row["tensors"]))

    def test_an_instruction_set_that_is_not_there_fails(self):
        self.case("causal").save(self.folder)
        self.assertEqual(self.run_on(self.folder, "--isa", "abacus")[0], 1)
        status, output = self.run_on(self.folder, "--isa", "portable")
        self.assertEqual(status, 0)
        self.assertNotIn("avx", output)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
