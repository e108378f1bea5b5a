#include <kernels/gather.hpp>
#include <tests/kernels/schedules.hpp>

#include <random>

namespace {

using rapt::index_t;

TEST(gather, picks_rows_in_the_order_of_the_list_at_any_width_and_alignment) {
  rapt_test::under_every_schedule([] {
    std::mt19937 random(5);
    for (const std::size_t row_bytes : {1u, 2u, 6u, 16u, 36u, 130u, 512u})
      for (const std::size_t rows : {1u, 17u, 90u})
        for (const std::size_t offset : {0u, 1u, 4u}) {
          constexpr std::size_t from_rows = 23;
          std::vector<std::uint8_t> from(from_rows * row_bytes + 32), to(rows * row_bytes + 32, 0xee);
          for (auto& x : from) x = static_cast<std::uint8_t>(random());
          std::vector<index_t> indices(rows);
          for (auto& i : indices) i = static_cast<index_t>(random() % from_rows);
          rapt::kernels::gather_rows(from.data() + offset, to.data() + offset, indices.data(), static_cast<index_t>(rows),
                                     static_cast<index_t>(row_bytes), nullptr);
          std::vector<std::uint8_t> expected(to.size(), 0xee);
          for (std::size_t r = 0; r < rows; ++r)
            std::copy_n(from.data() + offset + static_cast<std::size_t>(indices[r]) * row_bytes, row_bytes, expected.data() + offset + r * row_bytes);
          ASSERT_EQ(to, expected) << row_bytes << ' ' << rows << ' ' << offset;
        }
  });
}

TEST(gather, refuses_null_and_negative_and_does_nothing_for_no_rows) {
  int x = 0;
  index_t zero = 0;
  EXPECT_NO_THROW(rapt::kernels::gather_rows(nullptr, nullptr, nullptr, 0, 4, nullptr));
  EXPECT_THROW(rapt::kernels::gather_rows(nullptr, &x, &zero, 1, 4, nullptr), rapt::shape_error);
  EXPECT_THROW(rapt::kernels::gather_rows(&x, &x, nullptr, 1, 4, nullptr), rapt::shape_error);
  EXPECT_THROW(rapt::kernels::gather_rows(&x, &x, &zero, -1, 4, nullptr), rapt::shape_error);
}

}  // namespace
