#!/usr/bin/env bash
# Builds and runs the benches, compares with the baseline of this machine's class, draws the plots of docs/images. `./run bench` calls it.
#
# usage: bench/run.sh [--record] [option of rapt_bench...]
#   --record      make this run the baseline of its machine class (commit bench/baselines afterwards); best on a quiet machine
#   options       e.g. --benchmark_filter=decode, --threads=1; a filtered run is compared, but neither recorded nor drawn
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

say() { printf '== %s\n' "$*"; }
record=0 filtered=0 options=()
for option in "$@"; do
  case $option in
    --record) record=1 ;;
    -h | --help) sed -n '2,6s/^# \?//p' "$0"; exit 0 ;;
    *) options+=("$option")
       case $option in --benchmark_filter=* | --small) filtered=1 ;; esac ;;
  esac
done
if ((record && filtered)); then echo "bench/run.sh: a baseline holds every bench; leave out --benchmark_filter and --small" >&2; exit 2; fi

say "configure and build: release"
mkdir -p build/logs build/bench
cmake --preset release >build/logs/release-configure.log || { cat build/logs/release-configure.log; exit 1; }
cmake --build --preset release -j "${RAPT_JOBS:-2}" --target rapt_bench >build/logs/release-build.log || { grep -v '^\[' build/logs/release-build.log | head -60; exit 1; }

result=build/bench/$(date -u +%Y-%m-%dT%H%M%SZ).json
began=$SECONDS
say "running the benches (about eight minutes on two cores, more where the disk is slow; 4 GiB of memory, 2 of disk); medians of five repetitions"
status=0
build/release/bench/rapt_bench --benchmark_repetitions=5 --benchmark_min_time=0.05 --benchmark_display_aggregates_only=true --benchmark_color=false \
  --benchmark_out="$result" --benchmark_out_format=json "${options[@]}" 2>build/logs/bench.err |
  grep --line-buffered -E '/(real|manual)_time(_median)? |ERROR' | sed -u -E 's,/(real|manual)_time(_median)?,,' || status=${PIPESTATUS[0]}
if ((status)); then grep -v '^\*\*\*WARNING' build/logs/bench.err || true; echo "bench/run.sh: a bench failed; nothing is compared or recorded" >&2; exit 1; fi
say "done in $((SECONDS - began)) s: $result"
others=$(sed -n 's/^rapt_bench: processors kept busy by others: //p' build/logs/bench.err)
quiet=1
if awk "BEGIN { exit !($others > 0.1) }"; then
  quiet=0
  echo "   other programs kept $others processors busy meanwhile: these times say little"
fi

tools=0
if [[ -x .venv/bin/python ]] || python3 -m venv .venv 2>/dev/null; then
  .venv/bin/python -m pip install -q --disable-pip-version-check --retries 1 --timeout 20 -r bench/requirements.txt >build/logs/bench-venv.log 2>&1 && tools=1
fi

class=$(python3 bench/report.py class "$result")
baseline=bench/baselines/$class.json
if [[ -f $baseline ]]; then
  say "against $baseline"
  python3 bench/report.py compare "$result" "$baseline"
  compare=/usr/share/benchmark/compare.py
  if ((tools)) && [[ -f $compare ]]; then
    table=${result%.json}-compare.txt
    .venv/bin/python "$compare" --no-color benchmarks "$baseline" "$result" >"$table"
    echo "   each bench, with the U test of Google Benchmark's compare.py: $table"
  else
    echo "   Google Benchmark's compare.py was not used: it needs the package libbenchmark-tools, and numpy and scipy from PyPI"
  fi
elif ((!record)); then
  say "there is no baseline for this machine class ($class)"
  echo "   to make one, on a quiet machine: bench/run.sh --record   (then commit $baseline)"
fi
if ((record)); then
  ((quiet)) || echo "   recorded although the machine was not quiet: better run it again"
  python3 bench/report.py record "$result" "$baseline" "$others"
  say "recorded $baseline"
fi

if ((filtered)); then
  say "no plots: this run was filtered"
elif ((tools)); then
  say "plots"
  .venv/bin/python bench/plot.py "$result" docs/images
else
  say "no plots: PyPI can not be reached for matplotlib (build/logs/bench-venv.log)"
fi
