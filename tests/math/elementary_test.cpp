// rapt's own functions against the C library's, taken in a wider type: double for float results, 80-bit long double for double results.
// The bounds are the ones that src/math/README.md promises; what was measured is printed and recorded.
// RAPT_EXHAUSTIVE=1 visits every float (some minutes); otherwise every 211th.
#include <gtest/gtest.h>
#include <math/elementary.hpp>
#include <math/ulp.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

namespace {
using namespace rapt_test;
namespace math = rapt::math;

static_assert(std::numeric_limits<long double>::digits >= 64, "the oracle of the double functions needs a wider type");

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr float inf_f = std::numeric_limits<float>::infinity();

const std::uint32_t float_stride = std::getenv("RAPT_EXHAUSTIVE") != nullptr ? 1 : 211;

template <class Visit>
void for_floats(float first, float last, Visit visit) {  // same sign, ascending in magnitude
  for (std::uint64_t bits = std::bit_cast<std::uint32_t>(first); bits <= std::bit_cast<std::uint32_t>(last); bits += float_stride)
    visit(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
}

bool is_canonical_nan(double x) { return std::bit_cast<std::uint64_t>(x) == 0x7ff8000000000000; }

TEST(exp2, float_is_within_one_ulp_over_its_whole_negative_range) {
  worst_error worst, subnormal;
  for_floats(-0.0f, -126.0f, [&](float x) {
    const float y = math::exp2(x);
    worst.add(x, y, std::exp2(double{x}));
    ASSERT_LE(y, 1.0f) << x;
  });
  for_floats(-126.0f, std::nextafter(-126.5f, 0.0f), [&](float x) { subnormal.add(x, math::exp2(x), std::exp2(double{x})); });
  worst.report("exp2_float");
  subnormal.report("exp2_float_subnormal");
  EXPECT_LT(worst.ulp, 0.85);
  EXPECT_LT(subnormal.ulp, 1.01);
}

TEST(exp2, double_is_within_one_ulp) {
  random_source random(1);
  worst_error worst, subnormal;
  for (int i = 0; i < 500'000; ++i) {
    for (const double x : {random.uniform(-2, 0), random.uniform(-1022, 0), -random.log_uniform(-60, 0), random.uniform(0, 1024)})
      worst.add(x, math::exp2(x), exp2l(x));
    const double low = random.uniform(-1022.499999, -1022);
    subnormal.add(low, math::exp2(low), exp2l(low));
  }
  worst.report("exp2_double");
  subnormal.report("exp2_double_subnormal");
  EXPECT_LT(worst.ulp, 0.85);
  EXPECT_LT(subnormal.ulp, 1.01);
}

TEST(exp2, is_exact_at_integers_and_at_the_ends) {
  for (int n = -126; n <= 127; ++n) EXPECT_EQ(math::exp2(static_cast<float>(n)), std::ldexp(1.0f, n)) << n;
  for (int n = -1022; n <= 1023; ++n) EXPECT_EQ(math::exp2(static_cast<double>(n)), std::ldexp(1.0, n)) << n;
  EXPECT_EQ(math::exp2(-0.0f), 1.0f);
  EXPECT_EQ(math::exp2(std::numeric_limits<float>::denorm_min()), 1.0f);
  EXPECT_EQ(bits_of(math::exp2(-inf_f)), 0u);
  EXPECT_EQ(bits_of(math::exp2(-inf)), 0u);
  for (const float x : {-126.5f, -126.75f, -127.0f, -127.5f, -128.0f, -1e30f, std::numeric_limits<float>::lowest()})
    EXPECT_EQ(bits_of(math::exp2(x)), 0u) << x;
  for (const double x : {-1022.5, -1022.75, -1023.0, -1023.5, -1024.0, -1e300, std::numeric_limits<double>::lowest()})
    EXPECT_EQ(bits_of(math::exp2(x)), 0u) << x;
  EXPECT_GT(math::exp2(-126.49f), 0.0f);
  EXPECT_GT(math::exp2(-1022.49), 0.0);
  EXPECT_TRUE(std::isnan(math::exp2(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_TRUE(std::isnan(math::exp2(-nan)));
  EXPECT_EQ(math::exp2(128.0f), inf_f);
  EXPECT_EQ(math::exp2(inf), inf);
  EXPECT_LT(math::exp2(std::nextafter(1024.0, 0.0)), inf);
  EXPECT_LT(math::exp2(std::nextafter(128.0f, 0.0f)), inf_f);
}

TEST(tanh, float_is_within_one_ulp_over_its_whole_range) {
  worst_error worst;
  for_floats(0x1p-13f, 10.0f, [&](float x) { worst.add(x, math::tanh(x), std::tanh(double{x})); });
  for_floats(0.0f, 0x1p-13f, [&](float x) { worst.add(x, math::tanh(x), std::tanh(double{x})); });
  worst.report("tanh_float");
  EXPECT_LT(worst.ulp, 0.85);
}

TEST(tanh, double_is_within_one_ulp) {
  random_source random(2);
  worst_error worst;
  for (int i = 0; i < 500'000; ++i) {
    for (const double x : {random.uniform(0, 1), random.uniform(0, 22), random.log_uniform(-60, 3)}) worst.add(x, math::tanh(x), tanhl(x));
  }
  worst.report("tanh_double");
  EXPECT_LT(worst.ulp, 0.85);
}

TEST(tanh, is_odd_saturates_at_one_and_is_the_identity_near_zero) {
  for_floats(0.0f, inf_f, [](float x) {
    const float y = math::tanh(x);
    ASSERT_EQ(bits_of(math::tanh(-x)), bits_of(-y)) << x;
    ASSERT_LE(y, std::min(x, 1.0f)) << x;
    if (x < 0x1p-13f) { ASSERT_EQ(y, x); }
    if (x >= 10) { ASSERT_EQ(y, 1.0f); }
  });
  for (const double x : {0.0, 5e-324, 1e-310, 1e-100, 0x1p-30}) EXPECT_EQ(bits_of(math::tanh(-x)), bits_of(-x)) << x;
  EXPECT_EQ(math::tanh(inf), 1.0);
  EXPECT_EQ(math::tanh(-inf), -1.0);
  EXPECT_EQ(math::tanh(1e300), 1.0);
  EXPECT_TRUE(std::isnan(math::tanh(nan)));
  EXPECT_TRUE(std::isnan(math::tanh(std::numeric_limits<float>::quiet_NaN())));
}

TEST(log, is_within_one_ulp_over_the_whole_range) {
  random_source random(3);
  worst_error worst;
  for (int i = 0; i < 500'000; ++i) {
    for (const double x : {random.uniform(0.5, 2), random.uniform(0.999, 1.001), random.log_uniform(-1074, 1024), random.uniform(1, 100'000)})
      worst.add(x, math::log(x), logl(x));
  }
  for (int e = -1074; e < 1024; ++e) {
    const double x = std::ldexp(1.0, e);
    for (const double near : {std::nextafter(x, 0.0), x, std::nextafter(x, inf)})
      if (near > 0) worst.add(near, math::log(near), logl(near));
  }
  worst.report("log");
  EXPECT_LT(worst.ulp, 1.0);
}

TEST(log, answers_at_the_edges) {
  EXPECT_EQ(bits_of(math::log(1.0)), bits_of(0.0));
  EXPECT_EQ(math::log(0.0), -inf);
  EXPECT_EQ(math::log(-0.0), -inf);
  EXPECT_EQ(math::log(inf), inf);
  for (const double x : {nan, -nan, -1.0, -5e-324, -inf}) EXPECT_TRUE(is_canonical_nan(math::log(x))) << x;
}

void add_angle(worst_error& worst, double x) {
  double s, c;
  math::sincos(x, s, c);
  worst.add(x, s, sinl(x));
  worst.add(x, c, cosl(x));
}

TEST(sincos, is_within_one_ulp_at_every_magnitude) {
  random_source random(4);
  worst_error small, rope, large;
  for (int i = 0; i < 500'000; ++i) {
    add_angle(small, random.uniform(-7, 7));
    add_angle(small, random.log_uniform(-80, 3));
    add_angle(rope, random.uniform(0, 0x1p31));
    add_angle(rope, -random.log_uniform(3, 40));
    add_angle(large, random.log_uniform(40, 1024));
  }
  small.report("sincos_below_8");
  rope.report("sincos_8_to_2^40");
  large.report("sincos_above_2^40");
  EXPECT_LT(small.ulp, 0.85);
  EXPECT_LT(rope.ulp, 0.85);
  EXPECT_LT(large.ulp, 0.85);
}

TEST(sincos, is_as_accurate_next_to_multiples_of_half_pi) {
  random_source random(5);
  worst_error worst;
  for (int i = 0; i < 300'000; ++i) {
    const double n = std::floor(random.log_uniform(0, i % 2 ? 40 : 20));
    const double x = static_cast<double>(static_cast<long double>(n) * 1.57079632679489661923132169163975144L);
    for (const double near : {x, std::nextafter(x, 0.0), std::nextafter(x, inf)}) add_angle(worst, near);
  }
  // The double closest to a multiple of pi / 2 of all (Muller, Elementary Functions), 4.7e-19 away from it, and both sides of the switch.
  for (const double x : {6381956970095103.0 * 0x1p797, 0x1p40, std::nextafter(0x1p40, 0.0), -0x1p40, 0x1.fffffffffffffp1023, 1e22})
    add_angle(worst, x);
  worst.report("sincos_near_multiples");
  EXPECT_LT(worst.ulp, 0.85);
}

TEST(sincos, answers_at_the_edges) {
  double s, c;
  for (const double x : {0.0, -0.0, 5e-324, -1e-300, 0x1p-30}) {
    math::sincos(x, s, c);
    EXPECT_EQ(bits_of(s), bits_of(x));
    EXPECT_EQ(c, 1.0);
  }
  for (const double x : {inf, -inf, nan, -nan}) {
    math::sincos(x, s, c);
    EXPECT_TRUE(is_canonical_nan(s));
    EXPECT_TRUE(is_canonical_nan(c));
  }
}

TEST(pow, is_within_one_ulp_over_the_whole_range) {
  random_source random(6);
  worst_error rope, wide, subnormal;
  for (int i = 0; i < 300'000; ++i) {
    const double theta = random.log_uniform(3, 25), fraction = random.uniform(-1, 0);
    rope.add(theta, math::pow(theta, fraction), powl(theta, fraction));
    const double base = random.log_uniform(-1074, 1024), limit = 1020 / std::abs(std::log2(base));
    const double exponent = random.uniform(-limit, limit);
    wide.add(base, math::pow(base, exponent), powl(base, exponent));
    const double near_one = random.uniform(0.99, 1.01), large = random.uniform(-70'000, 70'000);
    wide.add(near_one, math::pow(near_one, large), powl(near_one, large));
    const double steep = random.uniform(1030, 1073) / std::log2(0.3);
    subnormal.add(steep, math::pow(0.3, -steep), powl(0.3L, 0) * powl(0.3, -steep));
  }
  rope.report("pow_rope_frequencies");
  wide.report("pow");
  subnormal.report("pow_subnormal");
  EXPECT_LT(rope.ulp, 0.7);
  EXPECT_LT(wide.ulp, 0.7);
  EXPECT_LT(subnormal.ulp, 1.01);
}

TEST(pow, is_exact_where_the_answer_is_a_double) {
  for (const double base : {1e4, 5e5, 0.1, 3.0, 1e-310, 1e300}) {
    EXPECT_EQ(math::pow(base, 0.0), 1.0);
    EXPECT_EQ(math::pow(base, 1.0), base);
  }
  for (int n = -1074; n < 1024; ++n) EXPECT_EQ(math::pow(2.0, n), std::ldexp(1.0, n)) << n;
  EXPECT_EQ(math::pow(10'000.0, 0.5), 100.0);
  EXPECT_EQ(math::pow(10'000.0, -0.25), 0.1);
  EXPECT_EQ(math::pow(3.0, 20.0), 3486784401.0);
  EXPECT_EQ(math::pow(1.0, 1e300), 1.0);
}

TEST(pow, answers_at_the_edges) {
  EXPECT_EQ(math::pow(2.0, 1024.0), inf);
  EXPECT_EQ(math::pow(0.5, 1e300), 0.0);
  EXPECT_EQ(math::pow(10.0, 308.3), inf);
  EXPECT_EQ(math::pow(2.0, -1080.0), 0.0);
  for (const double base : {0.0, -0.0, -1.0, inf, -inf, nan}) EXPECT_TRUE(is_canonical_nan(math::pow(base, 1.0))) << base;
  for (const double exponent : {inf, -inf, nan}) EXPECT_TRUE(is_canonical_nan(math::pow(2.0, exponent))) << exponent;
}
}  // namespace
