// Head replication in a backend's memory beside plain loops.
#pragma once
#include <rapt/ops/heads.hpp>

#include <support/placement.hpp>

#include <gtest/gtest.h>

#include <cstring>

namespace rapt_test {

/// Elements are their own indices, so that one in a wrong place is seen.
template <class T>
std::vector<T> counted(rapt::index_t n) {
  std::vector<T> values;
  for (rapt::index_t i = 0; i < n; ++i) values.push_back(static_cast<T>(static_cast<float>(i % 2039)));
  return values;
}

template <class T, class Backend>
void expect_repeated(typename Backend::context& ctx, rapt::index_t batch, rapt::index_t len, rapt::index_t heads, rapt::index_t dim,
                     rapt::index_t times) {
  using space = typename Backend::space;
  const std::vector<T> from = counted<T>(batch * len * heads * dim);
  std::vector<T> expected;
  for (rapt::index_t row = 0; row < batch * len * heads; ++row)
    for (rapt::index_t i = 0; i < times; ++i) expected.insert(expected.end(), from.begin() + row * dim, from.begin() + (row + 1) * dim);
  placed_vector<T, Backend> x(ctx, from), out(ctx, std::vector<T>(expected.size(), T(-1.0f)));
  rapt::repeat_heads(ctx, rapt::tensor_view<const T, 4, space>(x.data(), {batch, len, heads, dim}),
                     rapt::tensor_view<T, 4, space>(out.data(), {batch, len, heads * times, dim}));
  const std::vector<T>& got = out.fetch();
  ASSERT_EQ(std::memcmp(got.data(), expected.data(), expected.size() * sizeof(T)), 0)
      << batch << ' ' << len << ' ' << heads << ' ' << dim << " x " << times;
}

template <class Backend>
void expect_repeated_everywhere(typename Backend::context& ctx) {
  for (const rapt::index_t times : {1, 3, 8})
    for (const rapt::index_t dim : {1, 5, 64}) {
      expect_repeated<float, Backend>(ctx, 2, 7, 3, dim, times);
      expect_repeated<double, Backend>(ctx, 1, 3, 2, dim, times);
      expect_repeated<rapt::bf16, Backend>(ctx, 2, 5, 1, dim, times);
      expect_repeated<rapt::f16, Backend>(ctx, 3, 1, 4, dim, times);
    }
}

}  // namespace rapt_test
