// The constant that scales a query, softmax_scale * log2 e, as a sum of two accumulators. A score comes out in units of log2, so that softmax needs
// exp2 and no multiply per score, and the query is rounded once, as if the constant were exact.
#pragma once
#include <rapt/core/coefficients.hpp>

#include <cmath>
#include <concepts>

namespace rapt {
inline namespace v0 {
namespace math {

inline constexpr double log2_e = coefficients::log2_e, log2_e_low = coefficients::log2_e_low;
inline constexpr double ln_2 = coefficients::ln_2, ln_2_low = coefficients::ln_2_low;

template <std::floating_point A>
struct split_constant {
  A high, low;
};

/// softmax_scale * log2 e: high is it rounded to A, low what that left over.
template <std::floating_point A>
inline split_constant<A> split_scale(double softmax_scale) {
  const double c = softmax_scale * log2_e;
  if constexpr (sizeof(A) == sizeof(double)) {
    return {c, std::fma(softmax_scale, log2_e, -c) + softmax_scale * log2_e_low};
  } else {
    const A high = static_cast<A>(c);
    return {high, static_cast<A>(c - static_cast<double>(high))};
  }
}

/// x * (high + low); for an infinite x infinite or NaN. The vector form is multiply_split in vector_math-inl.hpp.
template <std::floating_point A>
inline A multiply_split(A x, split_constant<A> by) {
  return std::fma(x, by.high, x * by.low);
}

}  // namespace math
}  // namespace v0
}  // namespace rapt
