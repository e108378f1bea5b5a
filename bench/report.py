"""Reads what rapt_bench wrote with --benchmark_out. Needs the standard library alone.

usage: report.py class RESULT                  the machine class of a run
       report.py compare RESULT BASELINE       medians beside a baseline's
       report.py record RESULT BASELINE OTHERS a baseline of this run, without what names a person's machine; others kept OTHERS processors busy
"""

import json
import math
import pathlib
import statistics
import sys

# A change is named where it exceeds both this share and the spread of the two runs.
NOTABLE = 0.05


def runs_of(path):
    """{bench: [real time of each repetition, ns]}"""
    scale = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
    times = {}
    for run in json.loads(pathlib.Path(path).read_text())["benchmarks"]:
        if run["run_type"] == "iteration" and not run.get("error_occurred"):
            times.setdefault(run["run_name"], []).append(run["real_time"] * scale[run["time_unit"]])
    return times


def spread(times):
    """Half the distance between the quartiles, as a share of the median."""
    if len(times) < 3:
        return 0.0
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return (high - low) / 2 / statistics.median(times)


def text(ns):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"


def context_of(path):
    return json.loads(pathlib.Path(path).read_text())["context"]


def compare(result, baseline):
    now, before = runs_of(result), runs_of(baseline)
    rooms, notable = {}, []
    for name in now.keys() & before.keys():
        a, b = statistics.median(before[name]), statistics.median(now[name])
        rooms.setdefault(name.split("/")[0], []).append(b / a)
        if abs(b / a - 1) > max(NOTABLE, 2 * spread(before[name]), 2 * spread(now[name])):
            notable.append((b / a, name, a, b))
    context = context_of(baseline)
    print(f"time now / time of the baseline of {context['date'][:10]} (geometric mean of medians; less is faster)")
    if context.get("processors_busy_with_others", 0) > 0.1:
        print(f"  the baseline was recorded while other programs kept {context['processors_busy_with_others']} processors busy")
    for room, ratios in sorted(rooms.items()):
        print(f"  {room:<10} {math.exp(statistics.fmean(map(math.log, ratios))):.3f}  ({len(ratios)} benches)")
    print(f"changes above {NOTABLE:.0%} and above the spread of both runs: {len(notable)}")
    for ratio, name, a, b in sorted(notable, reverse=True):
        print(f"  {ratio:6.3f}  {text(a):>8} -> {text(b):>8}  {name}")
    new = sorted(now.keys() - before.keys())
    if new:
        print(f"not in the baseline: {', '.join(new)}")
    if before.keys() - now.keys():
        print(f"only in the baseline, or left out by a filter: {len(before.keys() - now.keys())} benches")


def record(result, baseline, others):
    content = json.loads(pathlib.Path(result).read_text())
    for private in ("host_name", "executable"):
        content["context"].pop(private, None)
    content["context"]["processors_busy_with_others"] = float(others)
    unused = ("family_index", "per_family_instance_index", "threads")
    runs = [{k: v for k, v in run.items() if k not in unused} for run in content["benchmarks"] if run["run_type"] == "iteration"]
    lines = ",\n".join(json.dumps(run) for run in runs)
    target = pathlib.Path(baseline)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(f'{{"context": {json.dumps(content["context"])},\n"benchmarks": [\n{lines}\n]}}\n')


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "class":
        print(context_of(arguments[1])["machine_class"])
    elif len(arguments) == 3 and arguments[0] == "compare":
        compare(*arguments[1:])
    elif len(arguments) == 4 and arguments[0] == "record":
        record(*arguments[1:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
