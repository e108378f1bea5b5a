#!/usr/bin/env bash
# All that a machine with a device is needed for: the wrappers and kernels against the emulator, then the kernels beside PyTorch's. As it was on
# 26 November 2026, five and a half minutes on an H200, four of them for the build.
# Needs nvcc 13, g++ and a python3 with PyTorch for CUDA; the module also what ./run installs, and is left out without.
#
# RAPT_GPU_BUILD_ONLY=1 RAPT_GPU_ARCH=sm_90a builds on a machine without a device what RAPT_GPU_BUILT=1 then runs on one (build/gpu, with the
# libraries that such a machine may lack).
#
# usage: bench/gpu/run.sh [DIR]        writes DEVICE-DATE-*.{txt,json,png} into DIR, by default bench/results/gpu
#        bench/gpu/run.sh --rehearse   the programs in Python, small, against kernels in the emulator: no device, a python3 with PyTorch
set -euo pipefail
rehearse=0 root=$(dirname "$(readlink -f "$0")")/../..
if [[ ${1:-} == --rehearse ]]; then rehearse=1; set -- "$root/build/gpu/rehearsal"; fi
out=$(realpath -m "${1:-$root/bench/results/gpu}")
cd "$root"

nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
build=build/gpu
mkdir -p "$build" "$out"
core=(src/core/error.cpp src/core/operand_check.cpp kernels/runtime/tensor_map.cpp)
arch=${RAPT_GPU_ARCH:-native}
if [[ $arch == native && $(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1) == 9.0 ]]; then arch=sm_90a; fi
# What sm_90a alone has is compiled for it alone.
target=(-arch="$arch") hopper=()
if [[ $arch == sm_90a ]]; then target=(-gencode=arch=compute_90a,code=sm_90a -DRAPT_SM_90A) hopper=(bench/gpu/hopper_api.cu); fi
for_device=("$nvcc" -std=c++20 -O3 --fmad=false --expt-relaxed-constexpr "${target[@]}" -I. -Iinclude kernels/runtime/cuda.cu "${core[@]}")
for_emulator=(g++ -std=c++20 -O2 -Wno-psabi -ffp-contract=off -I. -Iinclude kernels/simt/*.cpp kernels/runtime/emulated.cpp "${core[@]}" -x c++)

# What fails or hangs is said, and the rest still runs.
failed=0
attempt() {
  local code=0
  timeout 180 "$@" || code=$?
  ((code == 0)) || { printf 'FAILED (%d): %s\n' "$code" "$*"; failed=1; }
}

measure() {  # LIBRARY PREFIX
  attempt python3 -u bench/gpu/attention.py "$1" "$2-attention.json"
  attempt python3 -u bench/gpu/decode.py "$1" "$2-decode.json"
  attempt python3 -u bench/gpu/projections.py "$1" "$2-projections.json"
  if python3 -c 'import matplotlib' 2>/dev/null; then
    attempt python3 bench/gpu/plot.py "$2"
  else
    printf 'no pictures: matplotlib is not here; elsewhere: python3 bench/gpu/plot.py %s\n' "$2"
  fi
}

if ((rehearse)); then
  "${for_emulator[@]}" -shared -fPIC bench/gpu/kernels_api.cu bench/gpu/decode_api.cu bench/gpu/hopper_api.cu -o "$build/librapt_gpu-emulated.so"
  export RAPT_GPU_REHEARSAL=1
  measure "$build/librapt_gpu-emulated.so" "$out/emulator"
  exit $failed
fi

if [[ ! -v RAPT_GPU_BUILT ]]; then
  printf '== build\n'
  "${for_device[@]}" -shared -Xcompiler -fPIC bench/gpu/kernels_api.cu bench/gpu/decode_api.cu "${hopper[@]}" -o "$build/librapt_gpu.so" &
  "${for_emulator[@]}" bench/gpu/parity.cu -o "$build/parity-emulated" &
  for program in conformance parity; do "${for_device[@]}" "bench/gpu/$program.cu" -o "$build/$program"; done
  "${for_emulator[@]}" bench/gpu/conformance.cu -o "$build/conformance-emulated"
  wait
  for program in conformance parity; do "$build/$program-emulated" "$build/$program.emulated"; done
  # The library needs what ./run installs.
  if command -v cmake >/dev/null && [[ -e /usr/include/hwy/highway.h ]]; then
    cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES="${arch#sm_}" >"$build/cuda.log" && cmake --build build/cuda --target rapt_parity_device rapt_gpu_module >>"$build/cuda.log"
    cp build/cuda/tests/parity/rapt_parity_device build/cuda/bench/rapt_gpu_module "$build"
    ldd "$build"/rapt_* | awk '/libhwy|libxxhash/ { print $3 }' | sort -u | xargs cp -Lt "$build"
  fi
fi
[[ ! -v RAPT_GPU_BUILD_ONLY ]] || exit 0

# CUPTI and cuBLASLt come with PyTorch.
of_torch=$(python3 -c 'import glob, os, torch; print(":".join({os.path.dirname(p) for name in ("cupti", "cublasLt") for p in glob.glob(os.path.dirname(torch.__file__) + f"/../nvidia/**/lib{name}.so*", recursive=True)}))')
export LD_LIBRARY_PATH=$PWD/$build:$of_torch${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
device=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1 | tr '[:upper:] ' '[:lower:]-')
result=$out/$device-$(date -u +%Y-%m-%d)

printf '== wrappers and kernels on %s against the emulator\n' "$device"
for program in conformance parity; do
  attempt "$build/$program" "$build/$program.device"
  # Differences are reported, not fatal: exp2 is approximate on a device.
  "$build/conformance-emulated" "$build/$program.emulated" "$build/$program.device" | tee "$result-$program.txt" || true
done
attempt "$build/conformance" --hashes "$build/conformance.device" >"$result-conformance.json"

if [[ -x $build/rapt_parity_device ]]; then
  printf '== the module: every parity case, bits, what a step holds\n'
  attempt "$build/rapt_parity_device" fixtures --quiet > >(tee "$result-module-parity.txt")
  attempt "$build/rapt_gpu_module" "$result-module.json"
fi

printf '== kernels: right, and how fast\n'
measure "$build/librapt_gpu.so" "$result"
exit $failed
