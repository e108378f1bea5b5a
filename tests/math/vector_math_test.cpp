// The vector functions give the scalar functions' bits on every instruction set that this machine has, at every lane count.
// Built once per target, the portable one included; needs the tests folder on the include path.
#include <math/targets.hpp>

#define HWY_IS_TEST 1
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "math/vector_math_test.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <math/vector_math-inl.hpp>

#include <cstddef>

HWY_BEFORE_NAMESPACE();
namespace rapt_test {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

enum class which { exp2, tanh, fused_mul_add };

// out[i] = f(x[i], y[i], z[i]); count is a multiple of 16. Lane counts above a target's own are capped by Highway.
template <std::size_t lanes, class T>
void apply(which f, const T* x, const T* y, const T* z, T* out, std::size_t count) {
  const hn::CappedTag<T, lanes> d;
  for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
    const auto a = hn::LoadU(d, x + i);
    const auto result = f == which::exp2   ? rapt::HWY_NAMESPACE::exp2_nonpositive(d, a)
                        : f == which::tanh ? rapt::HWY_NAMESPACE::tanh(d, a)
                                           : rapt::HWY_NAMESPACE::fused_mul_add(a, hn::LoadU(d, y + i), hn::LoadU(d, z + i));
    hn::StoreU(result, d, out + i);
  }
}

template <class T>
void apply_lanes(int f, int lanes, const T* x, const T* y, const T* z, T* out, std::size_t count) {
  const auto function = static_cast<which>(f);
  if (lanes == 1) return apply<1>(function, x, y, z, out, count);
  if (lanes == 2) return apply<2>(function, x, y, z, out, count);
  if (lanes == 4) return apply<4>(function, x, y, z, out, count);
  if (lanes == 8) return apply<8>(function, x, y, z, out, count);
  apply<16>(function, x, y, z, out, count);
}

void apply_float(int f, int lanes, const float* x, const float* y, const float* z, float* out, std::size_t count) {
  apply_lanes(f, lanes, x, y, z, out, count);
}
void apply_double(int f, int lanes, const double* x, const double* y, const double* z, double* out, std::size_t count) {
  apply_lanes(f, lanes, x, y, z, out, count);
}

}  // namespace HWY_NAMESPACE
}  // namespace rapt_test
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <gtest/gtest.h>
#include <math/elementary.hpp>
#include <math/ulp.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace rapt_test {
HWY_EXPORT(apply_float);
HWY_EXPORT(apply_double);
namespace {
namespace math = rapt::math;

void apply(int f, int lanes, const float* x, const float* y, const float* z, float* out, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(apply_float)(f, lanes, x, y, z, out, n);
}
void apply(int f, int lanes, const double* x, const double* y, const double* z, double* out, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(apply_double)(f, lanes, x, y, z, out, n);
}

/// Edges first, then random values: in the range of softmax, near 0, and any bits at all.
template <class T>
std::vector<T> inputs(std::uint64_t seed, bool nonpositive) {
  using limits = std::numeric_limits<T>;
  const T lowest = math::constants_of<T>::exp2_lowest, half = T{1} / 2;
  std::vector<T> x = {T{0},
                      limits::infinity(),
                      limits::quiet_NaN(),
                      limits::denorm_min(),
                      limits::min(),
                      limits::max(),
                      -lowest,
                      -lowest - half,
                      -lowest + half,
                      -lowest - 1,
                      half,
                      T{1},
                      T{10},
                      T{20},
                      static_cast<T>(9.010913),
                      static_cast<T>(9.011),
                      static_cast<T>(19.06),
                      static_cast<T>(19.1),
                      -lowest - static_cast<T>(0.51),
                      std::nextafter(-lowest, T{0}),
                      std::nextafter(-lowest, limits::infinity()),
                      half * half};
  random_source random(seed);
  while (x.size() < 40'000) {
    x.push_back(static_cast<T>(random.uniform(0, 2)));
    x.push_back(static_cast<T>(random.uniform(0, -double{lowest} + 2)));
    x.push_back(static_cast<T>(random.log_uniform(-160, 10)));
    if constexpr (sizeof(T) == 4)
      x.push_back(std::bit_cast<T>(static_cast<std::uint32_t>(random.bits())));
    else
      x.push_back(std::bit_cast<T>(random.bits()));
  }
  x.resize(x.size() / 16 * 16);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (nonpositive)
      x[i] = std::signbit(x[i]) ? x[i] : -x[i];
    else if (i % 2)
      x[i] = -x[i];
  }
  return x;
}

template <class T>
void expect_same_bits(const std::vector<T>& got, const std::vector<T>& expected, const std::vector<T>& x, int lanes) {
  std::size_t different = 0, first = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    // Which NaN comes out depends on the order of operands; whoever writes a result makes it canonical.
    const bool same = std::isnan(expected[i]) ? std::isnan(got[i]) : bits_of(got[i]) == bits_of(expected[i]);
    if (!same && different++ == 0) first = i;
  }
  EXPECT_EQ(different, 0u) << lanes << " lanes, first at x = " << x[first] << ": got " << got[first] << ", scalar " << expected[first];
}

template <class Check>
void for_each_target(Check check) {
  int count = 0;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    check();
    testing::Test::RecordProperty("target_" + std::to_string(count++), hwy::TargetName(target));
  }
  hwy::SetSupportedTargetsForTest(0);
  EXPECT_GE(count, 1);
}

template <class T, class Scalar>
void check_function(int f, bool nonpositive, Scalar scalar) {
  const std::vector<T> x = inputs<T>(11, nonpositive), y = inputs<T>(12, false), z = inputs<T>(13, false);
  std::vector<T> expected(x.size()), got(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) expected[i] = scalar(x[i], y[i], z[i]);
  for_each_target([&] {
    for (const int lanes : {1, 2, 4, 8, 16}) {
      std::fill(got.begin(), got.end(), T{-7});
      apply(f, lanes, x.data(), y.data(), z.data(), got.data(), x.size());
      expect_same_bits(got, expected, x, lanes);
    }
  });
}

TEST(vector_math, exp2_gives_the_scalar_bits_on_every_target) {
  check_function<float>(0, true, [](float x, float, float) { return math::exp2_nonpositive(x); });
  check_function<double>(0, true, [](double x, double, double) { return math::exp2_nonpositive(x); });
}

TEST(vector_math, tanh_gives_the_scalar_bits_on_every_target) {
  check_function<float>(1, false, [](float x, float, float) { return math::tanh(x); });
  check_function<double>(1, false, [](double x, double, double) { return math::tanh(x); });
}

TEST(vector_math, fused_mul_add_rounds_once_on_every_target) {
  check_function<float>(2, false, [](float x, float y, float z) { return std::fma(x, y, z); });
  check_function<double>(2, false, [](double x, double y, double z) { return std::fma(x, y, z); });
  // One case where two roundings give another result: (1 + 2^-12)^2 - (1 + 2^-11) = 2^-24.
  const std::vector<float> x(16, 1 + 0x1p-12f), z(16, -(1 + 0x1p-11f));
  std::vector<float> got(16);
  for_each_target([&] {
    apply(2, 16, x.data(), x.data(), z.data(), got.data(), 16);
    for (const float value : got) EXPECT_EQ(value, 0x1p-24f);
  });
}

}  // namespace
}  // namespace rapt_test
#endif
