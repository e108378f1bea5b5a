#include <rapt/core/tensor_view.hpp>

#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <vector>

namespace {

using rapt::index_t;
using rapt::tensor_view;

struct device_space {
  static constexpr bool host_readable = false;
};
template <class View>
concept readable_on_the_host = requires(const View& x) {
  x(0, 0);
};
static_assert(readable_on_the_host<tensor_view<float, 2>>);
static_assert(!readable_on_the_host<tensor_view<float, 2, device_space>>, "device memory is not dereferenced on the host");
static_assert(!readable_on_the_host<tensor_view<float, 3>>, "an index for each dimension");
static_assert(std::is_convertible_v<tensor_view<float, 2>, tensor_view<const float, 2>>);
static_assert(!std::is_convertible_v<tensor_view<const float, 2>, tensor_view<float, 2>>, "const is not taken away");
static_assert(!std::is_convertible_v<tensor_view<float, 2, device_space>, tensor_view<float, 2>>, "a view does not change its memory space");
static_assert(std::is_trivially_copyable_v<tensor_view<float, 4>>);

std::vector<float> counted(index_t n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

TEST(tensor_view, is_contiguous_with_the_last_dimension_fastest) {
  auto values = counted(3 * 5 * 7);
  const auto x = rapt::view(values.data(), 3, 5, 7);
  EXPECT_EQ(x.size(), 105);
  EXPECT_EQ(x.strides(), (tensor_view<float, 3>::extents_type{35, 7, 1}));
  for (index_t i = 0; i < 3; ++i)
    for (index_t j = 0; j < 5; ++j)
      for (index_t k = 0; k < 7; ++k) EXPECT_EQ(x(i, j, k), static_cast<float>(i * 35 + j * 7 + k));
  x(2, 4, 6) = -1;
  EXPECT_EQ(values.back(), -1);
}

TEST(tensor_view, strided_reads_the_same_memory_by_other_strides) {
  auto values = counted(2 * 3 * 4);
  const auto transposed = tensor_view<float, 2>(values.data(), {4, 6}).strided(1, 4);
  EXPECT_EQ(transposed.data(), values.data());
  EXPECT_EQ(transposed.extent(0), 4);
  EXPECT_EQ(transposed(3, 5), 23.0f);
  EXPECT_EQ(transposed(1, 2), 9.0f);
  const auto broadcast = transposed.strided(0, 1);
  EXPECT_EQ(broadcast(3, 2), broadcast(0, 2));
}

TEST(tensor_view, extents_of_more_than_2_to_the_31_elements_are_counted) {
  float one = 0;
  const auto x = rapt::view(&one, index_t{1} << 20, index_t{1} << 20, 3);
  EXPECT_EQ(x.size(), 3 * (index_t{1} << 40));
  EXPECT_EQ(x.stride(0), 3 * (index_t{1} << 20));
}

TEST(tensor_view, a_product_of_extents_that_does_not_fit_is_a_shape_error) {
  float one = 0;
  try {
    (void)rapt::view(&one, index_t{1} << 32, index_t{1} << 32, 2);
    FAIL() << "accepted";
  } catch (const rapt::shape_error& e) {
    EXPECT_EQ(e.code(), rapt::errc::shape);
    EXPECT_NE(std::string(e.what()).find("2^63 - 1"), std::string::npos) << e.what();
  }
}

TEST(tensor_view, an_empty_dimension_makes_it_empty) {
  const tensor_view<const float, 3> x(nullptr, {0, 5, 7});
  EXPECT_EQ(x.size(), 0);
  EXPECT_EQ((tensor_view<float, 2>{}.size()), 0);
}

TEST(flatten_leading, merges_all_but_the_last_two_dimensions) {
  auto values = counted(2 * 3 * 5 * 7 * 4);
  const auto x = rapt::view(values.data(), 2, 3, 5, 7, 4);
  const auto flat = rapt::flatten_leading(x);
  EXPECT_EQ(flat.extents(), (tensor_view<float, 3>::extents_type{30, 7, 4}));
  for (index_t a = 0; a < 2; ++a)
    for (index_t b = 0; b < 3; ++b)
      for (index_t c = 0; c < 5; ++c) EXPECT_EQ(flat((a * 3 + b) * 5 + c, 6, 3), x(a, b, c, 6, 3));
}

TEST(flatten_leading, keeps_strides_between_rows_and_a_stride_of_the_merged_dimension) {
  auto values = counted(4 * 6 * 10 * 8);
  // Every second batch row, five of ten tokens, four of eight dims.
  const auto x = tensor_view<float, 4>(values.data(), {4, 3, 5, 4}).strided(480, 160, 8, 2);
  const auto flat = rapt::flatten_leading(x);
  EXPECT_EQ(flat.strides(), (tensor_view<float, 3>::extents_type{160, 8, 2}));
  EXPECT_EQ(flat(11, 4, 3), x(3, 2, 4, 3));
}

TEST(flatten_leading, a_dimension_of_one_may_have_any_stride) {
  auto values = counted(30);
  const auto x = tensor_view<float, 4>(values.data(), {1, 2, 3, 5}).strided(12345, 15, 5, 1);
  EXPECT_EQ(rapt::flatten_leading(x).extents(), (tensor_view<float, 3>::extents_type{2, 3, 5}));
}

TEST(flatten_leading, names_the_two_dimensions_that_do_not_merge) {
  auto values = counted(1000);
  const auto x = tensor_view<float, 5>(values.data(), {2, 2, 3, 5, 2}).strided(200, 60, 30, 2, 1);
  try {
    (void)rapt::flatten_leading(x);
    FAIL() << "accepted";
  } catch (const rapt::shape_error& e) {
    const std::string what = e.what();
    EXPECT_NE(what.find("dimensions 1 and 2"), std::string::npos) << what;
    EXPECT_NE(what.find("stride 60 came, 90 is needed"), std::string::npos) << what;
  }
}

}  // namespace
