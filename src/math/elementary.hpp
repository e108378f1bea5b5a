// rapt's own elementary functions, one value at a time. Only sqrt and fma come from the C library: its exp, log, sin differ between versions and
// between processors, and a result of rapt does not. Round to nearest and no flushing of subnormals are assumed.
// Every source that includes this is compiled with -ffp-contract=off. Measured errors: README.md.
#pragma once
#include <rapt/core/elementary_constants.hpp>

#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>

#if defined(__FAST_MATH__)
#error "rapt's arithmetic has no meaning under -ffast-math"
#endif

namespace rapt {
inline namespace v0 {
namespace math {

/// Natural logarithm. log(0) = -inf, log(inf) = inf; the canonical NaN for a NaN or a negative x.
double log(double x);

/// s = sin x, c = cos x, for every finite x; both the canonical NaN otherwise.
void sincos(double x, double& s, double& c);

/// base^exponent for finite base > 0 and finite exponent: inf or 0 where the result is out of range. The canonical NaN for anything else.
double pow(double base, double exponent);

/// c[first] + x * (c[first + 1] + x * (...)), one FMA each.
template <std::size_t first, std::floating_point T, std::size_t count>
inline T polynomial(T x, const T (&c)[count]) {
  if constexpr (first + 1 == count) {
    return c[first];
  } else {
    return std::fma(x, polynomial<first + 1>(x, c), c[first]);
  }
}

/// 2^n out of the sum rounder + n, see constants_of.
template <std::floating_point T>
inline T power_of_two(T rounded) {
  using bits_type = typename constants_of<T>::bits_type;
  return std::bit_cast<T>(static_cast<bits_type>(std::bit_cast<bits_type>(rounded) << constants_of<T>::mantissa_bits));
}

/// 2^x for x <= 0 or NaN: operation for operation the vector function of the same name.
template <std::floating_point T>
inline T exp2_nonpositive(T x) {
  using constants = constants_of<T>;
  if (x < constants::exp2_lowest) return 0;
  const T rounded = x + constants::rounder;
  const T r = x - (rounded - constants::rounder);
  const T p = std::fma(r, polynomial<0>(r, constants::exp2_polynomial), T{1});
  return p * power_of_two(rounded);
}

/// 2^x for every x. exp2(0) = 1, NaN stays NaN; 0 from -126.5 (float) or -1022.5 (double) down; inf from 128 or 1024 up.
template <std::floating_point T>
inline T exp2(T x) {
  constexpr T too_large = std::numeric_limits<T>::max_exponent;
  if (x >= too_large) return std::numeric_limits<T>::infinity();
  if (x > too_large - 2) return 2 * exp2_nonpositive(x - 1);  // x - 1 is exact; 2^n alone would overflow where n is max_exponent
  return exp2_nonpositive(x);
}

/// Hyperbolic tangent: operation for operation the vector function of the same name.
template <std::floating_point T>
inline T tanh(T x) {
  using constants = constants_of<T>;
  const T magnitude = std::abs(x);
  const T y = T{-2} * (magnitude > constants::tanh_saturated ? constants::tanh_saturated : magnitude);
  const T rounded = std::fma(y, constants::log2_e, constants::rounder);
  const T n = rounded - constants::rounder;
  const T coarse = std::fma(n, -constants::ln_2, y);
  const T r = std::fma(n, -constants::ln_2_low, coarse);
  const T r_low = std::fma(n, -constants::ln_2_low, coarse - r);
  const T curved = (r * r) * polynomial<0>(r, constants::expm1_polynomial);
  const T p = r + curved;
  const T p_low = (curved - (p - r)) + r_low;
  const T power = power_of_two(rounded);
  const T offset = power - T{1}, scaled = power * p;
  const T offset_low = power - (offset + T{1});
  const T e = offset + scaled;
  const T e_low = std::fma(power, p_low, (scaled - (e - offset)) + offset_low);
  const T divisor = T{2} + e;
  const T divisor_low = (e - (divisor - T{2})) + e_low;
  const T inverse = T{1} / divisor;
  const T quotient = e * inverse;
  const T left = std::fma(-quotient, divisor, e) + std::fma(-quotient, divisor_low, e_low);
  return std::copysign(std::fma(left, inverse, quotient), x);
}

}  // namespace math
}  // namespace v0
}  // namespace rapt
