"""Projections on a device: first whether every kernel gives the same, right bits, then how fast, beside cuBLASLt (torch.nn.functional.linear).

usage: projections.py LIBRARY OUT.json     LIBRARY is bench/gpu/kernels_api.cu, compiled as a shared library; for sm_90a with hopper_api.cu
"""

import ctypes
import datetime
import json
import sys

import torch
import torch.nn.functional as F

import where
from attention import relative_error, same_bits
from where import DEVICE, graph_milliseconds, scaled, some

KERNELS = {"few_rows_8": 0, "few_rows_32": 1, "narrow_tiles": 2, "small_tiles": 3, "medium_tiles": 4, "large_tiles": 5, "any_alignment": 6}


CASES = some(((1, 4096, 4096), (7, 1000, 300), (16, 3072, 1024), (130, 4096, 520), (1000, 1024, 3072), (33, 77, 45)),
             ((7, 104, 30), (130, 264, 72), (33, 77, 45)))


class Call(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("x", "w", "bias", "residual", "y")] + [
        (name, ctypes.c_int) for name in ("rows", "in_dim", "out_dim", "is_bf16", "kernel")
    ]


class Projections:
    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.last_error.restype = ctypes.c_char_p
        self.has_hopper = hasattr(self.library, "run_project_hopper")
        self.multiprocessors = where.multiprocessors()

    def serves_hopper(self, rows, in_dim):
        return self.has_hopper and rows > 64 and in_dim % 8 == 0

    def __call__(self, x, w, bias, y, residual=None, kernel=None):
        """By the kernel of this name, or by the one that the library would use; Hopper's are "hopper", and "hopper_1": on one multiprocessor."""
        rows, in_dim = x.shape
        pointer = lambda tensor: None if tensor is None else tensor.data_ptr()
        call = Call(x.data_ptr(), w.data_ptr(), pointer(bias), pointer(residual), y.data_ptr(), rows, in_dim, w.shape[0],
                    int(x.dtype == torch.bfloat16), KERNELS.get(kernel, -1))
        stream = where.stream()
        if kernel in ("hopper", "hopper_1") or (kernel is None and self.serves_hopper(rows, in_dim)):
            failed = self.library.run_project_hopper(ctypes.byref(call), ctypes.c_uint(1 if kernel == "hopper_1" else self.multiprocessors), stream)
        else:
            failed = self.library.run_project(ctypes.byref(call), stream)
        if failed:
            raise RuntimeError(self.library.last_error().decode())
        return y

    def kernels_for(self, rows, in_dim):
        if in_dim % 8 != 0:
            return ["any_alignment"]
        few = [kernel for kernel, most in (("few_rows_8", 8), ("few_rows_32", 16)) if rows <= most]
        hopper = ["hopper"] if self.serves_hopper(rows, in_dim) else []
        return few + ["narrow_tiles", "small_tiles", "medium_tiles", "large_tiles"] + hopper


def matrices(rows, in_dim, out_dim, dtype):
    random = lambda *shape: torch.randn(*shape, device=DEVICE).to(dtype)
    return random(rows, in_dim), random(out_dim, in_dim), torch.randn(out_dim, device=DEVICE), random(rows, out_dim)


def correctness(project):
    """Errors beside PyTorch's; bits that depend neither on the kernel nor on the rows beside. Raises where one is wrong."""
    rows_of = []
    for dtype in (torch.bfloat16, torch.float16):
        for rows, in_dim, out_dim in CASES:
            x, w, bias, residual = matrices(rows, in_dim, out_dim, dtype)
            kernels = project.kernels_for(rows, in_dim) + ["any_alignment"] + ["hopper_1"] * project.serves_hopper(rows, in_dim)
            exact = x.double() @ w.double().T + bias.double() + residual.double()
            poisoned = lambda: torch.full_like(residual, float("nan"))
            ours = project(x, w, bias, poisoned(), residual)
            row = {"dtype": str(dtype)[6:], "rows": rows, "in": in_dim, "out": out_dim, "error": relative_error(ours, exact),
                   "error_torch": relative_error(F.linear(x, w, bias.to(dtype)) + residual, exact)}
            row["same_bits"] = all(same_bits(ours, project(x, w, bias, poisoned(), residual, kernel)) for kernel in kernels)
            one = rows // 2
            alone = project(x[one : one + 1].contiguous(), w, bias, poisoned()[:1], residual[one : one + 1].contiguous())
            row["same_bits_alone"] = same_bits(alone, ours[one : one + 1])
            # Neighbours that are NaN, and the row at another place of its tile.
            beside = torch.full_like(x, float("nan"))
            beside[-1] = x[one]
            residuals = residual.clone()
            residuals[-1] = residual[one]
            row["same_bits_beside_nan"] = same_bits(project(beside, w, bias, poisoned(), residuals)[-1:], ours[one : one + 1])
            rows_of.append(row)
            right = row["error"] < (4e-3 if dtype == torch.bfloat16 else 5e-4)
            if not (right and row["same_bits"] and row["same_bits_alone"] and row["same_bits_beside_nan"]):
                raise RuntimeError(f"wrong: {row}")
    return rows_of


def speed(project, limit):
    rows_of = []
    for in_dim, out_dim in some(((4096, 4096), (1024, 3072)), ((64, 64),)):
        num_weights = some(max(4, 400_000_000 // (in_dim * out_dim * 2)), 2)
        weights = [torch.randn(out_dim, in_dim, device=DEVICE).to(torch.bfloat16) for _ in range(num_weights)]
        bias = torch.randn(out_dim, device=DEVICE)
        narrow_bias = bias.to(torch.bfloat16)
        for rows in some((1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384), (1, 9, 130)):
            x = torch.randn(rows, in_dim, device=DEVICE).to(torch.bfloat16)
            y = torch.empty(rows, out_dim, device=DEVICE, dtype=torch.bfloat16)
            used = weights if rows <= 256 else weights[:8]
            of = lambda run: graph_milliseconds([lambda w=w: run(w) for w in used])
            row = {"rows": rows, "in": in_dim, "out": out_dim}
            peer = of(lambda w: F.linear(x, w, narrow_bias))
            ours = of(lambda w: project(x, w, bias, y))
            row["cublaslt_us"], row["rapt_us"] = peer * 1e3, ours * 1e3
            row["cublaslt_again_us"] = of(lambda w: F.linear(x, w, narrow_bias)) * 1e3
            row["times_cublaslt"] = min(peer, row["cublaslt_again_us"] / 1e3) / ours
            row["tflops"] = 2 * rows * in_dim * out_dim / ours / 1e9
            row["percent_of_matmul"] = 100 * row["tflops"] / limit["matmul_tflops"]
            row["gbps"] = 2 * (rows * in_dim + in_dim * out_dim + rows * out_dim) / ours / 1e6
            row["percent_of_copy"] = 100 * row["gbps"] / limit["copy_gbps"]
            for kernel in project.kernels_for(rows, in_dim):
                row[kernel + "_us"] = of(lambda w: project(x, w, bias, y, kernel=kernel)) * 1e3
            rows_of.append(row)
            print(" ".join(f"{name}={value:.4g}" for name, value in row.items()), flush=True)
    return rows_of


def main():
    library, out = sys.argv[1:]
    torch.manual_seed(1)
    project = Projections(library)
    result = {"device": where.name(), "date": datetime.date.today().isoformat(), "torch": torch.__version__}
    result["correctness"] = correctness(project)
    for row in result["correctness"]:
        print(" ".join(f"{name}={value:.2e}" if isinstance(value, float) else f"{name}={value}" for name, value in row.items()), flush=True)
    result["limits"] = where.limits()
    print(result["limits"], flush=True)
    result["speed"] = speed(project, result["limits"])
    with open(out, "w") as file:
        json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
