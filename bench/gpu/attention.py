"""Attention kernels on a device: first whether they are right, then how fast, beside PyTorch's in the same process.

usage: attention.py LIBRARY OUT.json     LIBRARY is bench/gpu/kernels_api.cu, compiled as a shared library
"""

import ctypes
import datetime
import json
import statistics
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


class Call(ctypes.Structure):
    _fields_ = (
        [(name, ctypes.c_void_p) for name in ("q", "k", "v", "out")]
        + [(name, ctypes.c_int) for name in ("batch", "q_len", "kv_len", "num_heads", "num_kv_heads", "head_dim", "causal", "is_bf16")]
        + [("softmax_scale", ctypes.c_double)]
    )


class Kernels:
    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.last_error.restype = ctypes.c_char_p
        self.library.prefill_workspace_bytes.restype = ctypes.c_ulonglong
        multiprocessors = torch.cuda.get_device_properties(0).multi_processor_count
        self.num_blocks = {head_dim: multiprocessors * self.library.prefill_blocks_of(head_dim) for head_dim in (64, 128)}
        self.workspace = torch.empty(self.library.prefill_workspace_bytes(max(self.num_blocks.values())), dtype=torch.uint8, device="cuda")
        self.counter = torch.zeros(1, dtype=torch.int32, device="cuda")

    def check(self, status):
        if status:
            raise RuntimeError(self.library.last_error().decode())

    @staticmethod
    def call(q, k, v, out, causal):
        batch, q_len, num_heads, head_dim = q.shape
        return Call(q.data_ptr(), k.data_ptr(), v.data_ptr(), out.data_ptr(), batch, q_len, k.shape[1], num_heads, k.shape[2], head_dim, int(causal),
                    int(q.dtype == torch.bfloat16), head_dim**-0.5)

    def prefill(self, q, k, v, out, causal, num_blocks=None):
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        self.check(self.library.run_prefill(ctypes.byref(self.call(q, k, v, out, causal)), ctypes.c_void_p(self.workspace.data_ptr()),
                                            ctypes.c_void_p(self.counter.data_ptr()), num_blocks or self.num_blocks[q.shape[3]], stream))
        return out

    def exact(self, q, k, v, causal):
        out = torch.full_like(q, float("nan"), dtype=torch.float64)
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        self.check(self.library.run_naive(ctypes.byref(self.call(q, k, v, out, causal)), stream))
        return out

    def repeat(self, x, out, group_size):
        row_bytes = x.shape[-1] * x.element_size()
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        self.check(self.library.run_repeat(ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(out.data_ptr()), ctypes.c_longlong(x.numel() // x.shape[-1]),
                                           ctypes.c_longlong(row_bytes), group_size, stream))
        return out


def tensors(batch, q_len, kv_len, num_heads, num_kv_heads, head_dim, dtype):
    shape = lambda length, heads: torch.randn(batch, length, heads, head_dim, device="cuda").to(dtype)
    return shape(q_len, num_heads), shape(kv_len, num_kv_heads), shape(kv_len, num_kv_heads)


def sdpa(backend, q, k, v, causal):
    with sdpa_kernel(backend):
        return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=causal,
                                              enable_gqa=q.shape[2] != k.shape[2]).transpose(1, 2)


def relative_error(x, exact):
    return ((x.double() - exact).norm() / exact.norm()).item()


def same_bits(a, b):
    return torch.equal(a.view(torch.int16), b.view(torch.int16))


def correctness(kernels):
    """Errors beside PyTorch's, and bits that must not depend on how the work is cut. Raises where one is wrong."""
    rows = []
    for dtype in (torch.bfloat16, torch.float16):
        for head_dim in (64, 128):
            for causal in (False, True):
                for batch, q_len, kv_len, heads, kv_heads in ((2, 1000, 1000, 4, 2), (1, 333, 2049, 2, 1), (1, 129, 8800, 2, 2), (1, 40, 17000, 1, 1)):
                    q, k, v = tensors(batch, q_len, kv_len, heads, kv_heads, head_dim, dtype)
                    exact = kernels.exact(q, k, v, causal)
                    poisoned = lambda: torch.full_like(q, float("nan"))
                    ours = kernels.prefill(q, k, v, poisoned(), causal)
                    row = {"dtype": str(dtype), "head_dim": head_dim, "causal": causal, "q_len": q_len, "kv_len": kv_len, "error": relative_error(ours, exact)}
                    if not causal or q_len == kv_len:
                        row["error_flash"] = relative_error(sdpa(SDPBackend.FLASH_ATTENTION, q, k, v, causal), exact)
                    row["same_bits_on_3_blocks"] = same_bits(ours, kernels.prefill(q, k, v, poisoned(), causal, num_blocks=3))
                    cut = q_len // 3
                    last = kernels.prefill(q[:, cut:].contiguous(), k, v, poisoned()[:, cut:].contiguous(), causal)
                    row["same_bits_in_chunks"] = same_bits(last, ours[:, cut:].contiguous())
                    rows.append(row)
                    if not (row["error"] < (1e-2 if dtype == torch.bfloat16 else 1e-3) and row["same_bits_on_3_blocks"] and row["same_bits_in_chunks"]):
                        raise RuntimeError(f"wrong: {row}")
    # A NaN or infinity among the values reaches the rows that see it and no other.
    for head_dim in (64, 128):
        for bad in (float("nan"), float("inf")):
            q, k, v = tensors(1, 200, 200, 1, 1, head_dim, torch.bfloat16)
            clean = kernels.prefill(q, k, v, torch.empty_like(q), True)
            for key in range(64, 200):
                poisoned = v.clone()
                poisoned[0, key, 0, key % head_dim] = bad
                out = kernels.prefill(q, k, poisoned, torch.empty_like(q), True)
                if not same_bits(out[:, :key].contiguous(), clean[:, :key].contiguous()) or out[0, key:, 0, key % head_dim].isfinite().any():
                    raise RuntimeError(f"{bad} in the values of key {key} is seen wrongly")
    # The last has more than 2^31 elements.
    for dtype, tokens, head_dim in ((torch.bfloat16, 50, 128), (torch.float32, 50, 65), (torch.uint8, 50, 33), (torch.uint8, 1 << 22, 129)):
        x = torch.randint(0, 100, (3, tokens, 2, head_dim), device="cuda", dtype=torch.uint8).to(dtype)
        if not torch.equal(kernels.repeat(x, torch.empty(3, tokens, 6, head_dim, device="cuda", dtype=dtype), 3), x.repeat_interleave(3, dim=2)):
            raise RuntimeError("repeat is wrong")
        del x
    return rows


def milliseconds(run, repetitions=30):
    """Median over launches timed one by one."""
    for _ in range(5):
        run()
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repetitions)]
    for begin, end in events:
        begin.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in events)


def limits():
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    x = torch.randn(1 << 30, device="cuda")
    y = torch.empty_like(x)
    return {"matmul_tflops": 2 * 8192**3 / milliseconds(lambda: a @ b) / 1e9, "copy_gbps": 2 * x.numel() * 4 / milliseconds(lambda: y.copy_(x)) / 1e6}


def prefill_speed(kernels):
    rows = []
    for head_dim in (128, 64):
        heads = 2048 // head_dim
        for length in (512, 2048, 8192, 16384):
            batch = max(1, 16384 // length)
            for causal in (False, True):
                for dtype in (torch.bfloat16, torch.float16):
                    if dtype == torch.float16 and length not in (2048, 8192):
                        continue
                    for kv_heads in (heads, heads // 4) if length == 8192 and dtype == torch.bfloat16 else (heads,):
                        q, k, v = tensors(batch, length, length, heads, kv_heads, head_dim, dtype)
                        out = torch.empty_like(q)
                        visible = length * (length + 1) / 2 if causal else length * length
                        rate = lambda run: round(4 * batch * heads * visible * head_dim / milliseconds(run) / 1e9, 1)
                        flash = lambda: sdpa(SDPBackend.FLASH_ATTENTION, q, k, v, causal)
                        cudnn = lambda: sdpa(SDPBackend.CUDNN_ATTENTION, q, k, v, causal)
                        row = {"dtype": str(dtype)[6:], "head_dim": head_dim, "batch": batch, "len": length, "heads": heads, "kv_heads": kv_heads, "causal": causal}
                        row["flash"] = rate(flash)
                        row["rapt"] = rate(lambda: kernels.prefill(q, k, v, out, causal))
                        row["cudnn"] = rate(cudnn)
                        row["rapt_again"] = rate(lambda: kernels.prefill(q, k, v, out, causal))
                        rows.append(row)
                        print(" ".join(f"{name}={value}" for name, value in row.items()), flush=True)
    return rows


def repeat_speed(kernels):
    rows = []
    for group_size in (1, 4, 8):
        for head_dim in (64, 128):
            x = torch.randn(4, 16384, 8, head_dim, device="cuda").to(torch.bfloat16)
            out = torch.empty(4, 16384, 8 * group_size, head_dim, device="cuda", dtype=torch.bfloat16)
            moved = (x.numel() + out.numel()) * 2
            row = {"group_size": group_size, "head_dim": head_dim, "megabytes": moved // 1000000,
                   "rapt_gbps": moved / milliseconds(lambda: kernels.repeat(x, out, group_size)) / 1e6,
                   "torch_gbps": moved / milliseconds(lambda: x.repeat_interleave(group_size, dim=2)) / 1e6}
            rows.append(row)
            print(" ".join(f"{name}={value:.0f}" for name, value in row.items()), flush=True)
    return rows


def main():
    library, out = sys.argv[1:]
    torch.manual_seed(1)
    kernels = Kernels(library)
    result = {"device": torch.cuda.get_device_name(0), "date": datetime.date.today().isoformat(), "torch": torch.__version__,
              "cudnn": torch.backends.cudnn.version()}
    result["correctness"] = correctness(kernels)
    for row in result["correctness"]:
        print(" ".join(f"{name}={value:.2e}" if isinstance(value, float) else f"{name}={value}" for name, value in row.items()), flush=True)
    result["limits"] = limits()
    print(result["limits"], flush=True)
    result["repeat"] = repeat_speed(kernels)
    result["prefill_tflops"] = prefill_speed(kernels)
    with open(out, "w") as file:
        json.dump(result, file, indent=1)


main()
