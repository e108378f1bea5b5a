#!/usr/bin/env bash
# Times rapt beside PyTorch, ONNX Runtime and Eigen on the same work, in one process and in turns. `./run peers` calls it.
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
    -h | --help) sed -n '2,6s/^# \?//p' "$0"; exit 0 ;;
    *) options+=("$option") ;;
  esac
done
if ((record && ${#options[@]})); then echo "bench/peers/run.sh: a record holds every work; leave out ${options[*]}" >&2; exit 2; fi

printf '== configure and build: release\n'
mkdir -p build/logs build/bench
cmake --preset release >build/logs/release-configure.log || { cat build/logs/release-configure.log; exit 1; }
cmake --build --preset release -j "${RAPT_JOBS:-2}" --target rapt_peer_api >build/logs/release-build.log || { grep -v '^\[' build/logs/release-build.log | head -60; exit 1; }
printf '== threads, work, time, ratio to the best peer, share of the limit (about ten minutes on two cores)\n'
result=build/bench/peers-$(date -u +%Y-%m-%dT%H%M%SZ).json
.venv/bin/python bench/peers/peers.py "$(find build/release -name librapt_peer_api.so)" "$result" "${options[@]}"
printf '== %s\n' "$result"
.venv/bin/python bench/peers/render.py table "$result"
((record)) || exit 0
.venv/bin/python bench/peers/render.py record "$result"
