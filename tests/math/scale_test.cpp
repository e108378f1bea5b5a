// The split constant: a query times softmax_scale * log2 e as if the constant had twice the digits.
#include <gtest/gtest.h>
#include <math/ulp.hpp>
#include <rapt/core/scale.hpp>

#include <cmath>

namespace {
using namespace rapt_test;
namespace math = rapt::math;
constexpr long double log2_e_long = 1.44269504088896340735992468100189214L;

TEST(split_scale, high_and_low_add_up_to_the_constant) {
  random_source random(21);
  for (int i = 0; i < 10'000; ++i) {
    const double scale = random.log_uniform(-30, 4);
    const double c = scale * math::log2_e;
    const auto f = math::split_scale<float>(scale);
    EXPECT_EQ(f.high, static_cast<float>(c));
    EXPECT_LE(std::abs(double{f.high} + double{f.low} - c), std::ldexp(c, -48));
    const auto d = math::split_scale<double>(scale);
    EXPECT_EQ(d.high, c);
    const long double whole = static_cast<long double>(d.high) + static_cast<long double>(d.low);
    EXPECT_LE(std::abs(whole - scale * log2_e_long), std::ldexp(static_cast<long double>(c), -62));  // all that long double can see
    EXPECT_LE(std::abs(d.low), std::ldexp(c, -52));
  }
}

TEST(split_scale, a_product_is_rounded_once) {
  random_source random(22);
  worst_error float_product, double_product, plain;
  for (int i = 0; i < 300'000; ++i) {
    const double scale = random.log_uniform(-6, 1);
    const double q = random.uniform(-8, 8);
    const float qf = static_cast<float>(q);
    float_product.add(q, math::multiply_split(qf, math::split_scale<float>(scale)), double{qf} * (scale * math::log2_e));
    double_product.add(q, math::multiply_split(q, math::split_scale<double>(scale)), q * (scale * log2_e_long));
    plain.add(q, q * (scale * math::log2_e), q * (scale * log2_e_long));
  }
  float_product.report("multiply_split_float");
  double_product.report("multiply_split_double");
  EXPECT_LT(float_product.ulp, 0.501);
  EXPECT_LT(double_product.ulp, 0.502);
  EXPECT_GT(plain.ulp, 0.9);  // what the split is for
}

TEST(split_scale, low_parts_continue_the_constants) {
  EXPECT_EQ(math::log2_e, static_cast<double>(log2_e_long));
  EXPECT_LE(std::abs(static_cast<long double>(math::log2_e) + math::log2_e_low - log2_e_long), 0x1p-63L);
  constexpr long double ln_2_long = 0.693147180559945309417232121458176568L;
  EXPECT_EQ(math::ln_2, static_cast<double>(ln_2_long));
  EXPECT_LE(std::abs(static_cast<long double>(math::ln_2) + math::ln_2_low - ln_2_long), 0x1p-64L);
}
}  // namespace
