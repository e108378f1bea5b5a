// A two-stage pipeline over tiles, as attention has it, right and with the mistakes that such a pipeline invites.
#include <kernels/simt/cp_async.hpp>
#include <tests/kernels/schedules.hpp>

#include <cstring>
#include <vector>

namespace {

namespace simt = rapt::simt;

constexpr unsigned num_threads = 64, tile_len = 256, num_tiles = 5, last_tile_len = 100;

enum class mistake {
  none,
  waits_for_too_few_groups,
  no_wait,
  no_commit,
  no_barrier_before_reading,  // other threads' copies
  no_barrier_after_reading,   // the stage is overwritten while others read it
  one_stage,                  // the next tile lands where this one is read
  reads_beyond_the_end,       // no zero fill
};

struct stages {
  alignas(16) float tile[2][tile_len];
};

template <mistake Mistake>
RAPT_DEVICE void load_tile(stages& s, const float* x, unsigned t) {
  const unsigned i = simt::thread_idx() * 4, from = t * tile_len + i;
  const unsigned stage = Mistake == mistake::one_stage ? 0 : t % 2;
  const bool valid = Mistake == mistake::reads_beyond_the_end || t + 1 < num_tiles || i < last_tile_len;
  simt::copy_async_16(simt::shared_address(&s.tile[stage][i]), valid ? x + from : x, valid);
  if (Mistake != mistake::no_commit) simt::commit_copies();
}

/// sums[i] of the products of every tile's elements i and tile_len - 1 - i: another thread's copy.
template <mistake Mistake>
RAPT_KERNEL(num_threads, 1)
fold_tiles(const float* x, float* sums) {
  auto& s = simt::shared<stages>();
  float sum[4] = {};
  load_tile<Mistake>(s, x, 0);
  for (unsigned t = 0; t < num_tiles; ++t) {
    const bool more = t + 1 < num_tiles;
    if (more) load_tile<Mistake>(s, x, t + 1);
    if (Mistake == mistake::waits_for_too_few_groups)
      simt::wait_for_copies<2>();
    else if (Mistake != mistake::no_wait) {
      if (more)
        simt::wait_for_copies<1>();
      else
        simt::wait_for_copies<0>();
    }
    if (Mistake != mistake::no_barrier_before_reading) simt::sync_threads();
    const float* tile = s.tile[Mistake == mistake::one_stage ? 0 : t % 2];
    for (unsigned e = 0; e < 4; ++e) {
      const unsigned i = simt::thread_idx() * 4 + e;
      sum[e] += tile[i] * tile[tile_len - 1 - i];
    }
    if (Mistake != mistake::no_barrier_after_reading) simt::sync_threads();
  }
  for (unsigned e = 0; e < 4; ++e) sums[simt::thread_idx() * 4 + e] = sum[e];
}

template <mistake Mistake>
bool is_right() {
  constexpr unsigned len = (num_tiles - 1) * tile_len + last_tile_len;
  // What lies behind the end is no zero.
  alignas(16) float x[num_tiles * tile_len];
  for (unsigned i = 0; i < num_tiles * tile_len; ++i) x[i] = static_cast<float>(1 + i * i % 61);
  const auto element = [&](unsigned i) { return i < len ? x[i] : 0.0f; };
  std::vector<float> sums(tile_len, -1);
  simt::launch<stages>(fold_tiles<Mistake>, {1}, num_threads, nullptr, x, sums.data());
  for (unsigned i = 0; i < tile_len; ++i) {
    float expected = 0;
    for (unsigned t = 0; t < num_tiles; ++t) expected += element(t * tile_len + i) * element(t * tile_len + tile_len - 1 - i);
    if (sums[i] != expected) return false;
  }
  return true;
}

TEST(cp_async, a_right_pipeline_is_right_under_every_schedule) {
  rapt_test::under_every_schedule([] { EXPECT_TRUE(is_right<mistake::none>()); });
}
TEST(cp_async, waiting_for_too_few_groups_is_caught) { EXPECT_TRUE(rapt_test::caught_by_some_schedule(is_right<mistake::waits_for_too_few_groups>)); }
TEST(cp_async, reading_without_waiting_is_caught) { EXPECT_TRUE(rapt_test::caught_by_some_schedule(is_right<mistake::no_wait>)); }
TEST(cp_async, a_forgotten_commit_is_caught) { EXPECT_TRUE(rapt_test::caught_by_some_schedule(is_right<mistake::no_commit>)); }
TEST(cp_async, reading_other_threads_copies_without_a_barrier_is_caught) {
  EXPECT_TRUE(rapt_test::caught_by_some_schedule(is_right<mistake::no_barrier_before_reading>));
}
TEST(cp_async, overwriting_a_stage_that_others_read_is_caught) {
  EXPECT_TRUE(rapt_test::caught_by_some_schedule(is_right<mistake::no_barrier_after_reading>));
}
TEST(cp_async, loading_into_the_stage_that_is_read_is_caught) { EXPECT_TRUE(rapt_test::caught_by_some_schedule(is_right<mistake::one_stage>)); }
TEST(cp_async, a_tail_without_zero_fill_is_caught) { EXPECT_TRUE(rapt_test::caught_by_some_schedule(is_right<mistake::reads_beyond_the_end>)); }

RAPT_KERNEL(1, 1) copy_one(const float* from, std::uint32_t to) { simt::copy_async_16(to, from); }
TEST(cp_async, addresses_that_a_device_would_fault_on_are_errors) {
  alignas(16) const float x[8] = {};
  const auto copy = [&](const float* from, std::uint32_t to) { simt::launch<stages>(copy_one, {1}, 1, nullptr, from, to); };
  EXPECT_NO_THROW(copy(x + 4, sizeof(stages) - 16));
  EXPECT_THROW(copy(x + 1, 0), simt::emulator::emulator_error);
  EXPECT_THROW(copy(x, 8), simt::emulator::emulator_error);
  EXPECT_THROW(copy(x, sizeof(stages)), simt::emulator::emulator_error);
}

RAPT_KERNEL(1, 1) read_early(const float* from, float* seen) {
  auto& s = simt::shared<stages>();
  s.tile[0][0] = 5;
  simt::copy_async_16(simt::shared_address(&s.tile[0][0]), from);
  simt::commit_copies();
  seen[0] = s.tile[0][0];
  simt::wait_for_copies<0>();
  seen[1] = s.tile[0][0];
}
TEST(cp_async, a_destination_is_nan_from_the_issue_until_its_copy_lands) {
  const simt::emulator::scoped_device late(simt::emulator::schedules[1]);
  alignas(16) const float x[4] = {7};
  float seen[2];
  simt::launch<stages>(read_early, {1}, 1, nullptr, x, seen);
  EXPECT_NE(seen[0], seen[0]);
  EXPECT_EQ(seen[1], 7);
}

}  // namespace
