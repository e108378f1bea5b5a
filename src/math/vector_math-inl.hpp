// exp2, tanh and the fused multiply-add, once per instruction set. The same operations as math/elementary.hpp, so the same bits, whatever the
// target and the lane count. exp2 is the inner loop of softmax: no branch, 7 multiplies or FMAs, 3 adds, a shift, and a compare and select.
// Include math/targets.hpp first of all; docs and measured errors: README.md.
#if defined(RAPT_MATH_VECTOR_MATH_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef RAPT_MATH_VECTOR_MATH_INL_HPP
#undef RAPT_MATH_VECTOR_MATH_INL_HPP
#else
#define RAPT_MATH_VECTOR_MATH_INL_HPP
#endif

#include <math/targets.hpp>

#include <hwy/highway.h>
#include <rapt/core/elementary_constants.hpp>

#include <cmath>
#include <cstddef>

RAPT_EXPECT_KNOWN_TARGET();

HWY_BEFORE_NAMESPACE();
namespace rapt {
inline namespace v0 {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// a * b + c, rounded once, on every target.
template <class V>
HWY_INLINE V fused_mul_add(V a, V b, V c) {
#if RAPT_TARGET_HAS_FMA
  return hn::MulAdd(a, b, c);
#elif HWY_TARGET == HWY_SCALAR
  return V(std::fma(a.raw, b.raw, c.raw));
#else
  for (std::size_t i = 0; i < V::kPrivateN; ++i) c.raw[i] = std::fma(a.raw[i], b.raw[i], c.raw[i]);
  return c;
#endif
}

/// c[first] + x * (c[first + 1] + x * (...)), one FMA each.
template <std::size_t first, class D, class T, std::size_t count>
HWY_INLINE hn::Vec<D> polynomial(D d, hn::Vec<D> x, const T (&c)[count]) {
  if constexpr (first + 1 == count) {
    return hn::Set(d, c[first]);
  } else {
    return fused_mul_add(x, polynomial<first + 1>(d, x, c), hn::Set(d, c[first]));
  }
}

/// 2^x for x <= 0 or NaN (right up to the largest exponent of the type, garbage above). exp2(0) = 1, exp2(-inf) = 0, NaN stays NaN;
/// 0 from -126.5 (float) or -1022.5 (double) down, subnormal results just above that.
template <class D>
HWY_INLINE hn::Vec<D> exp2_nonpositive(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  using constants = math::constants_of<T>;
  const auto rounder = hn::Set(d, constants::rounder);
  const auto rounded = hn::Add(x, rounder);
  const auto r = hn::Sub(x, hn::Sub(rounded, rounder));  // exact, |r| <= 1/2
  const auto q = polynomial<0>(d, r, constants::exp2_polynomial);
  const auto p = fused_mul_add(r, q, hn::Set(d, T{1}));
  const hn::RebindToSigned<D> integer;
  const auto power = hn::BitCast(d, hn::ShiftLeft<constants::mantissa_bits>(hn::BitCast(integer, rounded)));
  // Far below the range r and power mean nothing (for -inf, r is NaN), hence the select. A NaN is not below it, and stays.
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, constants::exp2_lowest)), hn::Mul(p, power));
}

/// tanh x: odd, +-1 at +-inf, x itself for tiny x, NaN stays NaN. tanh |x| = -e / (2 + e) with e = e^(-2|x|) - 1, which keeps its relative
/// accuracy at 0; what the sums lose in rounding is carried along (the names ending in _low).
template <class D>
HWY_INLINE hn::Vec<D> tanh(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  using constants = math::constants_of<T>;
  const auto saturated = hn::Set(d, constants::tanh_saturated), rounder = hn::Set(d, constants::rounder);
  const auto one = hn::Set(d, T{1}), two = hn::Set(d, T{2});
  const auto magnitude = hn::Abs(x);
  const auto y = hn::Mul(hn::Set(d, T{-2}), hn::IfThenElse(hn::Gt(magnitude, saturated), saturated, magnitude));
  const auto rounded = fused_mul_add(y, hn::Set(d, constants::log2_e), rounder);
  const auto n = hn::Sub(rounded, rounder);
  const auto coarse = fused_mul_add(n, hn::Set(d, -constants::ln_2), y);
  const auto minus_ln_2_low = hn::Set(d, -constants::ln_2_low);
  const auto r = fused_mul_add(n, minus_ln_2_low, coarse);
  const auto r_low = fused_mul_add(n, minus_ln_2_low, hn::Sub(coarse, r));
  // p + p_low = e^r - 1
  const auto curved = hn::Mul(hn::Mul(r, r), polynomial<0>(d, r, constants::expm1_polynomial));
  const auto p = hn::Add(r, curved);
  const auto p_low = hn::Add(hn::Sub(curved, hn::Sub(p, r)), r_low);
  // e + e_low = 2^n (p + p_low) + (2^n - 1)
  const hn::RebindToSigned<D> integer;
  const auto power = hn::BitCast(d, hn::ShiftLeft<constants::mantissa_bits>(hn::BitCast(integer, rounded)));
  const auto offset = hn::Sub(power, one), scaled = hn::Mul(power, p);
  const auto offset_low = hn::Sub(power, hn::Add(offset, one));
  const auto e = hn::Add(offset, scaled);
  const auto e_low = fused_mul_add(power, p_low, hn::Add(hn::Sub(scaled, hn::Sub(e, offset)), offset_low));
  const auto divisor = hn::Add(two, e);
  const auto divisor_low = hn::Add(hn::Sub(e, hn::Sub(divisor, two)), e_low);
  const auto inverse = hn::Div(one, divisor);
  const auto quotient = hn::Mul(e, inverse), minus_quotient = hn::Neg(quotient);
  const auto left = hn::Add(fused_mul_add(minus_quotient, divisor, e), fused_mul_add(minus_quotient, divisor_low, e_low));
  return hn::CopySign(fused_mul_add(left, inverse, quotient), x);
}

/// x * (high + low), rounded once but for the rounding of x * low; math::split_scale gives the constants.
template <class V>
HWY_INLINE V multiply_split(V x, V high, V low) {
  return fused_mul_add(x, high, hn::Mul(x, low));
}

}  // namespace HWY_NAMESPACE
}  // namespace v0
}  // namespace rapt
HWY_AFTER_NAMESPACE();
#endif
