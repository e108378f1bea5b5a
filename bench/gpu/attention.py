"""Attention kernels on a device: first whether they are right, then how fast, beside PyTorch's in the same process.

usage: attention.py LIBRARY OUT.json     LIBRARY is bench/gpu/kernels_api.cu, compiled as a shared library; for sm_90a with hopper_api.cu
"""

import ctypes
import datetime
import json
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend

import where
from where import DEVICE, milliseconds, scaled, some


NO_WINDOW = -1


class TensorCall(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("strides", ctypes.c_longlong * 3)]


class Call(ctypes.Structure):
    _fields_ = (
        [(name, TensorCall) for name in ("q", "k", "v", "out", "lse")]
        + [("sequences", ctypes.c_void_p), ("page_table", ctypes.c_void_p), ("softmax_scale", ctypes.c_double), ("softcap", ctypes.c_double)]
        + [("window_left", ctypes.c_longlong), ("window_right", ctypes.c_longlong)]
        + [("visible", ctypes.c_void_p), ("mask_strides", ctypes.c_longlong * 3)]
        + [("alibi_slopes_log2", ctypes.c_void_p), ("sink_logits_log2", ctypes.c_void_p)]
        + [(name, ctypes.c_int) for name in ("num_sequences", "num_heads", "num_kv_heads", "head_dim", "value_dim", "page_len", "is_bf16")]
    )


def tensor_call(x, strides=None):
    """[outer, rows, heads, dim] by its own strides, or others."""
    return TensorCall(x.data_ptr(), (ctypes.c_longlong * 3)(*(strides or x.stride()[:3])))


def lengths_on_device(q_len, kv_lens, first_keys=None):
    """kernels::sequence for each of a batch: first_row, q_len, kv_len, first_position, first_key, first_masked_key, mask_offset (two words)."""
    rows = [[0, q_len, kv_len, kv_len - q_len, first_keys[i] if first_keys else 0, 0, 0, 0] for i, kv_len in enumerate(kv_lens)]
    return torch.tensor(rows, dtype=torch.int32, device=DEVICE)


class Paged:
    """The same keys and values in pages that lie in no order: of each KV head [page_len, head_dim] keys, then [page_len, value_dim] values."""

    def __init__(self, k, v, page_len):
        batch, kv_len, heads, head_dim = k.shape
        value_dim, per_sequence = v.shape[3], (kv_len + page_len - 1) // page_len
        self.page_len, self.first_keys = page_len, [i * per_sequence for i in range(batch)]
        self.table = torch.randperm(batch * per_sequence, device=DEVICE).to(torch.int32)
        self.storage = torch.full((batch * per_sequence, heads, page_len * (head_dim + value_dim)), float("nan"), dtype=k.dtype, device=DEVICE)
        for x, first, dim in ((k, 0, head_dim), (v, page_len * head_dim, value_dim)):
            padded = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, per_sequence * page_len - kv_len), value=float("nan"))
            pages = padded.reshape(batch * per_sequence, page_len, heads, dim).transpose(1, 2).reshape(batch * per_sequence, heads, page_len * dim)
            self.storage[self.table.long(), :, first:first + page_len * dim] = pages
        page, head = heads * page_len * (head_dim + value_dim), page_len * (head_dim + value_dim)
        self.k_strides, self.v_strides = (page, head_dim, head), (page, value_dim, head)
        self.values = self.storage.view(-1)[page_len * head_dim:]


class Kernels:
    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.last_error.restype = ctypes.c_char_p
        self.library.prefill_bytes.restype = ctypes.c_ulonglong
        self.multiprocessors = where.multiprocessors()
        self.workspace = torch.empty(1, dtype=torch.uint8, device=DEVICE)
        self.counter = torch.zeros(1, dtype=torch.int32, device=DEVICE)
        self.has_hopper = hasattr(self.library, "run_hopper")

    def check(self, status):
        if status:
            raise RuntimeError(self.library.last_error().decode())

    @staticmethod
    def call(q, k, v, out, causal, lse=None, pages=None, window_left=NO_WINDOW, softcap=0.0, visible=None):
        """What it points to has to live until the launch has ended: it is kept beside the call."""
        batch, q_len, num_heads, head_dim = q.shape
        sequences = lengths_on_device(q_len, [k.shape[1]] * batch, pages.first_keys if pages else None)
        c = Call(q=tensor_call(q), out=tensor_call(out), sequences=sequences.data_ptr(), softmax_scale=head_dim**-0.5, softcap=softcap,
                 window_left=window_left, window_right=0 if causal else NO_WINDOW, num_sequences=batch, num_heads=num_heads, num_kv_heads=k.shape[2], head_dim=head_dim,
                 value_dim=v.shape[3], is_bf16=int(q.dtype == torch.bfloat16))
        if pages:
            c.k, c.v = tensor_call(pages.storage, pages.k_strides), tensor_call(pages.values, pages.v_strides)
            c.page_table, c.page_len = pages.table.data_ptr(), pages.page_len
        else:
            c.k, c.v = tensor_call(k), tensor_call(v)
        if lse is not None:  # [batch, heads, q_len]
            c.lse = tensor_call(lse, (lse.stride(0), lse.stride(2), lse.stride(1)))
        if visible is not None:  # [heads, q_len, kv_len]
            c.visible, c.mask_strides = visible.data_ptr(), (ctypes.c_longlong * 3)(*visible.stride())
        c.kept = (sequences, pages, q, k, v, out, lse, visible)
        return c

    def prefill(self, q, k, v, out, causal, num_blocks=None, **options):
        self.launch(self.call(q, k, v, out, causal, **options), num_blocks)
        return out

    def launch(self, call, num_blocks=None):
        num_blocks = num_blocks or self.multiprocessors * self.library.prefill_blocks(ctypes.byref(call))
        bytes_needed = self.library.prefill_bytes(ctypes.byref(call), num_blocks)
        if self.workspace.numel() < bytes_needed:
            self.workspace = torch.empty(bytes_needed, dtype=torch.uint8, device=DEVICE)
        stream = where.stream()
        self.check(self.library.run_prefill(ctypes.byref(call), ctypes.c_void_p(self.workspace.data_ptr()), ctypes.c_void_p(self.counter.data_ptr()),
                                            num_blocks, stream))

    def hopper(self, q, k, v, out, causal, num_blocks=None, **options):
        pages = options.get("pages")
        self.launch_hopper(self.call(q, k, v, out, causal, **options), q.shape[1], pages.page_len if pages else k.shape[1], num_blocks)
        return out

    def launch_hopper(self, call, q_rows, kv_rows, num_blocks=None):
        """Rows are those of one sequence of the batch, or of one page."""
        stream = where.stream()
        self.check(self.library.run_hopper(ctypes.byref(call), ctypes.c_longlong(q_rows), ctypes.c_longlong(kv_rows),
                                           ctypes.c_void_p(self.counter.data_ptr()), num_blocks or self.multiprocessors, stream))

    def exact(self, q, k, v, causal, lse=None, **options):
        out = torch.full((*q.shape[:3], v.shape[3]), float("nan"), dtype=torch.float64, device=DEVICE)
        stream = where.stream()
        call = self.call(q, k, v, out, causal, lse=lse, **options)
        self.check(self.library.run_naive(ctypes.byref(call), stream))
        return out

    def repeat(self, x, out, group_size):
        row_bytes = x.shape[-1] * x.element_size()
        stream = where.stream()
        self.check(self.library.run_repeat(ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(out.data_ptr()), ctypes.c_longlong(x.numel() // x.shape[-1]),
                                           ctypes.c_longlong(row_bytes), group_size, stream))
        return out


def tensors(batch, q_len, kv_len, num_heads, num_kv_heads, head_dim, dtype, value_dim=None):
    shape = lambda length, heads, dim: torch.randn(batch, length, heads, dim, device=DEVICE).to(dtype)
    return shape(q_len, num_heads, head_dim), shape(kv_len, num_kv_heads, head_dim), shape(kv_len, num_kv_heads, value_dim or head_dim)


def sdpa(backend, q, k, v, causal):
    with where.backend(backend):
        return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=causal,
                                              enable_gqa=q.shape[2] != k.shape[2]).transpose(1, 2)


def relative_error(x, exact):
    return ((x.double() - exact).norm() / exact.norm()).item()


def same_bits(a, b):
    return torch.equal(a.view(torch.int16), b.view(torch.int16))


def serves_hopper(kernels, head_dim, value_dim):
    return kernels.has_hopper and head_dim % 8 == 0 and value_dim % 8 == 0


SHAPES = some(((2, 1000, 1000, 4, 2), (1, 333, 2049, 2, 1), (1, 129, 8800, 2, 2), (1, 40, 17000, 1, 1)), ((2, 50, 90, 2, 1),))
WIDTHS = some(((64, 64), (128, 128), (96, 96), (192, 192), (256, 256), (192, 128), (80, 80), (72, 33)), ((64, 64), (72, 33)))


def correctness(kernels):
    """Errors beside PyTorch's, and bits that must not depend on how the work is cut. Raises where one is wrong."""
    rows = []
    for dtype in (torch.bfloat16, torch.float16):
        for head_dim, value_dim in WIDTHS:
            for causal in (False, True):
                for batch, q_len, kv_len, heads, kv_heads in SHAPES if head_dim in (64, 128) else SHAPES[:2]:
                    q, k, v = tensors(batch, q_len, kv_len, heads, kv_heads, head_dim, dtype, value_dim)
                    out_shape = (batch, q_len, heads, value_dim)
                    poisoned = lambda: torch.full(out_shape, float("nan"), dtype=dtype, device=DEVICE)
                    lse, exact_lse = (torch.empty(batch, heads, q_len, device=DEVICE) for _ in range(2))
                    exact = kernels.exact(q, k, v, causal, lse=exact_lse)
                    ours = kernels.prefill(q, k, v, poisoned(), causal, lse=lse)
                    row = {"dtype": str(dtype), "head_dim": head_dim, "value_dim": value_dim, "causal": causal, "q_len": q_len, "kv_len": kv_len,
                           "error": relative_error(ours, exact), "lse_error": (lse - exact_lse).abs().max().item()}
                    if (not causal or q_len == kv_len) and head_dim == value_dim:
                        row["error_flash"] = relative_error(sdpa(SDPBackend.FLASH_ATTENTION, q, k, v, causal), exact)
                    row["same_bits_on_3_blocks"] = same_bits(ours, kernels.prefill(q, k, v, poisoned(), causal, num_blocks=3))
                    if serves_hopper(kernels, head_dim, value_dim):
                        hopper_lse = torch.empty_like(lse)
                        hopper = kernels.hopper(q, k, v, poisoned(), causal, lse=hopper_lse)
                        row["error_hopper"], row["lse_error_hopper"] = relative_error(hopper, exact), (hopper_lse - exact_lse).abs().max().item()
                        row["same_bits_hopper_on_3_blocks"] = same_bits(hopper, kernels.hopper(q, k, v, poisoned(), causal, num_blocks=3))
                        later = kernels.hopper(q[:, q_len // 3:], k, v, poisoned()[:, q_len // 3:].contiguous(), causal)
                        row["same_bits_hopper_in_chunks"] = same_bits(later, hopper[:, q_len // 3:].contiguous())
                        row["same_bits_hopper_in_pages"] = all(same_bits(hopper, kernels.hopper(q, k, v, poisoned(), causal, pages=Paged(k, v, n)))
                                                               for n in (16, 80, 512))
                    cut = q_len // 3
                    last = kernels.prefill(q[:, cut:], k, v, poisoned()[:, cut:].contiguous(), causal)
                    row["same_bits_in_chunks"] = same_bits(last, ours[:, cut:].contiguous())
                    in_pages = lambda n: kernels.prefill(q, k, v, poisoned(), causal, pages=Paged(k, v, n))
                    row["same_bits_in_pages"] = same_bits(ours, in_pages(16)) and same_bits(ours, in_pages(80))
                    visible = torch.ones(q_len, kv_len, dtype=torch.bool, device=DEVICE).tril(kv_len - q_len).expand(heads, q_len, kv_len)
                    if causal:
                        row["same_bits_by_a_mask"] = same_bits(ours, kernels.prefill(q, k, v, poisoned(), False, visible=visible))
                    rows.append(row)
                    limit = 1e-2 if dtype == torch.bfloat16 else 1e-3
                    if not (max(row["error"], row.get("error_hopper", 0)) < limit and max(row["lse_error"], row.get("lse_error_hopper", 0)) < 1e-3 and all(x for name, x in row.items() if name.startswith("same_bits"))):
                        raise RuntimeError(f"wrong: {row}")
    for options in ({"softcap": 2.5}, {"window_left": 300}, {"softcap": 4.0, "window_left": 99}):
        q, k, v = tensors(2, *some((500, 900), (5, 90)), 4, 2, 128, torch.float16)
        ours, exact = kernels.prefill(q, k, v, torch.empty_like(q), True, **options), kernels.exact(q, k, v, True, **options)
        rows.append({"error": relative_error(ours, exact), **options})
        if not rows[-1]["error"] < 1e-3:
            raise RuntimeError(f"wrong: {rows[-1]}")
    # A NaN or infinity among the values reaches the rows that see it and no other.
    for head_dim, run in ((d, run) for d in (64, 128) for run in (kernels.prefill, kernels.hopper)[:1 + kernels.has_hopper]):
        for bad in (float("nan"), float("inf")):
            q, k, v = tensors(1, 200, 200, 1, 1, head_dim, torch.bfloat16)
            clean = run(q, k, v, torch.empty_like(q), True)
            for key in some(range(64, 200), (64, 199)):
                poisoned = v.clone()
                poisoned[0, key, 0, key % head_dim] = bad
                out = run(q, k, poisoned, torch.empty_like(q), True)
                if not same_bits(out[:, :key].contiguous(), clean[:, :key].contiguous()) or out[0, key:, 0, key % head_dim].isfinite().any():
                    raise RuntimeError(f"{bad} in the values of key {key} is seen wrongly")
    # The last has more than 2^31 elements.
    for dtype, tokens, head_dim in ((torch.bfloat16, 50, 128), (torch.float32, 50, 65), (torch.uint8, 50, 33), (torch.uint8, scaled(1 << 22), 129)):
        x = torch.randint(0, 100, (3, tokens, 2, head_dim), device=DEVICE, dtype=torch.uint8).to(dtype)
        if not torch.equal(kernels.repeat(x, torch.empty(3, tokens, 6, head_dim, device=DEVICE, dtype=dtype), 3), x.repeat_interleave(3, dim=2)):
            raise RuntimeError("repeat is wrong")
        del x
    return rows


def or_none(run):
    """A backend of PyTorch's need not serve a shape."""
    try:
        return run()
    except RuntimeError:
        return None


def prefill_row(kernels, dtype, head_dim, batch, length, heads, kv_heads, causal, value_dim=None, page_len=0, **options):
    value_dim, length, batch = value_dim or head_dim, scaled(length), scaled(batch)
    heads, kv_heads = some((heads, kv_heads), (2, 1 if kv_heads < heads else 2))
    q, k, v = tensors(batch, length, length, heads, kv_heads, head_dim, dtype, value_dim)
    out = torch.empty(batch, length, heads, value_dim, dtype=dtype, device=DEVICE)
    call = kernels.call(q, k, v, out, causal, pages=Paged(k, v, page_len) if page_len else None, **options)
    left = options.get("window_left", NO_WINDOW)
    visible = sum(min(i, left if left != NO_WINDOW else i) + 1 for i in range(length)) if causal else length * length
    rate = lambda run: round(2 * batch * heads * visible * (head_dim + value_dim) / milliseconds(run) / 1e9, 1)
    row = {"dtype": str(dtype)[6:], "head_dim": head_dim, "value_dim": value_dim, "batch": batch, "len": length, "heads": heads, "kv_heads": kv_heads,
           "causal": causal, "page_len": page_len, **options}
    plain = not options
    row["flash"] = or_none(lambda: rate(lambda: sdpa(SDPBackend.FLASH_ATTENTION, q, k, v, causal))) if plain else None
    row["rapt"] = rate(lambda: kernels.launch(call))
    by_hopper = serves_hopper(kernels, head_dim, value_dim) and "softcap" not in options
    row["hopper"] = rate(lambda: kernels.launch_hopper(call, length, page_len or length)) if by_hopper else None
    row["cudnn"] = or_none(lambda: rate(lambda: sdpa(SDPBackend.CUDNN_ATTENTION, q, k, v, causal))) if plain else None
    row["rapt_again"] = rate(lambda: kernels.launch(call))
    row["hopper_again"] = rate(lambda: kernels.launch_hopper(call, length, page_len or length)) if by_hopper else None
    print(" ".join(f"{name}={value}" for name, value in row.items()), flush=True)
    return row


def prefill_speed(kernels):
    rows, bf16 = [], torch.bfloat16
    for head_dim in (128, 64):
        heads = 2048 // head_dim
        for length in (512, 2048, 8192, 16384):
            for causal in (False, True):
                for dtype in (bf16, torch.float16) if length in (2048, 8192) else (bf16,):
                    for kv_heads in (heads, heads // 4) if length == 8192 and dtype == bf16 else (heads,):
                        rows.append(prefill_row(kernels, dtype, head_dim, max(1, 16384 // length), length, heads, kv_heads, causal))
    for head_dim, value_dim in ((96, 96), (192, 192), (256, 256), (192, 128)):
        for length in (2048, 8192):
            for causal in (False, True):
                rows.append(prefill_row(kernels, bf16, head_dim, 16384 // length, length, 2048 // head_dim, 2048 // head_dim, causal, value_dim))
    for page_len in (16, 64):
        for length in (512, 2048, 8192):
            rows.append(prefill_row(kernels, bf16, 128, 16384 // length, length, 16, 4, True, page_len=page_len))
    rows.append(prefill_row(kernels, bf16, 128, 1, 16384, 16, 4, True, window_left=1023))
    rows.append(prefill_row(kernels, bf16, 128, 2, 8192, 16, 4, True, softcap=30.0))
    return rows


def prefill_scaling(kernels):
    """One sequence of few heads, and more of them; then batches of a short one."""
    return [prefill_row(kernels, torch.bfloat16, 128, 1, 4096, heads, heads, True) for heads in (1, 2, 4, 8, 16)] + [
        prefill_row(kernels, torch.bfloat16, 128, batch, 1024, 16, 4, True) for batch in (1, 2, 4, 8, 16)]


def repeat_speed(kernels):
    rows = []
    for group_size in (1, 4, 8):
        for head_dim in (64, 128):
            x = torch.randn(4, scaled(16384), 8, head_dim, device=DEVICE).to(torch.bfloat16)
            out = torch.empty(4, scaled(16384), 8 * group_size, head_dim, device=DEVICE, dtype=torch.bfloat16)
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
    result = {"device": where.name(), "date": datetime.date.today().isoformat(), "torch": torch.__version__,
              "cudnn": torch.backends.cudnn.version()}
    result["correctness"] = correctness(kernels)
    for row in result["correctness"]:
        print(" ".join(f"{name}={value:.2e}" if isinstance(value, float) else f"{name}={value}" for name, value in row.items()), flush=True)
    result["limits"] = where.limits()
    print(result["limits"], flush=True)
    result["repeat"] = repeat_speed(kernels)
    result["prefill_tflops"] = prefill_speed(kernels)
    result["scaling_tflops"] = prefill_scaling(kernels)
    with open(out, "w") as file:
        json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
