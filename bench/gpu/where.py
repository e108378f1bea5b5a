"""Where the programs of bench/gpu run: on a device; or, to be rehearsed (RAPT_GPU_REHEARSAL), on the host, whose library runs kernels in the emulator.

A rehearsal has small shapes and measures nothing; it finds what a device should not have to find.
"""

import ctypes
import os
import statistics

import torch

REHEARSAL = "RAPT_GPU_REHEARSAL" in os.environ
DEVICE = "cpu" if REHEARSAL else "cuda"
SCALE = 256


def name():
    return "emulator" if REHEARSAL else torch.cuda.get_device_name(0)


def multiprocessors():
    return 3 if REHEARSAL else torch.cuda.get_device_properties(0).multi_processor_count


def stream():
    return ctypes.c_void_p(0 if REHEARSAL else torch.cuda.current_stream().cuda_stream)


def scaled(n):
    """A length, or a number of rows."""
    return max(1, n // SCALE) if REHEARSAL else n


def some(full, few):
    """Cases: all of them, or few for a rehearsal."""
    return few if REHEARSAL else full


def backend(which):
    """PyTorch's attention by this backend; by any where there is no device."""
    return torch.nn.attention.sdpa_kernel(list(torch.nn.attention.SDPBackend.__members__.values())[1:] if REHEARSAL else which)


def milliseconds(run, repetitions=30):
    """Median over launches timed one by one."""
    if REHEARSAL:
        run()
        return 1.0
    for _ in range(5):
        run()
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repetitions)]
    for begin, end in events:
        begin.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in events)


def graph_milliseconds(runs):
    """Of one launch: a graph of one for each of several operands, which together are larger than the second-level cache."""
    for run in runs:
        run()
    if REHEARSAL:
        return 1.0
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for run in runs:
            run()
    return milliseconds(graph.replay, 20) / len(runs)


def limits():
    """What the machine reaches: TFLOP/s of a matrix product in bf16, GB/s of a copy, read and written bytes together."""
    n = 8192 if not REHEARSAL else 64
    a, b = (torch.randn(n, n, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    x = torch.randn(n * n * 16, device=DEVICE)
    y = torch.empty_like(x)
    return {"matmul_tflops": 2 * n**3 / milliseconds(lambda: a @ b) / 1e9, "copy_gbps": 2 * x.numel() * 4 / milliseconds(lambda: y.copy_(x)) / 1e6}
