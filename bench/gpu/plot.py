"""Draws what bench/gpu/run.sh measured: prefill, decode and projections beside PyTorch's kernels.

usage: plot.py PREFIX      reads PREFIX-attention.json, -decode.json and -projections.json, writes PREFIX-prefill.png, -decode.png, -projections.png;
                           what is not there is left out
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (after the backend is chosen)

COLORS = {"rapt": "C0", "rapt, wgmma": "C0", "rapt, mma.sync": "C1", "rapt, pages of 64": "C1", "rapt, by clusters": "C3", "cuDNN": "C2", "cuBLASLt": "C2", "FlashAttention-2": "C7"}


def bars(ax, labels, series, ylabel, limit=None):
    """A group of bars for each label; `series` names them, with None where there is nothing."""
    width = 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        places = [x + (i - (len(series) - 1) / 2) * width for x in range(len(labels))]
        ax.bar(places, [value or 0 for value in values], width, label=name, color=COLORS[name])
    if limit:
        ax.axhline(limit[1], color="black", linestyle=":", label=limit[0])
    ax.set_xticks(range(len(labels)), labels, fontsize=8)
    ax.set_ylabel(ylabel)
    ax.grid(True, axis="y", alpha=0.3)


def best(row, name):
    """Of several turns."""
    found = [row[key] for key in (name, name + "_again") if row.get(key)]
    return max(found) if found else None


def plot_prefill(result, path):
    rows = [r for r in result["prefill_tflops"] if r["page_len"] == 0 and r["heads"] == r["kv_heads"] and r["head_dim"] == r["value_dim"]
            and r["dtype"] == "bfloat16" and "softcap" not in r and "window_left" not in r]
    dims = sorted({r["head_dim"] for r in rows})
    fig, axes = plt.subplots(2, len(dims), figsize=(4.2 * len(dims), 8), sharey=True, squeeze=False)
    names = {"rapt, wgmma": "hopper", "rapt, mma.sync": "rapt", "cuDNN": "cudnn", "FlashAttention-2": "flash"}
    for line, causal in enumerate((False, True)):
        for column, dim in enumerate(dims):
            ax = axes[line][column]
            some = sorted((r for r in rows if r["head_dim"] == dim and r["causal"] == causal), key=lambda r: r["len"])
            bars(ax, [f"{r['len']:,}" for r in some], {name: [best(r, key) for r in some] for name, key in names.items()},
                 "TFLOP/s" if column == 0 else "", ("matmul", result["limits"]["matmul_tflops"]))
            ax.set_title(f"head_dim {dim}, {'causal' if causal else 'full'}")
    fig.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", ncol=5)
    fig.suptitle(f"Prefill, bf16, 16,384 tokens in sequences of this length ({result['device']}, {result['date']})")
    fig.tight_layout(rect=(0, 0.04, 1, 1))
    fig.savefig(path, dpi=110)


def plot_decode(result, path):
    rows = result["decode"]
    fig, ax = plt.subplots(figsize=(13, 5))
    names = {"rapt": "rapt_us", "rapt, by clusters": "clusters_us", "rapt, pages of 64": "rapt_pages_us", "cuDNN": "cudnn_us", "FlashAttention-2": "flash_us"}
    rates = {name: [r["megabytes"] / r[key] * 1e3 if r.get(key) else None for r in rows] for name, key in names.items() if any(key in r for r in rows)}
    labels = [f"d {r['head_dim']}\n{r['batch']} x {r['kv_len']:,}" for r in rows]
    bars(ax, labels, rates, "GB/s of keys and values", ("copy", result["limits"]["copy_gbps"]))
    ax.legend()
    ax.set_title(f"Decode, bf16, 32 heads, 8 KV heads ({result['device']}, {result['date']})")
    fig.tight_layout()
    fig.savefig(path, dpi=110)


def plot_projections(result, path):
    shapes = sorted({(r["in"], r["out"]) for r in result["speed"]})
    fig, axes = plt.subplots(1, len(shapes), figsize=(7 * len(shapes), 5), squeeze=False)
    for ax, (in_dim, out_dim) in zip(axes[0], shapes):
        some = [r for r in result["speed"] if (r["in"], r["out"]) == (in_dim, out_dim)]
        flops = lambda r, us: 2 * r["rows"] * in_dim * out_dim / us / 1e6
        ax.loglog([r["rows"] for r in some], [flops(r, r["rapt_us"]) for r in some], "o-", color=COLORS["rapt"], label="rapt")
        ax.loglog([r["rows"] for r in some], [flops(r, min(r["cublaslt_us"], r["cublaslt_again_us"])) for r in some], "s-", color=COLORS["cuBLASLt"],
                  label="cuBLASLt")
        ax.axhline(result["limits"]["matmul_tflops"], color="black", linestyle=":", label="matmul")
        ax.set_xlabel("rows")
        ax.set_ylabel("TFLOP/s")
        ax.set_title(f"{in_dim} -> {out_dim}")
        ax.grid(True, which="both", alpha=0.3)
        ax.legend()
    fig.suptitle(f"Projections, bf16 with a bias ({result['device']}, {result['date']})")
    fig.tight_layout()
    fig.savefig(path, dpi=110)


def main():
    prefix = sys.argv[1]
    plots = {"attention": ("prefill", plot_prefill), "decode": ("decode", plot_decode), "projections": ("projections", plot_projections)}
    for source, (picture, plot) in plots.items():
        path = pathlib.Path(f"{prefix}-{source}.json")
        if path.exists():
            plot(json.loads(path.read_text()), f"{prefix}-{picture}.png")


if __name__ == "__main__":
    main()
