#!/usr/bin/env bash
# All that a machine with a device is needed for: the wrappers and kernels against the emulator, then the kernels beside PyTorch's. About one minute on an H200.
# Needs nvcc 13, g++ and a python3 with PyTorch for CUDA.
#
# usage: bench/gpu/run.sh [DIR]    writes DEVICE-DATE-*.{txt,json} into DIR, by default bench/results/gpu
set -euo pipefail
out=$(realpath -m "${1:-$(dirname "$0")/../results/gpu}")
cd "$(dirname "$(readlink -f "$0")")/../.."

nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
build=build/gpu
mkdir -p "$build" "$out"
device=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1 | tr '[:upper:] ' '[:lower:]-')
result=$out/$device-$(date -u +%Y-%m-%d)
for_device=("$nvcc" -std=c++20 -O3 --fmad=false --expt-relaxed-constexpr -arch=native -I. -Iinclude)
for_emulator=(g++ -std=c++20 -O2 -ffp-contract=off -I. -Iinclude kernels/simt/emulator.cpp kernels/simt/fibre.cpp -x c++)

printf '== build\n'
"${for_device[@]}" -shared -Xcompiler -fPIC bench/gpu/kernels_api.cu -o "$build/librapt_gpu.so" &
"${for_emulator[@]}" bench/gpu/parity.cu -o "$build/parity-emulated" &
for program in conformance parity; do "${for_device[@]}" "bench/gpu/$program.cu" -o "$build/$program"; done
"${for_emulator[@]}" bench/gpu/conformance.cu -o "$build/conformance-emulated"
wait

printf '== wrappers and kernels on %s against the emulator\n' "$device"
for program in conformance parity; do
  "$build/$program" "$build/$program.device"
  "$build/$program-emulated" "$build/$program.emulated"
  # Differences are reported, not fatal: exp2 is approximate on a device.
  "$build/conformance-emulated" "$build/$program.emulated" "$build/$program.device" | tee "$result-$program.txt" || true
done
"$build/conformance" --hashes "$build/conformance.device" >"$result-conformance.json"

printf '== kernels: right, and how fast\n'
python3 -u bench/gpu/attention.py "$build/librapt_gpu.so" "$result-attention.json"
