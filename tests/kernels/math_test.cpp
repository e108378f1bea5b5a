#include <kernels/simt/math.hpp>

#include <gtest/gtest.h>

#include <limits>

namespace {

namespace simt = rapt::simt;
using rapt::bf16;
using rapt::f16;

constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();

TEST(math, max_or_nan_propagates_nan_from_either_side) {
  EXPECT_EQ(simt::max_or_nan(1, 2), 2);
  EXPECT_EQ(simt::max_or_nan(2, 1), 2);
  EXPECT_EQ(simt::max_or_nan(-inf, -3), -3);
  EXPECT_FALSE(std::signbit(simt::max_or_nan(0.0f, -0.0f)));
  EXPECT_FALSE(std::signbit(simt::max_or_nan(-0.0f, 0.0f)));
  for (const float x : {simt::max_or_nan(nan, inf), simt::max_or_nan(inf, -nan)}) EXPECT_EQ(simt::bits_of(x), 0x7fffffffu);
}

TEST(math, exp2_approx_is_exact_where_softmax_needs_it) {
  EXPECT_EQ(simt::exp2_approx(0), 1);
  EXPECT_EQ(simt::exp2_approx(-inf), 0);
  EXPECT_EQ(simt::exp2_approx(-7), 1.0f / 128);
  EXPECT_EQ(simt::exp2_approx(-127), 0) << "subnormal results are zero";
  EXPECT_EQ(simt::exp2_approx(inf), inf);
  EXPECT_EQ(simt::bits_of(simt::exp2_approx(nan)), 0x7fffffffu);
}

TEST(math, a_pair_is_rounded_to_nearest_even_the_first_in_the_lower_half) {
  EXPECT_EQ(simt::round_pair<f16>(1.0f, -2.0f), 0xc0003c00u);
  EXPECT_EQ(simt::round_pair<bf16>(1.0f, -2.0f), 0xc0003f80u);
  EXPECT_EQ(simt::round_pair<f16>(1.0f + 0x1p-11f, 1.0f + 0x3p-11f), 0x3c023c00u) << "ties to even";
  EXPECT_EQ(simt::round_pair<bf16>(1.0f + 0x1p-8f, 1.0f + 0x3p-8f), 0x3f823f80u);
  EXPECT_EQ(simt::round_pair<f16>(65520.0f, 0x1p-25f), 0x00007c00u) << "overflow, and half of the least subnormal";
  EXPECT_EQ(simt::round_pair<f16>(nan, -nan), 0x7fff7fffu);
  EXPECT_EQ(simt::round_pair<bf16>(nan, -nan), 0x7fff7fffu);
}

TEST(math, widening_gives_back_every_element) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float wide = simt::widen<f16>(half), wide_b = simt::widen<bf16>(half);
    if (wide == wide) { ASSERT_EQ(simt::round_pair<f16>(wide, 0) & 0xffff, bits); }
    if (wide_b == wide_b) { ASSERT_EQ(simt::round_pair<bf16>(wide_b, 0) & 0xffff, bits); }
  }
}

}  // namespace
