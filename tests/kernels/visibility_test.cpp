#include <kernels/visibility.hpp>

#include <gtest/gtest.h>

namespace {

using rapt::kernels::sequence;
using problem = rapt::kernels::attention_problem<rapt::f16>;

TEST(visibility, ranges_of_rows_hold_exactly_the_keys_that_windows_and_lengths_show) {
  for (const rapt::index_t left : {rapt::no_window, rapt::index_t{0}, rapt::index_t{1}, rapt::index_t{5}, rapt::index_t{200}, rapt::max_position})
    for (const rapt::index_t right : {rapt::no_window, rapt::index_t{0}, rapt::index_t{2}, rapt::index_t{150}, rapt::max_position})
      for (const int kv_len : {0, 1, 7, 130})
        for (const int first_position : {-2147483647, -300, -129, -128, -5, 0, 3, 100, 400, 2147483640})
          for (const int first_query : {0, 128}) {
            problem p;
            p.window_left = left, p.window_right = right;
            sequence s;
            s.q_len = 300, s.kv_len = kv_len, s.first_position = first_position;
            ASSERT_TRUE(ranges_decide(p));
            const auto ranges = ranges_of(p, s, first_query);
            for (int row = 0; row < 128; ++row) {
              const auto range = ranges.of(row);
              for (int key = 0; key < kv_len + 3; ++key)
                ASSERT_EQ(key >= range.first && key < range.last,
                          sees(p, 0, s, 0, first_query + row, rapt::index_t{first_position} + first_query + row, key))
                    << left << ' ' << right << ' ' << kv_len << ' ' << first_position << ' ' << first_query + row << ' ' << key;
              // What tiles that no row sees are found by.
              ASSERT_TRUE(row == 0 || (range.first >= ranges.of(row - 1).first && range.last >= ranges.of(row - 1).last));
            }
          }
}

TEST(visibility, the_window_is_what_the_contract_says) {
  problem p;
  p.window_left = 2, p.window_right = 1;
  for (int q = -3; q < 10; ++q)
    for (int k = 0; k < 12; ++k) EXPECT_EQ(in_window(p, q, k), k >= q - 2 && k <= q + 1);
}

}  // namespace
