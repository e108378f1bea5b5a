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
  EXPECT_FALSE(scratch.measuring());
  EXPECT_EQ(scratch.take<float>(1), nullptr);
  EXPECT_EQ(workspace().take<float>(1), nullptr);
}

TEST(workspace, measures_from_the_first_piece_on_that_did_not_fit) {
  alignas(64) std::byte block[128];
  workspace scratch(block, sizeof block);
  {
    const workspace::scope inner(scratch);
    scratch.take<float>(33);
  }
  EXPECT_TRUE(scratch.measuring());
  EXPECT_EQ(scratch.take<float>(1), nullptr);
  EXPECT_EQ(scratch.peak_bytes(), 192u);
}

// A context whose memory grows; operations that say what they did.
struct growing_context {
  std::vector<std::byte> memory;
  workspace begin_call(std::size_t bytes) {
    if (bytes > memory.size()) memory.resize(bytes);
    return {memory.data(), memory.size()};
  }
  void check() const {}
};

TEST(workspace, a_call_runs_once_where_it_fits_and_from_its_beginning_where_not) {
  growing_context ctx;
  std::vector<char> done;
  const auto operation = [&](workspace& scratch, char name, rapt::index_t bytes) {
    const workspace::scope inner(scratch);
    scratch.take<std::byte>(bytes);
    if (!scratch.measuring()) done.push_back(name);
  };
  const auto call = [&](workspace& scratch) { operation(scratch, 'a', 64), operation(scratch, 'b', 640), operation(scratch, 'c', 64); };
  rapt::run_in_workspace(ctx, call);
  EXPECT_EQ(done, (std::vector{'a', 'b', 'c'}));
  EXPECT_EQ(ctx.memory.size(), 640u);
  rapt::run_in_workspace(ctx, call);
  EXPECT_EQ(done, (std::vector{'a', 'b', 'c', 'a', 'b', 'c'}));
  done.clear(), ctx.memory.resize(128);
  rapt::run_in_workspace(ctx, call);
  EXPECT_EQ(done, (std::vector{'a', 'a', 'b', 'c'})) << "b did not fit: after it nothing runs";
}

TEST(workspace, nothing_takes_nothing) {
  workspace scratch;
  scratch.take<double>(0);
  EXPECT_EQ(scratch.peak_bytes(), 0u);
}

}  // namespace
