// Numbers as unevaluated sums of two doubles, about 100 bits: the little that pow and the reduction of angles need. Private to src/math.
// Source: Dekker 1971, Knuth (two-sum); products with an FMA.
#pragma once
#include <cmath>

namespace rapt {
inline namespace v0 {
namespace math {

struct double_double {
  double high, low;
};

/// high + low for |high| >= |low|, exactly.
inline double_double renormalised(double high, double low) {
  const double sum = high + low;
  return {sum, low - (sum - high)};
}

/// a + b exactly.
inline double_double exact_sum(double a, double b) {
  const double sum = a + b, b_part = sum - a;
  return {sum, (a - (sum - b_part)) + (b - b_part)};
}

/// a * b exactly.
inline double_double exact_product(double a, double b) {
  const double product = a * b;
  return {product, std::fma(a, b, -product)};
}

inline double_double operator+(double_double a, double_double b) {
  const double_double sum = exact_sum(a.high, b.high);
  return renormalised(sum.high, sum.low + (a.low + b.low));
}

inline double_double operator*(double_double a, double_double b) {
  const double_double product = exact_product(a.high, b.high);
  return renormalised(product.high, product.low + (a.high * b.low + a.low * b.high));
}

/// a / b.
inline double_double divide(double a, double_double b) {
  const double quotient = a / b.high;
  const double left = std::fma(-quotient, b.high, a) - quotient * b.low;
  return renormalised(quotient, left / b.high);
}

/// 1 / k.
inline double_double reciprocal(int k) {
  const double divisor = k, quotient = 1 / divisor;
  return {quotient, std::fma(-quotient, divisor, 1.0) / divisor};
}

}  // namespace math
}  // namespace v0
}  // namespace rapt
