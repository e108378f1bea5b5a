#include <kernels/transfer.hpp>
#include <tests/kernels/schedules.hpp>

#include <random>

namespace {

using rapt::index_t;

struct transfer_case {
  index_t num_heads, row_bytes, page_len, gap, first_token, num_tokens;
  bool has_table;
};

/// Pages of bytes that are all different, or nearly so, and where row (token, head) of a case begins.
struct pages_of_case {
  std::vector<std::uint8_t> bytes;
  std::vector<std::int32_t> table;
  rapt::kernels::paged_rows view;

  explicit pages_of_case(const transfer_case& c) {
    view.row_bytes = c.row_bytes, view.head_bytes = c.page_len * c.row_bytes + c.gap, view.page_bytes = c.num_heads * view.head_bytes + c.gap;
    view.num_heads = c.num_heads, view.page_len = c.page_len, view.first_token = c.first_token;
    const index_t num_pages = c.has_table ? 2 + (c.first_token + c.num_tokens) / c.page_len : 1;
    std::mt19937 random(3);
    bytes.resize(static_cast<std::size_t>(num_pages * view.page_bytes));
    for (auto& x : bytes) x = static_cast<std::uint8_t>(random());
    for (index_t p = num_pages; c.has_table && p-- > 0;) table.push_back(static_cast<std::int32_t>(p));
    view.base = reinterpret_cast<std::byte*>(bytes.data());
    view.page_table = c.has_table ? table.data() : nullptr;
  }
  std::size_t begin(index_t token, index_t head) const {
    const index_t page = table.empty() ? 0 : table[static_cast<std::size_t>(token / view.page_len)];
    const index_t slot = table.empty() ? token : token % view.page_len;
    return static_cast<std::size_t>(page * view.page_bytes + head * view.head_bytes + slot * view.row_bytes);
  }
};

TEST(transfer, rows_come_out_of_pages_and_go_back_to_their_places_alone) {
  const transfer_case cases[] = {{2, 48, 16, 0, 0, 40, true},
                                 {1, 6, 16, 2, 5, 30, true},
                                 {3, 130, 48, 6, 47, 60, true},
                                 {2, 34, 64, 4, 3, 50, false},
                                 {4, 256, 16, 64, 15, 2, true}};
  rapt_test::under_every_schedule([&] {
    for (const transfer_case& c : cases) {
      const pages_of_case pages(c);
      const auto rows = static_cast<std::size_t>(c.num_tokens * c.num_heads), row_bytes = static_cast<std::size_t>(c.row_bytes);
      std::vector<std::uint8_t> canonical(rows * row_bytes, 0);
      rapt::kernels::transfer_rows(pages.view, canonical.data(), c.num_tokens, false, nullptr);
      for (std::size_t row = 0; row < rows; ++row) {
        const std::size_t begin = pages.begin(c.first_token + static_cast<index_t>(row) / c.num_heads, static_cast<index_t>(row) % c.num_heads);
        ASSERT_TRUE(std::equal(canonical.begin() + static_cast<std::ptrdiff_t>(row * row_bytes),
                               canonical.begin() + static_cast<std::ptrdiff_t>((row + 1) * row_bytes),
                               pages.bytes.begin() + static_cast<std::ptrdiff_t>(begin)))
            << c.row_bytes << ' ' << row;
      }
      pages_of_case changed(c);
      std::vector<std::uint8_t> expected = changed.bytes;
      for (auto& x : canonical) x = static_cast<std::uint8_t>(x + 1);
      for (std::size_t row = 0; row < rows; ++row) {
        const std::size_t begin = changed.begin(c.first_token + static_cast<index_t>(row) / c.num_heads, static_cast<index_t>(row) % c.num_heads);
        std::copy_n(canonical.begin() + static_cast<std::ptrdiff_t>(row * row_bytes), row_bytes,
                    expected.begin() + static_cast<std::ptrdiff_t>(begin));
      }
      rapt::kernels::transfer_rows(changed.view, canonical.data(), c.num_tokens, true, nullptr);
      ASSERT_EQ(changed.bytes, expected) << c.row_bytes;
    }
  });
}

TEST(transfer, nothing_for_no_tokens) { EXPECT_NO_THROW(rapt::kernels::transfer_rows({}, nullptr, 0, true, nullptr)); }

}  // namespace
