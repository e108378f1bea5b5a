// What the kernels give for fixed problems: on a device where nvcc compiled this, in the emulator otherwise.
//
// usage: parity OUT        writes the answers; `conformance A B` compares two such files
#include <bench/gpu/decode_parity.hpp>
#include <bench/gpu/prefill_parity.hpp>
#include <bench/gpu/project_parity.hpp>

#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
  using namespace rapt_bench;
  try {
    if (argc != 2) {
      std::fprintf(stderr, "usage: parity OUT\n");
      return 2;
    }
    records all;
    prefill_all<rapt::f16>(all, "f16");
    prefill_all<rapt::bf16>(all, "bf16");
    decode_all<rapt::f16>(all, "f16");
    decode_all<rapt::bf16>(all, "bf16");
    project_all<rapt::f16>(all, "f16");
    project_all<rapt::bf16>(all, "bf16");
    write_records(argv[1], all);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "parity: %s\n", e.what());
    return 1;
  }
}
