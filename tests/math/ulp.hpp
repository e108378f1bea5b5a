// How far a result is from the truth, in units of the last place, and random inputs that are the same on every machine.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <string>

namespace rapt_test {

/// |got - exact| in units of the last place that T has at `exact`, subnormals included; infinite where only one of the two is finite.
template <std::floating_point T, std::floating_point Exact>
double ulp_error(T got, Exact exact) {
  if (std::isnan(got) || std::isnan(exact)) return std::isnan(got) && std::isnan(exact) ? 0 : std::numeric_limits<double>::infinity();
  if (static_cast<T>(exact) == got) {
    if (std::isinf(got) || got == 0) return 0;
  } else if (std::isinf(got)) {
    return std::numeric_limits<double>::infinity();
  }
  using limits = std::numeric_limits<T>;
  const int exponent = std::max(exact == 0 ? limits::min_exponent : std::ilogb(exact) + 1, limits::min_exponent);
  return static_cast<double>(std::abs(static_cast<Exact>(got) - exact) / std::ldexp(Exact{1}, exponent - limits::digits));
}

/// The worst of many errors and where it was.
struct worst_error {
  double ulp = 0;
  double at = 0;
  template <class T, class Exact>
  void add(double x, T got, Exact exact) {
    const double error = ulp_error(got, exact);
    if (!(error <= ulp)) ulp = error, at = x;
  }
  void report(const std::string& name) const {
    testing::Test::RecordProperty(name + "_max_ulp", std::to_string(ulp));
    std::printf("[ measured ] %-34s %.4f ulp, worst at %a\n", name.c_str(), ulp, at);
  }
};

/// Deterministic, unlike std::uniform_real_distribution, which each C++ library defines for itself.
class random_source {
 public:
  explicit random_source(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t bits() { return engine_(); }
  double uniform(double low, double high) { return low + (high - low) * (static_cast<double>(engine_() >> 11) * 0x1p-53); }
  /// 2^(an exponent uniform in [low, high)) times a mantissa in [1, 2).
  double log_uniform(int low, int high) {
    const int exponent = low + static_cast<int>(engine_() % static_cast<std::uint64_t>(high - low));
    return std::ldexp(uniform(1, 2), exponent);
  }

 private:
  std::mt19937_64 engine_;
};

template <std::floating_point T>
auto bits_of(T x) {
  if constexpr (sizeof(T) == 4)
    return std::bit_cast<std::uint32_t>(x);
  else
    return std::bit_cast<std::uint64_t>(x);
}

/// FNV-1a over the bits of results; every NaN counts as one value, as which NaN an operation returns is not specified.
class bit_hash {
 public:
  template <std::floating_point T>
  void add(T x) {
    const std::uint64_t word = bits_of(std::isnan(x) ? std::numeric_limits<T>::quiet_NaN() : x);
    for (unsigned i = 0; i < sizeof(T); ++i) value_ = (value_ ^ (word >> (8 * i) & 0xff)) * 0x100000001b3;
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325;
};

}  // namespace rapt_test
