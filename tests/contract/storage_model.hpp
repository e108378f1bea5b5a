// Elements in memory, without the library's conversions: rounded by arithmetic on the value, read back by ldexp.
#pragma once
#include <rapt/core/params.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace rapt_test::contract {
using rapt::dtype;
using rapt::index_t;

/// A 16-bit float: `mantissa` stored bits, exponents min_exponent .. -min_exponent + 1 for normal numbers.
struct half_format {
  int mantissa, min_exponent;
};
constexpr half_format bf16_format{7, -126}, f16_format{10, -14};

inline std::uint16_t round_to_half(double x, half_format f) {
  const auto exponent_ones = static_cast<std::uint16_t>(((1 << (15 - f.mantissa)) - 1) << f.mantissa);
  if (x != x) return static_cast<std::uint16_t>(exponent_ones | 1u << (f.mantissa - 1));
  const auto sign = static_cast<std::uint16_t>(std::signbit(x) ? 0x8000u : 0u);
  const double magnitude = std::fabs(x);
  if (std::isinf(x)) return static_cast<std::uint16_t>(sign | exponent_ones);
  int exponent = f.min_exponent;
  if (magnitude != 0) exponent = std::max(std::ilogb(magnitude), f.min_exponent);
  const double units = std::nearbyint(std::ldexp(magnitude, f.mantissa - exponent));  // to nearest even; exact before that
  const double bits = units + std::ldexp(static_cast<double>(exponent - f.min_exponent), f.mantissa);
  return static_cast<std::uint16_t>(sign | (bits >= exponent_ones ? exponent_ones : static_cast<std::uint16_t>(bits)));
}
inline double widen_half(std::uint16_t bits, half_format f) {
  const int field = bits >> f.mantissa & ((1 << (15 - f.mantissa)) - 1), mantissa = bits & ((1 << f.mantissa) - 1);
  double x = 0;
  if (field == (1 << (15 - f.mantissa)) - 1)
    x = mantissa ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  else if (field == 0)
    x = std::ldexp(mantissa, f.min_exponent - f.mantissa);
  else
    x = std::ldexp(mantissa + (1 << f.mantissa), f.min_exponent - f.mantissa + field - 1);
  return bits & 0x8000u ? -x : x;
}

/// Element i of memory of type t. f64 under A = float is rounded once.
template <class A>
A load(dtype t, const void* data, index_t i) {
  switch (t) {
    case dtype::f64:
      return static_cast<A>(static_cast<const double*>(data)[i]);
    case dtype::f32:
      return static_cast<A>(static_cast<const float*>(data)[i]);
    case dtype::bf16:
      return static_cast<A>(widen_half(static_cast<const std::uint16_t*>(data)[i], bf16_format));
    default:
      return static_cast<A>(widen_half(static_cast<const std::uint16_t*>(data)[i], f16_format));
  }
}
template <class A>
void store(dtype t, void* data, index_t i, A x) {
  switch (t) {
    case dtype::f64:
      static_cast<double*>(data)[i] = static_cast<double>(x);
      return;
    case dtype::f32:
      static_cast<float*>(data)[i] = static_cast<float>(x);
      return;
    case dtype::bf16:
      static_cast<std::uint16_t*>(data)[i] = round_to_half(static_cast<double>(x), bf16_format);
      return;
    default:
      static_cast<std::uint16_t*>(data)[i] = round_to_half(static_cast<double>(x), f16_format);
      return;
  }
}

}  // namespace rapt_test::contract
