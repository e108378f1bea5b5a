"""rapt beside other libraries on the same work, in one process and in turns.

usage: peers.py LIBRARY RESULT [--threads 1,2] [--only TEXT] [--seconds S]

Each work's answers are compared first. Then the contenders take turns, with the machine's limit measured in the same rounds. Times are medians over
rounds; ratios and shares are medians of each round's quotients, because a shared machine changes its pace from one second to the next.
RESULT is JSON: {"machine": ..., "rows": [{"work", "threads", "ours", "peers": {name: value}, "limit", "ratio", "share", "goal", "share_goal"}]}, times in
seconds, limit the time that the machine's limit would allow.
"""

import argparse
import gc
import importlib.metadata
import itertools
import json
import os
import pathlib
import platform
import statistics
import sys
import time

import numpy
import onnxruntime
import torch

import whole_model
import works

# Seconds between two contenders. ONNX Runtime's threads keep processors busy for more than 3 ms after a call: with so short a rest the FMA peak of two
# threads measured next came out at less than half.
REST = 0.2
# Seconds of the same work before it is timed: what fits into caches comes back to them, and two threads that wake after a rest share one processor of a
# virtual machine for some milliseconds (seen: 2 threads no faster than one in the first 10 ms, twice as fast afterwards).
WARM = 0.1


def busy_seconds():
    fields = [int(x) for x in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def warmed(function):
    """What function returns when it has been called for WARM seconds."""
    start = time.perf_counter()
    while time.perf_counter() - start < WARM:
        function()
    return function()


def measure(work, lib, seconds):
    # Tensors are converted here and not by the contender: PyTorch's threads go on spinning after any work of theirs.
    as_array = lambda answer: answer.double().numpy() if isinstance(answer, torch.Tensor) else numpy.array(answer, dtype=numpy.float64)
    answers = {name: as_array(run()).reshape(-1) for name, run in work.contenders.items()}
    ours = answers["rapt"]
    for name, answer in answers.items():
        apart = numpy.abs(answer - ours).max() / numpy.abs(ours).max()
        if not apart <= work.tolerance:
            raise SystemExit(f"{work.name}: {name} differs from rapt by {apart:.2g} of the largest value; {work.tolerance:g} is allowed")
    once = {name: timed(run) for name, run in work.contenders.items()}
    times, limits = {name: [] for name in work.contenders}, []
    for _ in range(max(5, min(41, int(seconds / (sum(once.values()) + (REST + WARM) * len(once)))))):
        for name, run in work.contenders.items():
            time.sleep(REST)
            times[name].append(warmed(lambda run=run: timed(run)))
        time.sleep(REST)
        limits.append(work.amount / warmed(lambda: lib.limit(work.limit)))
    ours = times.pop("rapt")

    def over_ours(others):
        return statistics.median(other / own for other, own in zip(others, ours))

    return {
        "work": work.name, "threads": lib.threads, "ours": statistics.median(ours), "peers": {name: statistics.median(t) for name, t in times.items()},
        "limit": statistics.median(limits), "limited_by": work.limit, "amount": work.amount,
        "ratio": min(map(over_ours, times.values())), "share": over_ours(limits), "goal": work.goal, "share_goal": work.share_goal,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("library")
    parser.add_argument("result")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--only", default="", help="works whose name holds this text")
    parser.add_argument("--seconds", type=float, default=6, help="for each work and number of threads")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    rows, began, busy = [], time.time(), busy_seconds()
    left_out = whole_model.missing()
    if left_out:
        print(f"   left out: the whole model beside llama.cpp ({left_out})", flush=True)
    fields = dict(map(str.strip, line.split(":", 1)) for line in open("/proc/cpuinfo") if ":" in line)
    # A virtual machine often cuts the name short; family and model tell its processor.
    cpu = f"{fields.get('model name', platform.machine())} {fields.get('cpu family', '')}-{fields.get('model', '')}".rstrip(" -")

    def write():
        others = busy_seconds() - busy - sum(os.times()[:2])
        machine = {
            "cpu": cpu, "processors": os.cpu_count(), "date": time.strftime("%Y-%m-%d", time.gmtime()), "seconds": round(time.time() - began),
            "processors_busy_with_others": round(max(0.0, others / (time.time() - began)), 2), "torch": torch.__version__, "onnxruntime": onnxruntime.__version__,
        }
        if not left_out:
            machine["llama_cpp_python"] = importlib.metadata.version("llama-cpp-python")
        pathlib.Path(options.result).write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")

    for threads in map(int, options.threads.split(",")):
        torch.set_num_threads(threads)
        lib = works.Library(options.library, threads)
        for name, make in itertools.chain(works.all_works(lib), () if left_out else whole_model.all_works(lib)):
            if options.only not in name:
                continue
            work = make()
            row = measure(work, lib, options.seconds)
            rows.append(row)
            write()  # what was measured stays where the run is cut off
            missed = row["ratio"] < row["goal"] or row["share"] < (row["share_goal"] or 0)
            print(f"{threads}  {row['work']:<62} {row['ours'] * 1e3:9.3f} ms  {row['ratio']:5.2f}x of {row['goal']:.2f}  {row['share']:4.0%} of {row['limited_by']}"
                  f"{'  below the goal' if missed else ''}", flush=True)
            getattr(work, "release", lambda: None)()
            del work
            gc.collect()
    return 0


if __name__ == "__main__":
    sys.exit(main())
