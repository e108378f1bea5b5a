#include <kernels/write_parameters.hpp>
#include <tests/kernels/schedules.hpp>

#include <numeric>
#include <random>

namespace {

using rapt::index_t;

std::vector<std::uint32_t> numbered(std::size_t count, std::uint32_t first) {
  std::vector<std::uint32_t> words(count);
  std::iota(words.begin(), words.end(), first);
  return words;
}

TEST(write_parameters, many_and_long_arrays_reach_their_places_and_nothing_else) {
  rapt_test::under_every_schedule([] {
    // More places than a launch has, more words than fit, and lengths around the limits of both kinds of launch.
    const std::vector<std::size_t> counts = {1, 0, 927, 928, 929, 8127, 8128, 8129, 20'000, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 5, 257};
    std::vector<std::vector<std::uint32_t>> from, to;
    rapt::kernels::parameter_writer writer;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      from.push_back(numbered(counts[i], static_cast<std::uint32_t>(i * 100'000)));
      to.emplace_back(counts[i] + 2, 7);
    }
    for (std::size_t i = 0; i < counts.size(); ++i) writer.write(to[i].data() + 1, from[i].data(), static_cast<index_t>(counts[i] * 4), nullptr);
    writer.flush(nullptr);
    for (std::size_t i = 0; i < counts.size(); ++i) {
      from[i].insert(from[i].begin(), 7), from[i].push_back(7);
      ASSERT_EQ(to[i], from[i]) << i;
    }
  });
}

TEST(write_parameters, nothing_is_written_before_flush_and_nothing_twice) {
  std::uint32_t x = 1, y = 2;
  rapt::kernels::parameter_writer writer;
  writer.write(&x, &y, 4, nullptr);
  EXPECT_EQ(x, 1u);
  y = 3;  // it was read when it was given
  writer.flush(nullptr);
  EXPECT_EQ(x, 2u);
  x = 5;
  writer.flush(nullptr);
  EXPECT_EQ(x, 5u);
}

}  // namespace
