// 16-bit elements by two in a word, as an mma reads them.
#pragma once
#include <kernels/simt/math.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Eight elements, which a thread copies at once.
struct alignas(16) eight_elements {
  std::uint32_t words[4];
};

/// Both halves of a word, or zero for those that are not finite.
template <class T>
RAPT_DEVICE std::uint32_t finite_halves(std::uint32_t word) {
  constexpr std::uint32_t exponent = std::is_same_v<T, f16> ? 0x7c00u : 0x7f80u;
  const bool low = (word & exponent) != exponent, high = (word >> 16 & exponent) != exponent;
  return (low ? word & 0xffffu : 0u) | (high ? word & 0xffff0000u : 0u);
}

/// Two finished elements of an output, rounded to nearest even; every NaN is the canonical one, which is less than the one that rounding gives.
template <class T>
RAPT_DEVICE std::uint32_t finished_pair(float low, float high) {
  return simt::min_of_halves(simt::round_pair<T>(low, high), std::is_same_v<T, f16> ? 0x7e007e00u : 0x7fc07fc0u);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
