"""What peers.py wrote, as a table and as bars.

usage: render.py table RESULT     prints the table
       render.py record RESULT    copies RESULT into bench/results, writes the table into docs/performance.md and the bars into docs/images
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- peers: written by bench/peers/render.py -->", "<!-- end of peers -->"


def text(seconds):
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def table(content):
    machine = content["machine"]
    llama = f", llama-cpp-python {machine['llama_cpp_python']}" if "llama_cpp_python" in machine else ""
    lines = [
        f"{machine['date']}, {machine['cpu']}, PyTorch {machine['torch']}, ONNX Runtime {machine['onnxruntime']}{llama}; other programs kept "
        f"{machine['processors_busy_with_others']} processors busy.",
        "",
        "| work | threads | rapt | peers | ratio to the best peer | of the limit |",
        "|---|---|---|---|---|---|",
    ]
    for row in content["rows"]:
        peers = ", ".join(f"{name} {text(time)}" for name, time in sorted(row["peers"].items(), key=lambda item: item[1]))
        ratio = f"{row['ratio']:.2f}" if row["ratio"] >= row["goal"] else f"**{row['ratio']:.2f}** (goal {row['goal']:.2f})"
        share = f"{row['share']:.0%}" if row["share"] >= (row["share_goal"] or 0) else f"**{row['share']:.0%}** (goal {row['share_goal']:.0%})"
        lines.append(f"| {row['work']} | {row['threads']} | {text(row['ours'])} | {peers} | {ratio} | {share} {row['limited_by']} |")
    return "\n".join(lines)


def bars(content, target):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    counts = sorted({row["threads"] for row in content["rows"]})
    works = list(dict.fromkeys(row["work"] for row in content["rows"]))[::-1]
    fig, axes = plt.subplots(1, len(counts), figsize=(7 * len(counts), 0.36 * len(works) + 1.4), sharey=True, squeeze=False)
    for ax, threads in zip(axes[0], counts):
        rows = {row["work"]: row for row in content["rows"] if row["threads"] == threads}
        values = [rows[work]["ratio"] if work in rows else 0 for work in works]
        met = [work in rows and rows[work]["ratio"] >= rows[work]["goal"] for work in works]
        ax.barh(works, values, color=["C0" if ok else "C3" for ok in met])
        for work, value in zip(works, values):
            ax.text(value, work, f" {value:.2f}", va="center", fontsize=8)
        ax.axvline(1, color="k", linewidth=0.8)
        ax.set_ylim(-0.6, len(works) - 0.4)
        ax.set_xlim(0, max(values) * 1.12)
        ax.set_xlabel(f"time of the best peer / time of rapt, {threads} thread{'s' if threads > 1 else ''}")
        ax.tick_params(axis="y", labelsize=8)
    fig.suptitle(f"{content['machine']['cpu']}, {content['machine']['date']}; red: below the goal", fontsize=10)
    fig.tight_layout()
    fig.savefig(target, dpi=100, metadata={"Software": None})


def record(path):
    content = json.loads(pathlib.Path(path).read_text())
    machine = content["machine"]
    name = re.sub("[^a-z0-9]+", "-", machine["cpu"].lower()).strip("-")
    results = ROOT / "bench" / "results"
    results.mkdir(exist_ok=True)
    target = results / f"cpu-{name}-{machine['date']}.json"
    target.write_text(json.dumps(content, indent=1) + "\n")
    page = ROOT / "docs" / "performance.md"
    before, rest = page.read_text().split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table(content)}\n{END}{rest.split(END)[1]}")
    bars(content, ROOT / "docs" / "images" / "peers.png")
    print(target.relative_to(ROOT))


if __name__ == "__main__":
    commands = {"table": lambda path: print(table(json.loads(pathlib.Path(path).read_text()))), "record": record}
    if len(sys.argv) != 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](sys.argv[2])
