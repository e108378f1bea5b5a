// log, sincos and pow in double. log and sincos follow the reductions of FDLIBM (Sun Microsystems, 1993) with polynomials of our own; plain
// multiplies and adds where an FMA buys no accuracy, because without FMA hardware it is slow.
#include <math/double_double.hpp>
#include <math/elementary.hpp>

#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>

static_assert(FLT_EVAL_METHOD == 0, "intermediate results must be rounded to their own type");

namespace rapt {
inline namespace v0 {
namespace math {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double integer_rounder = 0x1.8p52;  // adding and subtracting it rounds |x| < 2^51 to the nearest integer

/// x = 2^exponent * mantissa, mantissa in [sqrt(1/2), sqrt 2), for finite x > 0.
struct split_float {
  double mantissa;
  int exponent;
};
split_float split(double x) {
  constexpr std::uint64_t one = 0x3ff0000000000000, sqrt_half = 0x3fe6a09e667f3bcd;
  int exponent = 0;
  if (x < std::numeric_limits<double>::min()) x *= 0x1p54, exponent = -54;
  const std::uint64_t from_sqrt_half = std::bit_cast<std::uint64_t>(x) - sqrt_half;
  exponent += static_cast<int>(static_cast<std::int64_t>(from_sqrt_half) >> 52);
  return {std::bit_cast<double>((from_sqrt_half & (one / 0x3ff - 1)) + sqrt_half), exponent};
}

/// c[0] + x * (c[1] + ...) with two roundings each.
template <std::size_t count>
double plain_polynomial(double x, const double (&c)[count]) {
  double sum = c[count - 1];
  for (std::size_t k = count - 1; k-- > 0;) sum = sum * x + c[k];
  return sum;
}

/// log2 x to about 100 bits, for finite x > 0. With s = (m - 1) / (m + 1): log m = 2 s (1 + s^2 / 3 + s^4 / 5 + ...), 15 terms for s^2 < 0.0295.
double_double log2_extended(double x) {
  const auto [m, exponent] = split(x);
  const double_double s = divide(m - 1, exact_sum(m, 1.0));  // m - 1 is exact
  const double_double z = s * s;
  double_double series = reciprocal(29);
  for (int k = 27; k >= 1; k -= 2) series = series * z + reciprocal(k);
  const double_double log_m = s * series;
  const double_double twice_log2_e{2 * coefficients::log2_e, 2 * coefficients::log2_e_low};
  return double_double{static_cast<double>(exponent), 0} + log_m * twice_log2_e;
}

/// An angle as quadrant * pi / 2 + rest, |rest| <= pi / 4 and a hair.
struct reduced_angle {
  unsigned quadrant;  // mod 4
  double_double rest;
};

/// |x| < 2^40. The first step is exact: x and n * pi_over_2 are multiples of 2^-53 or so, and their difference is below 1.
reduced_angle reduce_moderate(double x) {
  const double n = (x * coefficients::two_over_pi + integer_rounder) - integer_rounder;
  if (n == 0) return {0, {x, 0}};
  const double coarse = std::fma(-n, coefficients::pi_over_2, x);
  const double_double correction = exact_product(n, coefficients::pi_over_2_low);
  const double_double rest = exact_sum(coarse, -correction.high);
  const double low = (rest.low - correction.low) - n * coefficients::pi_over_2_lowest;
  return {static_cast<unsigned>(static_cast<std::int64_t>(n) & 3), renormalised(rest.high, low)};
}

/// Any larger x = m * 2^e (Payne and Hanek 1983): the product of m and 192 bits of 2 / pi, those that reach below 4 and not far below its last
/// place. Multiples of 4 quadrants fall off the top. The error, 2^-137 quadrants, is small against the smallest rest, about 2^-62.
reduced_angle reduce_large(double x) {
  __extension__ using uint128 = unsigned __int128;
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  const std::uint64_t m = (bits & 0xfffffffffffff) | 0x10000000000000;
  const int e = static_cast<int>((bits >> 52) & 0x7ff) - 1075;
  const unsigned first_bit = static_cast<unsigned>(64 + e - 2);  // two bits of the window are before the point
  std::uint64_t window[3];                                       // most significant first
  for (unsigned i = 0; i < 3; ++i) {
    const std::uint64_t* word = coefficients::two_over_pi_bits + first_bit / 64 + i;
    const unsigned shift = first_bit % 64;
    window[i] = shift == 0 ? word[0] : word[0] << shift | word[1] >> (64 - shift);
  }
  const uint128 low = static_cast<uint128>(m) * window[2];
  const uint128 middle = static_cast<uint128>(m) * window[1] + static_cast<std::uint64_t>(low >> 64);
  const std::uint64_t top = m * window[0] + static_cast<std::uint64_t>(middle >> 64);
  std::uint64_t fraction_high = top << 2 | static_cast<std::uint64_t>(middle) >> 62;
  std::uint64_t fraction_low = static_cast<std::uint64_t>(middle) << 2 | static_cast<std::uint64_t>(low) >> 62;
  unsigned quadrant = static_cast<unsigned>(top >> 62);
  uint128 fraction = static_cast<uint128>(fraction_high) << 64 | fraction_low;
  const bool above_half = fraction_high >> 63 != 0;
  if (above_half) fraction = -fraction, ++quadrant;  // the nearest quadrant; the rest is negative

  fraction_high = static_cast<std::uint64_t>(fraction >> 64);
  // No double is a multiple of pi/2, so that the fraction is never 0.
  const int zeros = fraction_high != 0 ? std::countl_zero(fraction_high) : 64 + std::countl_zero(static_cast<std::uint64_t>(fraction) | 1);
  fraction <<= zeros;
  const double unit = std::bit_cast<double>(static_cast<std::uint64_t>(1023 - 53 - zeros) << 52);
  const double leading = static_cast<double>(static_cast<std::uint64_t>(fraction >> 75)) * unit;
  const double trailing = static_cast<double>(static_cast<std::uint64_t>(fraction >> 11)) * (unit * 0x1p-64);
  const double_double rest = double_double{leading, trailing} * double_double{coefficients::pi_over_2, coefficients::pi_over_2_low};
  const bool negative = above_half != std::signbit(x);
  return {std::signbit(x) ? 4 - quadrant % 4 : quadrant, negative ? double_double{-rest.high, -rest.low} : rest};
}

}  // namespace

double log(double x) {
  if (!(x > 0)) return x == 0 ? -infinity : canonical_nan<double>;
  if (x == infinity) return x;
  const auto [m, exponent] = split(x);
  const double f = m - 1;  // exact
  const double s = f / (2 + f), z = s * s;
  const double series = z * plain_polynomial(z, coefficients::log_atanh);
  // log m = 2 s + s * series, and 2 s = f - (f^2 / 2 - s * f^2 / 2), whose terms after f are small.
  const double half_square = 0.5 * f * f, k = exponent;
  const double small = half_square - (s * (half_square + series) + k * coefficients::ln_2_rest);
  return k * coefficients::ln_2_coarse - (small - f);
}

void sincos(double x, double& s, double& c) {
  if (!(std::abs(x) < infinity)) {
    s = c = canonical_nan<double>;
    return;
  }
  if (std::abs(x) < 0x1p-27) {  // to the last place, and -0 stays -0
    s = x;
    c = 1;
    return;
  }
  const auto [quadrant, rest] = std::abs(x) < 0x1p40 ? reduce_moderate(x) : reduce_large(x);
  const double r = rest.high, z = r * r, cube = z * r;
  // sin(r + low) = r + low (1 - z / 2) + r z q(z); the leading coefficient stands apart, as it carries most of the rounding.
  const auto& sin_q = coefficients::sin_reduced;
  const double sin_tail = sin_q[1] + z * (sin_q[2] + z * (sin_q[3] + z * (sin_q[4] + z * sin_q[5])));
  const double sine = r - ((z * (0.5 * rest.low - cube * sin_tail) - rest.low) - cube * sin_q[0]);
  // cos(r + low) = 1 - z / 2 + (z^2 q(z) - r low), with what 1 - z / 2 loses in rounding added back.
  const double half_z = 0.5 * z, rough = 1 - half_z;
  const double cosine = rough + (((1 - rough) - half_z) + (z * (z * plain_polynomial(z, coefficients::cos_reduced)) - r * rest.low));
  const bool swapped = quadrant & 1;
  s = swapped ? cosine : sine;
  c = swapped ? sine : cosine;
  if (quadrant & 2) s = -s;
  if ((quadrant + 1) & 2) c = -c;
}

double pow(double base, double exponent) {
  if (!(base > 0 && base < infinity && std::abs(exponent) < infinity)) return canonical_nan<double>;
  const double_double log2_base = log2_extended(base);
  const double rough = exponent * log2_base.high;
  if (std::abs(rough) > 1100) return rough > 0 ? infinity : 0;
  const double_double log2_result = exact_product(exponent, log2_base.high);
  const double low = log2_result.low + exponent * log2_base.low;
  const double n = (log2_result.high + integer_rounder) - integer_rounder;
  const double r = log2_result.high - n;  // exact
  // 2^(r + low) = 1 + r ln 2 + (r^2 q(r) + 2^r low ln 2), where only 1 + r ln 2 needs more than double.
  const double_double linear = exact_product(r, coefficients::exp2_double[0]);
  const double tail = r * r * polynomial<1>(r, coefficients::exp2_double);
  const double_double sum = exact_sum(1.0, linear.high);
  const double rest = tail + (1 + linear.high + tail) * (low * coefficients::ln_2) + linear.low;
  const double mantissa = sum.high + (sum.low + rest);
  // In two steps, as 2^n may be out of range where the result is not.
  const double half_n = (n * 0.5 + integer_rounder) - integer_rounder;
  const auto power = [](double k) { return power_of_two(k + constants_of<double>::rounder); };
  return mantissa * power(half_n) * power(n - half_n);
}

}  // namespace math
}  // namespace v0
}  // namespace rapt
