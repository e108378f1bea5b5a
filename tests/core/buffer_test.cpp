#include <rapt/core/buffer.hpp>

#include <gtest/gtest.h>

#include <type_traits>
#include <utility>
#include <vector>

namespace {

using rapt::buffer;
static_assert(!std::is_copy_constructible_v<buffer> && !std::is_copy_assignable_v<buffer>);
static_assert(std::is_nothrow_move_constructible_v<buffer> && std::is_nothrow_move_assignable_v<buffer>);

std::vector<std::byte*> freed;
void record(std::byte* data, std::size_t) { freed.push_back(data); }

class buffers : public testing::Test {
 protected:
  void SetUp() override { freed.clear(); }
  std::byte memory_[2] = {};
};

TEST_F(buffers, free_their_memory_once) {
  {
    buffer a(&memory_[0], 1, record);
    EXPECT_EQ(a.data(), &memory_[0]);
    EXPECT_EQ(a.bytes(), 1u);
    buffer b(std::move(a));
    EXPECT_EQ(a.data(), nullptr);
    EXPECT_EQ(a.bytes(), 0u);
    EXPECT_TRUE(freed.empty());
  }
  EXPECT_EQ(freed, std::vector{&memory_[0]});
}

TEST_F(buffers, free_what_they_held_when_assigned_to) {
  buffer a(&memory_[0], 1, record), b(&memory_[1], 1, record);
  a = std::move(b);
  EXPECT_EQ(freed, std::vector{&memory_[0]});
  EXPECT_EQ(a.data(), &memory_[1]);
  EXPECT_EQ(b.data(), nullptr);
}

TEST_F(buffers, keep_their_memory_when_moved_to_themselves) {
  buffer a(&memory_[0], 1, record);
  buffer& same = a;
  a = std::move(same);
  EXPECT_TRUE(freed.empty());
  EXPECT_EQ(a.data(), &memory_[0]);
}

TEST_F(buffers, that_are_lent_free_nothing) {
  { const buffer lent(&memory_[0], 2, nullptr); }
  EXPECT_TRUE(freed.empty());
}

}  // namespace
