#include <kernels/repeat.hpp>
#include <tests/kernels/schedules.hpp>

#include <vector>

namespace {

// [rows, row_bytes] at some distance from an aligned address.
std::vector<std::uint8_t> repeated(const std::vector<std::uint8_t>& from, std::size_t from_offset, std::size_t to_offset, int rows, int row_bytes,
                                   int group_size) {
  struct alignas(16) block {
    std::uint8_t bytes[16];
  };
  std::vector<block> source(from.size() / 16 + 3), target(from.size() * static_cast<std::size_t>(group_size) / 16 + 3, block{{0xee}});
  auto* const in = reinterpret_cast<std::uint8_t*>(source.data()) + from_offset;
  auto* const out = reinterpret_cast<std::uint8_t*>(target.data()) + to_offset;
  const std::size_t out_bytes = from.size() * static_cast<std::size_t>(group_size);
  std::copy(from.begin(), from.end(), in);
  out[out_bytes] = 0x77;
  rapt::kernels::repeat_heads(in, out, rows, row_bytes, group_size, nullptr);
  EXPECT_EQ(out[out_bytes], 0x77) << "written beyond the end";
  return {out, out + out_bytes};
}

TEST(repeat, every_row_comes_group_size_times_in_the_order_of_repeat_interleave) {
  rapt_test::under_every_schedule([] {
    for (const int row_bytes : {1, 2, 6, 7, 16, 24, 36, 128, 130, 512})
      for (const int group_size : {1, 3, 8})
        for (const int rows : {1, 17, 70}) {
          std::vector<std::uint8_t> from(static_cast<std::size_t>(rows * row_bytes));
          for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::uint8_t>(i * 7 + i / 251);
          std::vector<std::uint8_t> expected;
          for (int r = 0; r < rows; ++r)
            for (int g = 0; g < group_size; ++g) expected.insert(expected.end(), from.begin() + r * row_bytes, from.begin() + (r + 1) * row_bytes);
          ASSERT_EQ(repeated(from, 0, 0, rows, row_bytes, group_size), expected) << rows << ' ' << row_bytes << ' ' << group_size;
        }
  });
}

TEST(repeat, any_alignment_of_either_side_works) {
  std::vector<std::uint8_t> from(3 * 64);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::uint8_t>(i);
  const auto aligned = repeated(from, 0, 0, 3, 64, 2);
  for (std::size_t offset = 1; offset < 16; ++offset) {
    EXPECT_EQ(repeated(from, offset, 0, 3, 64, 2), aligned);
    EXPECT_EQ(repeated(from, 0, offset, 3, 64, 2), aligned);
  }
}

TEST(repeat, nothing_to_copy_launches_nothing) {
  EXPECT_NO_THROW(rapt::kernels::repeat_heads(nullptr, nullptr, 0, 64, 4, nullptr));
  EXPECT_NO_THROW(rapt::kernels::repeat_heads(nullptr, nullptr, 4, 0, 4, nullptr));
}

}  // namespace
