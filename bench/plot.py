"""Draws how memory, heads and decode scale and what calls cost, from what rapt_bench wrote with --benchmark_out.

usage: plot.py RESULT FOLDER      writes memory-scaling.png, head-scaling.png, decode.png and cost-model.png; a plot without data is left out
"""

import json
import pathlib
import statistics
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (after the backend is chosen)
from matplotlib.ticker import FuncFormatter, NullFormatter  # noqa: E402


def medians(path):
    """Every bench as a dictionary of its named arguments and the medians of its times (us) and counters."""
    content = json.loads(pathlib.Path(path).read_text())
    runs = {}
    for run in content["benchmarks"]:
        if run["run_type"] == "iteration" and not run.get("error_occurred"):
            runs.setdefault(run["run_name"], []).append(run)
    rows = []
    for name, repetitions in runs.items():
        row = {"bench": name.split("/")[0]}
        row.update(part.split(":", 1) for part in name.split("/")[1:] if ":" in part)
        for key, value in repetitions[0].items():
            if isinstance(value, (int, float)):
                row[key] = statistics.median(r[key] for r in repetitions)
        rows.append(row)
    return content["context"], rows


def bytes_text(n, _):
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n >= size:
            return f"{n / size:g} {unit}"
    return f"{n:g} B"


def log2_axes(ax, lengths):
    ax.set_xscale("log", base=2)
    ax.set_xticks(lengths, [f"{n:,}" for n in lengths], rotation=45)
    ax.grid(True, alpha=0.3)


def series(rows, x, y, **wanted):
    points = sorted((int(r[x]), r[y]) for r in rows if all(r.get(k) == v for k, v in wanted.items()))
    return [p[0] for p in points], [p[1] for p in points]


def plot_memory(rows, title):
    calls = [("prompt", "whole prompt"), ("append_32", "32 rows appended"), ("append_1", "1 row appended")]
    fig, ax = plt.subplots(figsize=(11, 5))
    for color, (call, text) in enumerate(calls):
        lens, workspace = series(rows, "kv_len", "workspace_bytes", call=call)
        _, scores = series(rows, "kv_len", "score_matrix_bytes", call=call)
        ax.plot(lens, workspace, "o-", color=f"C{color}", label=f"{text}: workspace, measured")
        ax.plot(lens, scores, ":", color=f"C{color}", label=f"{text}: a score matrix would take")
    lens, cache = series(rows, "kv_len", "cache_bytes", call="append_1")
    ax.plot(lens, cache, "s--", color="C3", label="KV cache (f32), measured")
    log2_axes(ax, lens)
    ax.set_yscale("log", base=2)
    ax.yaxis.set_major_formatter(FuncFormatter(bytes_text))
    ax.set_xlabel("kv_len")
    ax.set_title(f"Memory of a module, 8 heads of 64, f32\n{title}", fontsize=10)
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return fig


def plot_heads(rows, title):
    panels = [
        ("prefill", "real_time", "512 queries, 512 keys, causal: time of attend, us"),
        ("decode", "real_time", "1 query, 16,384 keys: time of attend, us"),
        ("decode", "kv_bytes", "16,384 keys: keys and values held"),
    ]
    fig, axes = plt.subplots(1, 3, figsize=(14, 4.5))
    for ax, (call, y, text) in zip(axes, panels):
        for kv, label in (("own", "a KV head for each query head"), ("shared", "one KV head, shared"), ("replicated", "one KV head, copied to each query head")):
            heads, values = series(rows, "heads", y, call=call, kv=kv)
            ax.plot(heads, values, "o-", label=label)
        log2_axes(ax, heads)
        ax.set_yscale("log", base=2 if y == "kv_bytes" else 10)
        if y == "kv_bytes":
            ax.yaxis.set_major_formatter(FuncFormatter(bytes_text))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel("query heads (head_dim 64)")
        ax.set_title(text, fontsize=10)
    axes[0].legend(fontsize=8)
    fig.suptitle(title, fontsize=10)
    return fig


def plot_decode(rows, title):
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.5))
    for kv in ("f32", "f16", "bf16"):
        for ax, y in zip(axes, ("real_time", "GB/s")):
            lens, values = series(rows, "kv_len", y, kv=kv)
            ax.plot(lens, values, "o-", label=f"{kv} cache")
    lens, limit = series(rows, "kv_len", "read_GB/s", kv="f32")
    axes[1].plot(lens, limit, "k:", label="plain reads of 512 MiB")
    axes[0].set_yscale("log")
    axes[0].set_ylabel("time of a token, us")
    axes[1].set_ylabel("unique K and V read, GB/s")
    axes[1].set_ylim(bottom=0)
    for ax in axes:
        log2_axes(ax, lens)
        ax.set_xlabel("kv_len")
        ax.legend(fontsize=8)
    fig.suptitle(f"One query, 32 heads on 8 KV heads of 128\n{title}", fontsize=10)
    return fig


def plot_cost(rows, title):
    fig, axes = plt.subplots(2, 2, figsize=(12, 8.5))
    few, token, batch, threads = axes.flat
    for color, model_dim in enumerate(("64", "512", "1024")):
        for style, before in (("o-", "0"), ("s--", "1024")):
            counts, times = series(rows, "rows", "real_time", bench="few_rows", model_dim=model_dim, keys_before=before)
            few.plot(counts, times, style, color=f"C{color}", label=f"model_dim {model_dim}, {before} keys before")
    log2_axes(few, counts)
    few.set(yscale="log", ylim=(0.3, None), xlabel="rows", title="few rows: time of a forward, us")
    for color, kv in enumerate(("f32", "f16", "bf16")):
        lens, planned = series(rows, "kv_len", "kv_bytes", bench="decode", kv=kv)
        _, share = series(rows, "kv_len", "of_read_rate", bench="decode", kv=kv)
        token.plot(lens, planned, ":", color=f"C{color}")
        token.plot(lens, [p / s for p, s in zip(planned, share)], "o-", color=f"C{color}", label=f"{kv} cache")
    log2_axes(token, lens)
    token.set_yscale("log", base=2)
    token.yaxis.set_major_formatter(FuncFormatter(bytes_text))
    token.set(xlabel="kv_len", title="a decoded token: bytes that plain reads fetch in its time;\ndotted: keys and values to read, as explain says")
    counts, times = series(rows, "sequences", "real_time", bench="batch")
    batch.plot(counts, times, "o-")
    batch.plot(counts, [times[0] * n for n in counts], ":", color="grey", label="one after another")
    log2_axes(batch, counts)
    batch.set(yscale="log", ylim=(0.5 * times[0], None), xlabel="sequences in one step, 1,024 keys each", title="a token of each: time, us")
    for call, text in (("prompt", "512 rows"), ("decode", "1 row after 8,192 keys")):
        counts, times = series(rows, "workers", "real_time", bench="threads", call=call)
        threads.plot(counts, times, "o-", label=text)
        threads.plot(counts, [times[0] / n for n in counts], ":", color="grey")
    threads.set_xticks(counts)
    threads.grid(True, alpha=0.3)
    threads.set(yscale="log", xlabel="threads", title="1024 wide, 16 heads: time, us; dotted: one thread's, divided")
    for ax in axes.flat:
        ax.legend(fontsize=7, ncols=2 if ax is few else 1)
    fig.suptitle(title, fontsize=10)
    return fig


def main(result, folder):
    context, rows = medians(result)
    title = f"{context['machine_class']}, {context['date'][:10]}"
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    plots = (("memory-scaling", ("memory",), plot_memory), ("head-scaling", ("heads",), plot_heads), ("decode", ("decode",), plot_decode),
             ("cost-model", ("few_rows", "decode", "batch", "threads"), plot_cost))
    for file, benches, plot in plots:
        chosen = [r for r in rows if r["bench"] in benches]
        if {r["bench"] for r in chosen} != set(benches):
            continue
        figure = plot(chosen, title)
        figure.tight_layout()
        figure.savefig(folder / f"{file}.png", dpi=110, metadata={"Software": None})
        print(folder / f"{file}.png")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
