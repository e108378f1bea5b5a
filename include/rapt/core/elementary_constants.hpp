// What the reductions of exp2 and tanh need, by type, so that the scalar and the vector text can share one body each.
#pragma once
#include <rapt/core/coefficients.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>

namespace rapt {
inline namespace v0 {
namespace math {

template <class T>
struct constants_of;

/// `exponent_bias` + n, shifted left by `mantissa_bits`, is 2^n. Adding `rounder` = 1.5 * 2^mantissa_bits + bias to x rounds x to the nearest
/// integer n and leaves bias + n in the low bits of the sum.
template <>
struct constants_of<float> {
  using bits_type = std::uint32_t;
  static constexpr int mantissa_bits = 23;
  static constexpr float rounder = 0x1.8p23f + 127.0f;
  static constexpr float exp2_lowest = -127.0f;  // every exp2 from -126.5 down is 0: bias + n is 0 there
  static constexpr const auto& exp2_polynomial = coefficients::exp2_float;
  static constexpr const auto& expm1_polynomial = coefficients::expm1_float;
  static constexpr float log2_e = coefficients::log2_e_float;
  static constexpr float ln_2 = coefficients::ln_2_float, ln_2_low = coefficients::ln_2_float_low;
  static constexpr float tanh_saturated = 10.0f;  // tanh rounds to 1 from 9.011 on
};

template <>
struct constants_of<double> {
  using bits_type = std::uint64_t;
  static constexpr int mantissa_bits = 52;
  static constexpr double rounder = 0x1.8p52 + 1023.0;
  static constexpr double exp2_lowest = -1023.0;
  static constexpr const auto& exp2_polynomial = coefficients::exp2_double;
  static constexpr const auto& expm1_polynomial = coefficients::expm1_double;
  static constexpr double log2_e = coefficients::log2_e;
  static constexpr double ln_2 = coefficients::ln_2, ln_2_low = coefficients::ln_2_low;
  static constexpr double tanh_saturated = 20.0;  // tanh rounds to 1 from 19.07 on
};

template <class T>
inline constexpr T canonical_nan = std::numeric_limits<T>::quiet_NaN();

}  // namespace math
}  // namespace v0
}  // namespace rapt
