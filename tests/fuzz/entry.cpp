// libFuzzer's entry; RAPT_FUZZ_TARGET is one of the names in targets.hpp.
#include <fuzz/targets.hpp>

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rapt_fuzz::RAPT_FUZZ_TARGET(std::as_bytes(std::span(data, size)));
  return 0;
}
