#include <rapt/core/index.hpp>

#include <gtest/gtest.h>

#include <limits>

namespace {

using rapt::index_t;
static_assert(rapt::ceil_div(0, 16) == 0 && rapt::ceil_div(1, 16) == 1 && rapt::ceil_div(16, 16) == 1 && rapt::ceil_div(17, 16) == 2);
static_assert(rapt::round_up(0, 64) == 0 && rapt::round_up(1, 64) == 64 && rapt::round_up(65, 64) == 128);

TEST(multiply_fits, says_when_a_product_does_not) {
  constexpr index_t max = std::numeric_limits<index_t>::max();
  index_t product = 0;
  EXPECT_TRUE(rapt::multiply_fits(3, max / 3, product));
  EXPECT_EQ(product, max / 3 * 3);
  EXPECT_FALSE(rapt::multiply_fits(index_t{1} << 32, index_t{1} << 31, product));
  EXPECT_FALSE(rapt::multiply_fits(2, max, product));
  EXPECT_TRUE(rapt::multiply_fits(0, max, product));
  EXPECT_EQ(product, 0);
}

}  // namespace
