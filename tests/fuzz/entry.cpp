// libFuzzer's entry; RAPT_FUZZ_TARGET is one of the names in targets.hpp.
#include <fuzz/targets.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  std::atexit([] { std::printf("stat::inputs_answered: %llu\n", static_cast<unsigned long long>(rapt_fuzz::num_answered)); });
  return 0;
}
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rapt_fuzz::RAPT_FUZZ_TARGET(std::as_bytes(std::span(data, size)));
  return 0;
}
