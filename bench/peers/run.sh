#!/usr/bin/env bash
# Times rapt beside PyTorch, ONNX Runtime, Eigen and llama.cpp on the same work, in one process and in turns. `./run peers` calls it.
# Where llama.cpp can not be built or the model not be fetched, the rows of the whole model are left out, and a line says so.
#
# usage: bench/peers/run.sh [--record] [option of peers.py...]
#   --record    writes bench/results/cpu-CLASS-DATE.json, and its table and pictures into docs; best on a quiet machine
#   options     e.g. --only decode, --threads 1, --seconds 2
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

record=0 options=()
for option in "$@"; do
  case $option in
    --record) record=1 ;;
    -h | --help) sed -n '2,7s/^# \?//p' "$0"; exit 0 ;;
    *) options+=("$option") ;;
  esac
done
if ((record && ${#options[@]})); then echo "bench/peers/run.sh: a record holds every work; leave out ${options[*]}" >&2; exit 2; fi

mkdir -p build/logs build/bench
printf '== llama.cpp (built from source the first time: 13 minutes with one job) and the model\n'
CMAKE_BUILD_PARALLEL_LEVEL=${RAPT_JOBS:-2} .venv/bin/python -m pip install -q --disable-pip-version-check --retries 1 --timeout 20 \
  -r bench/peers/requirements-llama.txt >build/logs/peers-llama.log 2>&1 || printf '   llama.cpp can not be built, see build/logs/peers-llama.log\n'
for model in smollm2 smollm2-gguf; do .venv/bin/python examples/models/fetch.py "$model" || true; done

printf '== configure and build: release\n'
cmake --preset release >build/logs/release-configure.log || { cat build/logs/release-configure.log; exit 1; }
cmake --build --preset release -j "${RAPT_JOBS:-2}" --target rapt_peer_api >build/logs/release-build.log || { grep -v '^\[' build/logs/release-build.log | head -60; exit 1; }
printf '== threads, work, time, ratio to the best peer, share of the limit (about twenty minutes for 1 and 2 threads)\n'
result=build/bench/peers-$(date -u +%Y-%m-%dT%H%M%SZ).json
.venv/bin/python bench/peers/peers.py "$(find build/release -name librapt_peer_api.so)" "$result" "${options[@]}"
printf '== %s\n' "$result"
.venv/bin/python bench/peers/render.py table "$result"
((record)) || exit 0
.venv/bin/python bench/peers/render.py record "$result"
