// The CPU's calls take host memory as it is.
#pragma once
#include <rapt/cpu/context.hpp>
#include <support/placement.hpp>

namespace rapt_test {

template <>
class placement<rapt::cpu::backend> {
 public:
  explicit placement(rapt::cpu::context&) {}
  std::byte* put(std::span<std::byte> bytes) { return bytes.data(); }
  void fetch(std::span<std::byte>) {}
};

}  // namespace rapt_test
