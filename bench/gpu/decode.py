"""Decode, append and gather on a device: first whether they are right, then how fast, beside PyTorch's attention in the same process.

usage: decode.py LIBRARY OUT.json     LIBRARY is bench/gpu/kernels_api.cu and decode_api.cu, for sm_90a hopper_api.cu too, as a shared library
"""

import ctypes
import datetime
import json
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend

import where
from attention import Kernels, relative_error, same_bits
from where import DEVICE, graph_milliseconds, scaled, some

POINTERS, INTEGERS = ctypes.c_void_p, ctypes.c_int


class DecodeCall(ctypes.Structure):
    _fields_ = (
        [(name, POINTERS) for name in ("q", "k", "v", "out", "sequences", "page_table", "acc", "max_and_sum", "counters")]
        + [(name, ctypes.c_longlong) for name in ("outer_stride", "row_stride", "head_stride")]
        + [(name, INTEGERS) for name in ("num_sequences", "num_heads", "num_kv_heads", "head_dim", "page_len", "max_q_len", "max_kv_len", "window_left", "is_bf16")]
    )


class AppendCall(ctypes.Structure):
    _fields_ = (
        [(name, POINTERS) for name in ("rows", "q_out", "k_out", "v_out", "sequences", "page_table", "angles", "q_norm", "k_norm")]
        + [(name, ctypes.c_longlong) for name in ("outer_stride", "row_stride", "head_stride")]
        + [(name, INTEGERS) for name in ("num_sequences", "num_rows", "num_heads", "num_kv_heads", "head_dim", "page_len", "rope_dim", "is_bf16", "is_float")]
    )


def pointer(tensor):
    return None if tensor is None else tensor.data_ptr()


def sequences_of(q_lens, kv_lens, first_keys):
    """Descriptors as kernels/attention_problem.hpp has them: six ints, then an offset of 64 bits."""
    rows, first_row = [], 0
    for q_len, kv_len, first_key in zip(q_lens, kv_lens, first_keys):
        rows.append([first_row, q_len, kv_len, kv_len - q_len, first_key, 0, 0, 0])
        first_row += q_len
    return torch.tensor(rows, dtype=torch.int32, device=DEVICE)


class Cache:
    """Keys and values of one length for each sequence: rows [batch, len, kv_heads, head_dim], or pages in no order."""

    def __init__(self, batch, kv_len, kv_heads, head_dim, dtype, page_len=None, like=None):
        random = lambda *shape: torch.randn(*shape, device=DEVICE).to(dtype)
        self.batch, self.kv_len, self.kv_heads, self.head_dim, self.page_len, self.table = batch, kv_len, kv_heads, head_dim, page_len, None
        if page_len is None:
            self.k, self.v = random(batch, kv_len, kv_heads, head_dim), random(batch, kv_len, kv_heads, head_dim)
            self.strides = (kv_len * kv_heads * head_dim, kv_heads * head_dim, head_dim)
            self.first_keys = [0] * batch
            return
        pages_each = -(-kv_len // page_len)
        self.pages = torch.zeros(batch * pages_each, kv_heads, 2, page_len, head_dim, device=DEVICE, dtype=dtype)
        self.table = torch.randperm(batch * pages_each, device=DEVICE).to(torch.int32)
        self.k, self.v = self.pages[:, :, 0], self.pages[:, :, 1]
        self.strides = (kv_heads * 2 * page_len * head_dim, head_dim, 2 * page_len * head_dim)
        self.first_keys = [i * pages_each for i in range(batch)]
        if like is None:
            self.pages.copy_(random(*self.pages.shape))
            return
        for to, rows in ((self.k, like.k), (self.v, like.v)):
            whole = F.pad(rows, (0, 0, 0, 0, 0, pages_each * page_len - kv_len))
            to[self.table.long()] = whole.reshape(batch * pages_each, page_len, kv_heads, head_dim).transpose(1, 2)

    def sequences(self, q_len):
        return sequences_of([q_len] * self.batch, [self.kv_len] * self.batch, self.first_keys)


class Decode:
    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.last_error.restype = ctypes.c_char_p
        self.has_clusters = hasattr(self.library, "run_decode_by_clusters")

    def check(self, status):
        if status:
            raise RuntimeError(self.library.last_error().decode())

    def prepare(self, q, cache, max_kv_len=None, window_left=-1, by_clusters=False):
        """A launch whose memory lives as long as what it returns: a function of the output. None where clusters are asked for and do not serve it."""
        batch, q_len, heads, head_dim = q.shape
        sequences = cache.sequences(q_len)
        call = DecodeCall(q=q.data_ptr(), k=cache.k.data_ptr(), v=cache.v.data_ptr(), sequences=sequences.data_ptr(), page_table=pointer(cache.table),
                          num_sequences=batch, num_heads=heads, num_kv_heads=cache.kv_heads, head_dim=head_dim, page_len=cache.page_len or 0, max_q_len=q_len,
                          max_kv_len=max_kv_len or cache.kv_len, window_left=window_left, is_bf16=int(q.dtype == torch.bfloat16))
        call.outer_stride, call.row_stride, call.head_stride = cache.strides
        if by_clusters and not (self.has_clusters and self.library.clusters_serve(ctypes.byref(call))):
            return None
        launch = self.library.run_decode_by_clusters if by_clusters else self.library.run_decode
        sizes = (ctypes.c_longlong * 3)()
        self.check(self.library.decode_sizes_for(ctypes.byref(call), sizes))
        acc, max_and_sum = (torch.full((max(1, n),), float("nan"), device=DEVICE) for n in sizes[:2])
        counters = torch.zeros(sizes[2], dtype=torch.int32, device=DEVICE)
        call.acc, call.max_and_sum, call.counters = acc.data_ptr(), max_and_sum.data_ptr(), counters.data_ptr()
        kept = (q, cache, sequences, acc, max_and_sum, counters)

        def run(out):
            call.out = out.data_ptr()
            self.check(launch(ctypes.byref(call), where.stream()))
            return out

        run.kept = kept
        return run

    def append(self, rows, q_out, cache, sequences, angles, norm=None):
        call = AppendCall(rows=rows.data_ptr(), q_out=q_out.data_ptr(), k_out=cache.k.data_ptr(), v_out=cache.v.data_ptr(), sequences=sequences.data_ptr(),
                          page_table=pointer(cache.table), angles=angles.data_ptr(), q_norm=pointer(norm), k_norm=pointer(norm),
                          num_sequences=sequences.shape[0], num_rows=rows.shape[0], num_heads=q_out.shape[1], num_kv_heads=cache.kv_heads,
                          head_dim=cache.head_dim, page_len=cache.page_len or 0, rope_dim=cache.head_dim, is_bf16=int(q_out.dtype == torch.bfloat16),
                          is_float=int(rows.dtype == torch.float32))
        call.outer_stride, call.row_stride, call.head_stride = cache.strides
        self.check(self.library.run_append(ctypes.byref(call), where.stream()))

    def gather(self, rows, indices, out):
        self.check(self.library.run_gather(POINTERS(rows.data_ptr()), POINTERS(out.data_ptr()), POINTERS(indices.data_ptr()), ctypes.c_longlong(len(indices)),
                                           ctypes.c_longlong(rows.shape[1] * rows.element_size()), where.stream()))


def sdpa(backend, q, cache):
    with where.backend(backend):
        return F.scaled_dot_product_attention(q.transpose(1, 2), cache.k.transpose(1, 2), cache.v.transpose(1, 2), enable_gqa=True)


def correctness(decode, prefill):
    """Errors beside PyTorch's, and bits that are prefill's whatever the layout, the limits and the batch. Raises where one is wrong."""
    rows = []
    for dtype in (torch.bfloat16, torch.float16):
        for head_dim in (64, 128):
            for batch, q_len, kv_len, heads, kv_heads in some(((1, 1, 1000, 32, 8), (3, 1, 8800, 8, 2), (2, 5, 20000, 8, 2), (1, 16, 700, 40, 2)), ((2, 1, 600, 8, 2),)):
                q = torch.randn(batch, q_len, heads, head_dim, device=DEVICE).to(dtype)
                cache = Cache(batch, kv_len, kv_heads, head_dim, dtype)
                poisoned = lambda: torch.full_like(q, float("nan"))
                run = decode.prepare(q, cache)
                ours = run(poisoned())
                exact = prefill.exact(q, cache.k, cache.v, True)
                row = {"dtype": str(dtype)[6:], "head_dim": head_dim, "batch": batch, "q_len": q_len, "kv_len": kv_len, "error": relative_error(ours, exact)}
                if q_len == 1:
                    row["error_flash"] = relative_error(sdpa(SDPBackend.FLASH_ATTENTION, q, cache).transpose(1, 2), exact)
                row["same_bits_as_prefill"] = same_bits(ours, prefill.prefill(q, cache.k, cache.v, poisoned(), True))
                row["same_bits_again"] = all(same_bits(ours, run(poisoned())) for _ in range(some(20, 1)))
                row["same_bits_with_larger_limits"] = same_bits(ours, decode.prepare(q, cache, 2 * kv_len)(poisoned()))
                row["same_bits_in_pages"] = all(same_bits(ours, decode.prepare(q, Cache(batch, kv_len, kv_heads, head_dim, dtype, page_len, cache))(poisoned()))
                                                for page_len in (16, 48, 256))
                by_clusters = decode.prepare(q, cache, by_clusters=True)
                if by_clusters:
                    row["same_bits_by_clusters"] = all(same_bits(ours, by_clusters(poisoned())) for _ in range(some(20, 1)))
                    row["same_bits_by_clusters_in_pages"] = same_bits(
                        ours, decode.prepare(q, Cache(batch, kv_len, kv_heads, head_dim, dtype, 48, cache), by_clusters=True)(poisoned()))
                rows.append(row)
                if not row["error"] < (1e-2 if dtype == torch.bfloat16 else 1e-3) or not all(v for name, v in row.items() if name.startswith("same")):
                    raise RuntimeError(f"wrong: {row}")
    x = torch.randint(0, 100, (300, 77), device=DEVICE, dtype=torch.uint8)
    indices = torch.randint(0, 300, (1000,), device=DEVICE)
    out = torch.empty(1000, 77, device=DEVICE, dtype=torch.uint8)
    decode.gather(x, indices, out)
    if not torch.equal(out, x[indices]):
        raise RuntimeError("gather is wrong")
    return rows


def decode_speed(decode, limit):
    rows = []
    for head_dim, heads, kv_heads in ((128, 32, 8), (64, 32, 8)):
        for batch in (1, 8):
            for kv_len in map(scaled, (1024, 4096, 16384, 32768, 131072) if head_dim == 128 else (1024, 32768)):
                moved = 4 * batch * kv_len * kv_heads * head_dim
                copies = some(max(2, min(50, 500_000_000 // moved)), 2)
                caches = [Cache(batch, kv_len, kv_heads, head_dim, torch.bfloat16) for _ in range(copies)]
                q = torch.randn(batch, 1, heads, head_dim, device=DEVICE).to(torch.bfloat16)
                out = torch.empty_like(q)
                row = {"head_dim": head_dim, "batch": batch, "kv_len": kv_len, "megabytes": moved / 1e6}
                of = lambda launches: graph_milliseconds([lambda launch=launch: launch(out) for launch in launches])
                ours = of([decode.prepare(q, cache) for cache in caches])
                row["rapt_us"] = ours * 1e3
                clusters_of = lambda caches: [decode.prepare(q, cache, by_clusters=True) for cache in caches]
                has_clusters = clusters_of(caches[:1])[0] is not None
                if has_clusters:
                    row["clusters_us"] = of(clusters_of(caches)) * 1e3
                for name, backend in (("flash_us", SDPBackend.FLASH_ATTENTION), ("cudnn_us", SDPBackend.CUDNN_ATTENTION)):
                    try:
                        row[name] = graph_milliseconds([lambda cache=cache: sdpa(backend, q, cache) for cache in caches]) * 1e3
                    except RuntimeError as error:
                        print(f"{name}: {str(error).splitlines()[0]}")
                row["rapt_again_us"] = of([decode.prepare(q, cache) for cache in caches]) * 1e3
                del caches
                if batch * kv_len <= 262144:
                    caches = [Cache(batch, kv_len, kv_heads, head_dim, torch.bfloat16, 64) for _ in range(copies)]
                    row["rapt_pages_us"] = of([decode.prepare(q, cache) for cache in caches]) * 1e3
                    if has_clusters:
                        row["clusters_pages_us"] = of(clusters_of(caches)) * 1e3
                    del caches
                row["gbps"] = moved / ours / 1e6
                row["percent_of_copy"] = 100 * row["gbps"] / limit["copy_gbps"]
                rows.append(row)
                print(" ".join(f"{name}={value:.4g}" for name, value in row.items()), flush=True)
    return rows


def append_speed(decode, limit):
    rows = []
    heads, kv_heads, head_dim = 32, 8, 128
    angles = torch.randn(32768, head_dim // 2, 2, device=DEVICE)
    norm = torch.randn(head_dim, device=DEVICE)
    for source in (torch.bfloat16, torch.float32):
        for num_rows, batch in some(((1, 1), (16, 16), (512, 1), (4096, 4), (16384, 8)), ((1, 1), (16, 4))):
            cache = Cache(batch, num_rows // batch, kv_heads, head_dim, torch.bfloat16, 64)
            sequences = cache.sequences(num_rows // batch)
            columns = (heads + 2 * kv_heads) * head_dim
            operands = [torch.randn(num_rows, columns, device=DEVICE).to(source) for _ in range(some(max(2, min(50, 300_000_000 // (num_rows * columns * 2))), 2))]
            outs = [torch.empty(num_rows, heads, head_dim, device=DEVICE, dtype=torch.bfloat16) for _ in operands]
            of = lambda weights: graph_milliseconds([lambda x=x, y=y: decode.append(x, y, cache, sequences, angles, weights) for x, y in zip(operands, outs)])
            ours, normed = of(None), of(norm)
            moved = num_rows * columns * (operands[0].element_size() + 2)
            row = {"from_bytes": operands[0].element_size(), "rows": num_rows, "batch": batch, "megabytes": moved / 1e6, "rapt_us": ours * 1e3,
                   "rapt_with_norm_us": normed * 1e3, "gbps": moved / ours / 1e6, "percent_of_copy": 100 * moved / ours / 1e6 / limit["copy_gbps"]}
            rows.append(row)
            print(" ".join(f"{name}={value:.4g}" for name, value in row.items()), flush=True)
    return rows


def main():
    library, out = sys.argv[1:]
    torch.manual_seed(1)
    decode = Decode(library)
    result = {"device": where.name(), "date": datetime.date.today().isoformat(), "torch": torch.__version__}
    result["correctness"] = correctness(decode, Kernels(library))
    for row in result["correctness"]:
        print(" ".join(f"{name}={value:.2e}" if isinstance(value, float) else f"{name}={value}" for name, value in row.items()), flush=True)
    result["limits"] = where.limits()
    print(result["limits"], flush=True)
    result["decode"] = decode_speed(decode, result["limits"])
    result["append"] = append_speed(decode, result["limits"])
    with open(out, "w") as file:
        json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
