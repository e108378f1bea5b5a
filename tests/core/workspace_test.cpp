#include <rapt/core/workspace.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace {

using rapt::workspace;

// Some call's layout: two pieces that stay, one that comes and goes.
std::size_t lay_out(workspace& scratch) {
  scratch.take<float>(3);
  for (int round = 0; round < 2; ++round) {
    const workspace::scope inner(scratch);
    scratch.take<double>(100 + round);
  }
  scratch.take<char>(1);
  return scratch.peak_bytes();
}

TEST(workspace, measuring_counts_what_the_same_code_takes) {
  workspace measuring;
  EXPECT_TRUE(measuring.measuring());
  const std::size_t needed = lay_out(measuring);
  EXPECT_EQ(needed, 64u + 832u);
  std::vector<std::byte> block(needed + 64);
  workspace real(block.data(), needed);
  EXPECT_FALSE(real.measuring());
  EXPECT_EQ(lay_out(real), needed);
}

TEST(workspace, pieces_are_aligned_apart_and_inside) {
  alignas(64) std::byte block[1024];
  workspace scratch(block, sizeof block);
  std::byte* end = block;
  for (const rapt::index_t count : {1, 17, 64, 65}) {
    auto* piece = scratch.take<std::byte>(count);
    ASSERT_NE(piece, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(piece) % 64, 0u);
    EXPECT_GE(piece, end);
    end = piece + count;
    EXPECT_LE(end, block + sizeof block);
  }
}

TEST(workspace, a_scope_gives_back_what_was_taken_in_it) {
  alignas(64) std::byte block[256];
  workspace scratch(block, sizeof block);
  float* first = nullptr;
  {
    const workspace::scope inner(scratch);
    first = scratch.take<float>(64);
  }
  EXPECT_EQ(scratch.take<float>(64), first);
  EXPECT_EQ(scratch.peak_bytes(), 256u);
}

TEST(workspace, past_the_end_is_null_and_measuring_gives_nothing) {
  alignas(64) std::byte block[128];
  workspace scratch(block, sizeof block);
  EXPECT_NE(scratch.take<float>(32), nullptr);
  EXPECT_EQ(scratch.take<float>(1), nullptr);
  EXPECT_EQ(workspace().take<float>(1), nullptr);
}

TEST(workspace, nothing_takes_nothing) {
  workspace scratch;
  scratch.take<double>(0);
  EXPECT_EQ(scratch.peak_bytes(), 0u);
}

}  // namespace
