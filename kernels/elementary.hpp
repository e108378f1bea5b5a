// rapt's own exp2, tanh and log on a device: operation for operation those of the CPU (src/math/elementary.*, which has their derivations and
// measured errors), from the same coefficients, so that their bits are the CPU's. Compiled without contraction. Test:
// tests/kernels/elementary_test.cpp.
#pragma once
#include <kernels/simt/math.hpp>
#include <rapt/core/elementary_constants.hpp>

#include <iterator>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// A float's or a double's bits, and back.
RAPT_DEVICE float value_of(std::uint32_t bits) { return simt::float_of(bits); }
RAPT_DEVICE double value_of(std::uint64_t bits) { return simt::double_of(bits); }

template <class A>
RAPT_DEVICE A canonical_nan() {
  if constexpr (sizeof(A) == 4)
    return simt::float_of(0x7fc00000u);
  else
    return simt::double_of(0x7ff8000000000000u);
}
template <class A>
RAPT_DEVICE A canonical(A x) {
  return x == x ? x : canonical_nan<A>();
}

/// terms[first] + x * (terms[first + 1] + x * (...)), one FMA each. Coefficients are constants of the code: a device has no such array.
template <const auto& terms, std::size_t first, class A>
RAPT_DEVICE A fused_polynomial(A x) {
  constexpr A term = terms[first];
  if constexpr (first + 1 == std::size(terms))
    return term;
  else
    return simt::fma(x, fused_polynomial<terms, first + 1>(x), term);
}
/// The same with two roundings each.
template <const auto& terms, std::size_t first, class A>
RAPT_DEVICE A plain_polynomial(A x) {
  constexpr A term = terms[first];
  if constexpr (first + 1 == std::size(terms))
    return term;
  else
    return plain_polynomial<terms, first + 1>(x) * x + term;
}

/// 2^n out of the sum rounder + n, see math::constants_of.
template <class A>
RAPT_DEVICE A power_of_two(A rounded) {
  using bits_type = typename math::constants_of<A>::bits_type;
  return value_of(static_cast<bits_type>(simt::bits_of(rounded) << math::constants_of<A>::mantissa_bits));
}

/// 2^x for x <= 0 or NaN; 0 from -126.5 (float) or -1022.5 (double) down.
template <class A>
RAPT_DEVICE A exp2_nonpositive(A x) {
  using constants = math::constants_of<A>;
  constexpr A rounder = constants::rounder, lowest = constants::exp2_lowest;
  const A rounded = x + rounder;
  const A r = x - (rounded - rounder);
  A power = A{0};
  if constexpr (sizeof(A) == 4)
    power = simt::fma(r, fused_polynomial<math::coefficients::exp2_float, 0>(r), A{1});
  else
    power = simt::fma(r, fused_polynomial<math::coefficients::exp2_double, 0>(r), A{1});
  power = power * power_of_two(rounded);
  return x < lowest ? A{0} : power;
}

/// Hyperbolic tangent.
template <class A>
RAPT_DEVICE A tanh(A x) {
  using constants = math::constants_of<A>;
  constexpr A saturated = constants::tanh_saturated, rounder = constants::rounder, log2_e = constants::log2_e;
  constexpr A minus_ln_2 = -constants::ln_2, minus_ln_2_low = -constants::ln_2_low;
  using bits_type = typename constants::bits_type;
  constexpr bits_type sign = bits_type{1} << (sizeof(A) * 8 - 1);
  const A magnitude = value_of(static_cast<bits_type>(simt::bits_of(x) & ~sign));
  const A y = A{-2} * (magnitude > saturated ? saturated : magnitude);
  const A rounded = simt::fma(y, log2_e, rounder);
  const A n = rounded - rounder;
  const A coarse = simt::fma(n, minus_ln_2, y);
  const A r = simt::fma(n, minus_ln_2_low, coarse);
  const A r_low = simt::fma(n, minus_ln_2_low, coarse - r);
  A series = A{0};
  if constexpr (sizeof(A) == 4)
    series = fused_polynomial<math::coefficients::expm1_float, 0>(r);
  else
    series = fused_polynomial<math::coefficients::expm1_double, 0>(r);
  const A curved = (r * r) * series;
  const A p = r + curved;
  const A p_low = (curved - (p - r)) + r_low;
  const A power = power_of_two(rounded);
  const A offset = power - A{1}, scaled = power * p;
  const A offset_low = power - (offset + A{1});
  const A e = offset + scaled;
  const A e_low = simt::fma(power, p_low, (scaled - (e - offset)) + offset_low);
  const A divisor = A{2} + e;
  const A divisor_low = (e - (divisor - A{2})) + e_low;
  const A inverse = simt::divide(A{1}, divisor);
  const A quotient = e * inverse;
  const A left = simt::fma(-quotient, divisor, e) + simt::fma(-quotient, divisor_low, e_low);
  return value_of(static_cast<bits_type>((simt::bits_of(simt::fma(left, inverse, quotient)) & ~sign) | (simt::bits_of(x) & sign)));
}

/// Natural logarithm. log(0) = -inf, log(inf) = inf; the canonical NaN for a NaN or a negative x.
RAPT_DEVICE double log(double x) {
  constexpr std::uint64_t one = 0x3ff0000000000000, sqrt_half = 0x3fe6a09e667f3bcd, infinite = 0x7ff0000000000000;
  constexpr double smallest_normal = 0x1p-1022, coarse = math::coefficients::ln_2_coarse, rest = math::coefficients::ln_2_rest;
  if (!(x > 0)) return x == 0 ? simt::double_of(infinite | std::uint64_t{1} << 63) : canonical_nan<double>();
  if (simt::bits_of(x) == infinite) return x;
  // x = 2^exponent * m, m in [sqrt(1/2), sqrt 2)
  int exponent = 0;
  if (x < smallest_normal) x *= 0x1p54, exponent = -54;
  const std::uint64_t from_sqrt_half = simt::bits_of(x) - sqrt_half;
  exponent += static_cast<int>(static_cast<std::int64_t>(from_sqrt_half) >> 52);
  const double m = simt::double_of((from_sqrt_half & (one / 0x3ff - 1)) + sqrt_half);
  const double f = m - 1, s = simt::divide(f, 2 + f), z = s * s;
  const double series = z * plain_polynomial<math::coefficients::log_atanh, 0>(z);
  const double half_square = 0.5 * f * f, k = exponent;
  const double small = half_square - (s * (half_square + series) + k * rest);
  return k * coarse - (small - f);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
