"""What is measured: each work has contenders (rapt, Eigen, PyTorch, ONNX Runtime) as functions without arguments that return their
answer as a numpy array or a tensor. Goals are ratios of the best peer's time to rapt's, or shares of the machine's limit."""

import ctypes
import dataclasses
import math
import typing

import numpy
import onnx
import onnxruntime
import torch
from onnx import helper

F = torch.nn.functional
SEED = 1


@dataclasses.dataclass
class Work:
    name: str
    contenders: dict  # name: function; the first is rapt
    amount: float  # operations, or bytes of keys and values that have to be read
    limit: str  # "fma", "vdpbf16ps" or "read": what bounds it
    goal: float  # least ratio to the best peer
    share_goal: float | None = None  # least share of the limit
    tolerance: float = 1e-4  # of the largest absolute value of the answer


class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("extents", ctypes.c_int64 * 4), ("strides", ctypes.c_int64 * 4)]


class Library:
    """rapt and Eigen behind ctypes; arrays must outlive the calls."""

    def __init__(self, path, threads):
        self.c = ctypes.CDLL(path)
        for name in ("peer_context", "peer_torch_module", "peer_bf16_module", "peer_grouped_module", "peer_model"):
            getattr(self.c, name).restype = ctypes.c_void_p
        for name in ("fma_peak", "bf16_pair_peak", "read_rate"):
            getattr(self.c, name).restype = ctypes.c_double
        self.threads = threads
        self.context = ctypes.c_void_p(self.c.peer_context(threads))

    def limit(self, kind):
        return {"fma": self.c.fma_peak, "vdpbf16ps": self.c.bf16_pair_peak, "read": self.c.read_rate}[kind](self.threads)

    def call(self, function, *arguments):
        converted = [a.ctypes.data_as(ctypes.c_void_p) if isinstance(a, numpy.ndarray) else ctypes.c_int64(a) if isinstance(a, int) else a for a in arguments]
        if getattr(self.c, function)(*converted):
            raise RuntimeError(f"{function} failed")

    def attend(self, q, k, v, causal):
        """rapt on tensors [batch, len, heads, dim] of any strides, f32 or bf16 (by cpu-bf16dot-v1), as a function that returns such a tensor."""
        held = [q, k, v, torch.zeros_like(q)]
        tensors = [ctypes.byref(Tensor(x.data_ptr(), tuple(x.shape), x.stride())) for x in held]

        def run():
            self.call("peer_attend", self.context, *tensors, ctypes.c_int(causal), ctypes.c_int(q.dtype == torch.bfloat16))
            return held[-1]

        return run

    def module(self, function, *arguments):
        converted = [a.ctypes.data_as(ctypes.c_void_p) if isinstance(a, numpy.ndarray) else ctypes.c_int64(a) if isinstance(a, int) else a for a in arguments]
        made = getattr(self.c, function)(self.context, *converted)
        if not made:
            raise RuntimeError(f"{function} failed")
        return ctypes.c_void_p(made)


def randoms(*shape, scale=1.0, stream=0):
    return (numpy.random.default_rng([SEED, stream, *shape]).standard_normal(shape) * scale).astype(numpy.float32)


def session(threads, op, inputs, outputs, attributes):
    """One operator as a model. inputs and outputs: {name: (onnx type, shape)}, or a name alone for an input that is left out."""
    value = lambda name, kind: helper.make_tensor_value_info(name, *kind)
    node = helper.make_node(op, [n if k else "" for n, k in inputs.items()], list(outputs), domain="com.microsoft", **attributes)
    graph = helper.make_graph([node], op, [value(n, k) for n, k in inputs.items() if k], [value(n, k) for n, k in outputs.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


FLOAT, HALF, INT32 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT32


def ort_multi_head(threads, q, k, v, causal):
    """MultiHeadAttention; keys and values given for every query head."""
    (batch, q_len, heads, dim), kv_len = q.shape, k.shape[1]
    flat = lambda x: numpy.ascontiguousarray(x.reshape(x.shape[0], x.shape[1], -1))
    names = {"query": (FLOAT, [batch, q_len, heads * dim]), "key": (FLOAT, [batch, kv_len, heads * dim]), "value": (FLOAT, [batch, kv_len, heads * dim])}
    run = session(threads, "MultiHeadAttention", names, {"out": (FLOAT, [batch, q_len, heads * dim])}, {"num_heads": heads, "unidirectional": int(causal)})
    feed = {"query": flat(q), "key": flat(k), "value": flat(v)}
    return lambda: run.run(None, feed)[0]


def ort_grouped_causal(threads, q, k, v):
    """GroupQueryAttention on a prompt."""
    (batch, length, heads, dim), kv_heads = q.shape, k.shape[2]
    past = (FLOAT, [batch, kv_heads, "past", dim])
    inputs = {
        "query": (FLOAT, [batch, length, heads * dim]), "key": (FLOAT, [batch, length, kv_heads * dim]), "value": (FLOAT, [batch, length, kv_heads * dim]),
        "past_key": past, "past_value": past, "seqlens_k": (INT32, [batch]), "total": (INT32, [1]),
    }
    present = (FLOAT, [batch, kv_heads, "total_len", dim])
    run = session(threads, "GroupQueryAttention", inputs, {"out": (FLOAT, [batch, length, heads * dim]), "pk": present, "pv": present},
                  {"num_heads": heads, "kv_num_heads": kv_heads})
    empty = numpy.zeros((batch, kv_heads, 0, dim), numpy.float32)
    feed = {
        "query": q.reshape(batch, length, -1), "key": k.reshape(batch, length, -1), "value": v.reshape(batch, length, -1), "past_key": empty,
        "past_value": empty, "seqlens_k": numpy.full(batch, length - 1, numpy.int32), "total": numpy.array([length], numpy.int32),
    }
    return lambda: run.run(["out"], feed)[0]


def ort_grouped_decode(threads, q, cache_k, cache_v, new_k, new_v):
    """GroupQueryAttention of one token; past and present share their memory. cache_k, cache_v [kv_heads, kv_len + 1, dim], the last row free."""
    heads, dim = q.shape
    kv_heads, total = cache_k.shape[:2]
    kind, element = (HALF, numpy.float16) if cache_k.dtype == numpy.float16 else (FLOAT, numpy.float32)
    past = (kind, [1, kv_heads, total, dim])
    inputs = {
        "query": (kind, [1, 1, heads * dim]), "key": (kind, [1, 1, kv_heads * dim]), "value": (kind, [1, 1, kv_heads * dim]),
        "past_key": past, "past_value": past, "seqlens_k": (INT32, [1]), "total": (INT32, [1]),
    }
    run = session(threads, "GroupQueryAttention", inputs, {"out": (kind, [1, 1, heads * dim]), "pk": past, "pv": past},
                  {"num_heads": heads, "kv_num_heads": kv_heads})
    keep = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in {
        "query": q.astype(element).reshape(1, 1, -1), "key": new_k.astype(element).reshape(1, 1, -1), "value": new_v.astype(element).reshape(1, 1, -1),
        "past_key": cache_k[None], "past_value": cache_v[None], "seqlens_k": numpy.array([total - 1], numpy.int32), "total": numpy.array([total], numpy.int32),
        "out": numpy.zeros((1, 1, heads * dim), element)}.items()}
    binding = run.io_binding()
    for name in inputs:
        binding.bind_ortvalue_input(name, keep[name])
    for name, value in (("out", "out"), ("pk", "past_key"), ("pv", "past_value")):
        binding.bind_ortvalue_output(name, keep[value])

    def decode():
        run.run_with_iobinding(binding)
        return keep["out"].numpy().astype(numpy.float32).reshape(heads, dim)

    return decode


def address(tensor):
    return ctypes.c_void_p(tensor.data_ptr())


def heads_first(x, dtype=torch.float32):
    """[batch, len, heads, dim], each head's rows together in memory."""
    return torch.from_numpy(x).to(dtype).transpose(1, 2).contiguous().transpose(1, 2)


def repeated(x, heads):
    return numpy.ascontiguousarray(numpy.repeat(x, heads // x.shape[2], axis=2))


def torch_attention(q, k, v, causal):
    """Tensors that are heads_first, so that PyTorch gets them contiguous; keys and values given for every query head."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)


def prefill(lib, name, length, heads, kv_heads, dim, causal, goal, share_goal=None):
    q, k, v = randoms(1, length, heads, dim, stream=1), randoms(1, length, kv_heads, dim, stream=2), randoms(1, length, kv_heads, dim, stream=3)
    eigen_out = numpy.zeros_like(q)
    wide_k, wide_v = repeated(k, heads), repeated(v, heads)
    contenders = {"rapt": lib.attend(*map(heads_first, (q, k, v)), causal), "PyTorch SDPA": torch_attention(*map(heads_first, (q, wide_k, wide_v)), causal),
                  "ORT MultiHeadAttention": ort_multi_head(lib.threads, q, wide_k, wide_v, causal)}
    if causal:
        contenders["ORT GroupQueryAttention"] = ort_grouped_causal(lib.threads, q, k, v)
    else:
        def eigen():
            lib.c.eigen_attend(*(ctypes.c_void_p(x.ctypes.data) for x in (q, k, v, eigen_out)), *map(ctypes.c_int64, (length, length, heads, kv_heads, dim)),
                               ctypes.c_int(lib.threads))
            return eigen_out
        contenders["Eigen"] = eigen
    return Work(name, contenders, (2 if causal else 4) * length * length * heads * dim, "fma", goal, share_goal)


def prefill_bf16(lib, name, length, heads, kv_heads, dim, causal, goal):
    """By cpu-bf16dot-v1."""
    q, k, v = (randoms(1, length, n, dim, stream=s) for s, n in ((1, heads), (2, kv_heads), (3, kv_heads)))
    given = [heads_first(x, torch.bfloat16) for x in (q, k, v, repeated(k, heads), repeated(v, heads))]
    contenders = {"rapt": lib.attend(*given[:3], causal), "PyTorch SDPA bf16": torch_attention(given[0], *given[3:], causal)}
    return Work(name, contenders, (2 if causal else 4) * length * length * heads * dim, "vdpbf16ps", goal, tolerance=2e-2)


def decode(lib, name, kv_len, kv_dtype, goal, heads=32, kv_heads=8, dim=128, model_dim=16):
    """One token against a cache. rapt runs its module, with projections from and to 16 columns; peers are given the projected rows."""
    w_q, w_out = randoms(heads * dim, model_dim, stream=4, scale=0.25), randoms(heads * dim, model_dim, stream=5, scale=0.02)
    w_k, w_v = randoms(kv_heads * dim, model_dim, stream=6, scale=0.25), randoms(kv_heads * dim, model_dim, stream=7, scale=0.25)
    x, y = randoms(model_dim, stream=8), numpy.zeros(model_dim, numpy.float32)
    stored = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[kv_dtype]
    k, v = (torch.from_numpy(randoms(kv_len, kv_heads, dim, stream=s)).to(stored) for s in (9, 10))
    project = lambda w, n: (w.astype(numpy.float64) @ x).astype(numpy.float32).reshape(n, dim)
    q, new_k, new_v = project(w_q, heads), project(w_k, kv_heads), project(w_v, kv_heads)

    module = lib.module("peer_grouped_module", model_dim, heads, kv_heads, dim, kv_dtype.encode(), w_q, w_k, w_v, w_out)
    lib.call("peer_fill_cache", module, kv_len, address(k), address(v))

    def ours():
        lib.call("peer_step", module, x, y)
        return y

    whole_k = torch.cat([k, torch.from_numpy(new_k)[None].to(stored)]).transpose(0, 1).contiguous()  # [kv_heads, kv_len + 1, dim]
    whole_v = torch.cat([v, torch.from_numpy(new_v)[None].to(stored)]).transpose(0, 1).contiguous()
    query = torch.from_numpy(q).to(stored).reshape(1, kv_heads, heads // kv_heads, dim)  # the heads of a group as rows: keys are read once for them
    answer = lambda rows: rows.reshape(-1) @ w_out
    contenders = {"rapt": ours}
    contenders[f"PyTorch SDPA {kv_dtype}"] = lambda: answer(F.scaled_dot_product_attention(query, whole_k[None], whole_v[None]).float().numpy())
    if kv_dtype != "f32":
        wide_query, wide_k, wide_v = query.float(), whole_k.float()[None], whole_v.float()[None]
        contenders["PyTorch SDPA f32"] = lambda: answer(F.scaled_dot_product_attention(wide_query, wide_k, wide_v).numpy())
    if kv_dtype != "bf16":
        run = ort_grouped_decode(lib.threads, q, whole_k.numpy().copy(), whole_v.numpy().copy(), new_k, new_v)
        contenders[f"ORT GroupQueryAttention {kv_dtype}"] = lambda: answer(run())
    bytes_read = 2 * (kv_len + 1) * kv_heads * dim * (4 if kv_dtype == "f32" else 2)
    work = Work(name, contenders, bytes_read, "read", goal, 0.85 if lib.threads > 1 else None, 2e-2 if kv_dtype == "bf16" else 5e-3)
    work.release = lambda: lib.c.peer_free_module(module)
    return work


def torch_layer(width, heads):
    torch.manual_seed(SEED)
    layer = torch.nn.MultiheadAttention(width, heads, batch_first=True).eval()
    torch.nn.init.normal_(layer.in_proj_bias, std=0.1)
    return layer, [p.detach().numpy() for p in (layer.in_proj_weight, layer.in_proj_bias, layer.out_proj.weight, layer.out_proj.bias)]


def module(lib, name, length, width, heads, goal):
    layer, weights = torch_layer(width, heads)
    x, y = randoms(length, width, stream=11), numpy.zeros((length, width), numpy.float32)
    made = lib.module("peer_torch_module", width, heads, *weights)

    def ours():
        lib.call("peer_forward", made, x, y, length)
        return y

    rows = torch.from_numpy(x)[None]
    contenders = {"rapt": ours, "PyTorch MultiheadAttention": lambda: layer(rows, rows, rows, need_weights=False)[0][0].numpy()}
    work = Work(name, contenders, 8 * length * width * width + 4 * length * length * width, "fma", goal)
    work.keep = weights
    work.release = lambda: lib.c.peer_free_module(made)
    return work


def module_bf16(lib, name, length, width, heads, goal):
    """By cpu-bf16dot-v1."""
    layer, _ = torch_layer(width, heads)
    layer = layer.bfloat16()
    weights = [layer.in_proj_weight, layer.in_proj_bias, layer.out_proj.weight, layer.out_proj.bias]
    x = torch.from_numpy(randoms(length, width, stream=11)).bfloat16()
    y = torch.zeros_like(x)
    made = lib.module("peer_bf16_module", width, heads, *map(address, weights))

    def ours():
        lib.call("peer_bf16_forward", lib.context, made, address(x), address(y), length)
        return y

    rows = x[None]
    contenders = {"rapt": ours, "PyTorch MultiheadAttention bf16": lambda: layer(rows, rows, rows, need_weights=False)[0][0]}
    work = Work(name, contenders, 8 * length * width * width + 4 * length * length * width, "vdpbf16ps", goal, tolerance=2e-2)
    work.keep = layer
    work.release = lambda: lib.c.peer_free_bf16_module(made)
    return work


def module_step(lib, name, kv_len, width, heads, goal):
    """One more row of a module whose cache holds kv_len; PyTorch with a cache of its own, [heads, kv_len, dim]."""
    layer, weights = torch_layer(width, heads)
    dim = width // heads
    k, v = randoms(kv_len, heads, dim, stream=12), randoms(kv_len, heads, dim, stream=13)
    x, y = randoms(width, stream=14), numpy.zeros(width, numpy.float32)
    made = lib.module("peer_torch_module", width, heads, *weights)
    lib.call("peer_fill_cache", made, kv_len, k, v)

    def ours():
        lib.call("peer_step", made, x, y)
        return y

    row = torch.from_numpy(x)[None]
    in_weight, in_bias, out_weight, out_bias = map(torch.from_numpy, weights)
    caches = [torch.cat([torch.from_numpy(c).transpose(0, 1), torch.zeros(heads, 1, dim)], 1).contiguous() for c in (k, v)]

    def theirs():
        q, new_k, new_v = F.linear(row, in_weight, in_bias).reshape(3, heads, dim)
        caches[0][:, kv_len], caches[1][:, kv_len] = new_k, new_v
        attended = F.scaled_dot_product_attention(q[None, :, None], caches[0][None], caches[1][None])
        return F.linear(attended.reshape(1, width), out_weight, out_bias)[0].numpy()

    work = Work(name, {"rapt": ours, "PyTorch by hand": theirs}, 4 * (4 * width * width + 2 * (kv_len + 1) * width), "read", goal)
    work.keep = (weights, k, v)
    work.release = lambda: lib.c.peer_free_module(made)
    return work


def tabular(lib, name, batch, q_len, kv_len, kv_heads, goal, heads=6, dim=32):
    q, k, v = randoms(batch, q_len, heads, dim, stream=15), randoms(batch, kv_len, kv_heads, dim, stream=16), randoms(batch, kv_len, kv_heads, dim, stream=17)
    contenders = {"rapt": lib.attend(*map(torch.from_numpy, (q, k, v)), False),
                  "PyTorch SDPA": torch_attention(*map(heads_first, (q, repeated(k, heads), repeated(v, heads))), False)}
    return Work(name, contenders, 4 * batch * q_len * kv_len * heads * dim, "fma", goal)


def all_works(lib) -> typing.Iterator[tuple[str, typing.Callable[[], Work]]]:
    """Names, and functions that set one work up: the large ones do not fit side by side."""

    def named(name, make, *arguments):
        return name, lambda: make(lib, name, *arguments)

    for length in (512, 2048, 4096):
        for shape, heads, kv_heads, dim, causal_goal in (("8 heads, d 64", 8, 8, 64, 1.4), ("16 heads, 4 KV heads, d 128", 16, 4, 128, 1.25)):
            share = 0.88 if dim == 128 and length >= 2048 else None
            yield named(f"prefill full, {shape}, {length} tokens", prefill, length, heads, kv_heads, dim, False, 1.05, share)
            yield named(f"prefill causal, {shape}, {length} tokens", prefill, length, heads, kv_heads, dim, True, causal_goal)
    for kv_len in (8192, 32768):
        for kv_dtype in ("f32", "f16", "bf16"):
            yield named(f"decode {kv_dtype} cache, 32 heads, 8 KV heads, d 128, {kv_len} keys", decode, kv_len, kv_dtype, 2.0)
    for length, goal in ((128, 1.3), (2048, 1.6)):
        yield named(f"module f32, 1024 wide, 16 heads, {length} tokens", module, length, 1024, 16, goal)
    if lib.limit("vdpbf16ps") > 0:
        for length, goal in ((128, 1.1), (2048, 1.3)):
            yield named(f"module bf16, 1024 wide, 16 heads, {length} tokens", module_bf16, length, 1024, 16, goal)
        for causal in (False, True):
            yield named(f"prefill {'causal' if causal else 'full'} bf16, 16 heads, 4 KV heads, d 128, 2048 tokens", prefill_bf16, 2048, 16, 4, 128, causal, 2.0)
    yield named("module f32, 1024 wide, 16 heads, 1 token after 4096", module_step, 4096, 1024, 16, 2.0)
    yield named("6 heads, d 32, batch 2048, 32 tokens", tabular, 2048, 32, 32, 6, 1.3)
    yield named("6 heads, d 32, batch 64, 512 queries on one stored head of 2048", tabular, 64, 512, 2048, 1, 1.3)
