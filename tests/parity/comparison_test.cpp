// The bounds, against numbers worked out by hand.
#include <parity/comparison.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace {

using parity::comparison, parity::tensor, rapt::dtype;

constexpr double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();

tensor values(std::vector<double> v) {
  tensor t;
  t.shape = {static_cast<rapt::index_t>(v.size())};
  t.values = std::move(v);
  return t;
}
comparison compared(std::vector<double> got, std::vector<double> expected, std::optional<std::vector<double>> peer = std::nullopt,
                    dtype t = dtype::f32, std::optional<dtype> c = std::nullopt) {
  const tensor truth = values(std::move(expected)), other = values(peer.value_or(std::vector<double>()));
  return parity::compare("y0", got, truth, peer ? &other : nullptr, t, c.value_or(t));
}

TEST(comparison, the_coarser_dtype_is_the_one_with_fewer_bits_of_mantissa) {
  EXPECT_EQ(parity::coarser(dtype::f64, dtype::f32), dtype::f32);
  EXPECT_EQ(parity::coarser(dtype::f16, dtype::f32), dtype::f16);
  EXPECT_EQ(parity::coarser(dtype::f16, dtype::bf16), dtype::bf16);
  EXPECT_EQ(parity::coarser(dtype::bf16, dtype::f64), dtype::bf16);
}

TEST(comparison, the_bound_is_twice_the_peers_error_and_four_epsilons_of_the_largest_entry) {
  const comparison c = compared({0.0, -8.0}, {0.0, -8.0}, std::vector{0.25, -8.5});
  EXPECT_EQ(c.bound, 2 * 0.5 + 4 * std::ldexp(1.0, -23) * 8);
  EXPECT_EQ(c.ratio(), 0.0);
}

TEST(comparison, without_a_peer_it_is_64_epsilons) {
  EXPECT_EQ(compared({3.0}, {3.0}, std::nullopt, dtype::f32).bound, 64 * std::ldexp(1.0, -23) * 3);
  EXPECT_EQ(compared({3.0}, {3.0}, std::nullopt, dtype::f16).bound, 64 * std::ldexp(1.0, -10) * 3);
  EXPECT_EQ(compared({3.0}, {3.0}, std::nullopt, dtype::bf16).bound, 64 * std::ldexp(1.0, -7) * 3);
  EXPECT_EQ(compared({3.0}, {3.0}, std::nullopt, dtype::f64, dtype::f16).bound, 64 * std::ldexp(1.0, -10) * 3);
  EXPECT_EQ(compared({3.0}, {3.0}).ratio(), std::nullopt);
}

TEST(comparison, double_is_held_to_1e_12_whatever_a_peer_says) {
  EXPECT_EQ(compared({0.5}, {0.5}, std::vector{0.7}, dtype::f64).bound, 1e-12);
  EXPECT_EQ(compared({500.0}, {500.0}, std::nullopt, dtype::f64).bound, 1e-12 * 500);
}

TEST(comparison, an_error_just_above_the_bound_fails_and_one_below_passes) {
  const double bound = 64 * std::ldexp(1.0, -7);
  EXPECT_TRUE(compared({1.0, bound}, {1.0, 0.0}, std::nullopt, dtype::bf16).passed);
  const comparison c = compared({1.0, std::nextafter(bound, 1)}, {1.0, 0.0}, std::nullopt, dtype::bf16);
  EXPECT_FALSE(c.passed);
  EXPECT_EQ(c.worst, 1u);
}

TEST(comparison, nan_answers_nan_and_infinities_are_equal) {
  EXPECT_TRUE(compared({nan, infinity, -infinity, 1}, {nan, infinity, -infinity, 1}).passed);
  for (const double wrong : {0.0, infinity, -infinity}) EXPECT_FALSE(compared({wrong, 1}, {nan, 1}).passed) << wrong;
  for (const double wrong : {1e308, nan, -infinity}) EXPECT_FALSE(compared({wrong, 1}, {infinity, 1}).passed) << wrong;
  for (const double wrong : {nan, infinity, -infinity}) EXPECT_FALSE(compared({1, wrong}, {1, 1}).passed) << wrong;
}

TEST(comparison, entries_that_are_not_finite_do_not_widen_the_bound) {
  const comparison c = compared({2, infinity, nan}, {2, infinity, nan}, std::vector{2.5, 0.0, 0.0});
  EXPECT_EQ(c.peer_error, 0.5);
  EXPECT_EQ(c.max_expected, 2);
}

TEST(comparison, a_peer_that_overflowed_is_no_peer) {
  const comparison c = compared({70000.0}, {70000.0}, std::vector{infinity}, dtype::f16);
  EXPECT_EQ(c.peer_error, std::nullopt);
  EXPECT_EQ(c.bound, 64 * std::ldexp(1.0, -10) * 70000);
}

TEST(comparison, another_number_of_entries_is_refused) { EXPECT_THROW(compared({1, 2}, {1}), parity::refusal); }

TEST(comparison, a_failure_names_the_entry_by_its_indices) {
  tensor truth = values({0, 0, 0, 0, 0, 0});
  truth.shape = {2, 3};
  const std::vector<double> got = {0, 0, 0, 0, 0.5, 0};
  const std::string text = parity::compare("y7", got, truth, nullptr, dtype::f32, dtype::f32).describe();
  EXPECT_NE(text.find("y7[1, 1]: got 0.5, expected 0"), std::string::npos) << text;
}

}  // namespace
