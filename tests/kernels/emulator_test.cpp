#include <kernels/simt/simt.hpp>
#include <kernels/simt/warp.hpp>
#include <tests/kernels/schedules.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace {

namespace simt = rapt::simt;
using rapt_test::complaint_of;
using rapt_test::under_every_schedule;

RAPT_KERNEL(96, 1) who_am_i(unsigned* seen) {
  const simt::index3 b = simt::block_idx(), g = simt::grid_extent();
  seen[((b.z * g.y + b.y) * g.x + b.x) * 96 + simt::thread_idx()] += 1 + simt::lane_idx() + 32 * simt::warp_idx();
}
TEST(emulator, every_index_of_the_grid_runs_once) {
  under_every_schedule([] {
    std::vector<unsigned> seen(2 * 3 * 4 * 96);
    simt::launch<simt::no_storage>(who_am_i, {2, 3, 4}, 96, nullptr, seen.data());
    for (std::size_t i = 0; i < seen.size(); ++i) ASSERT_EQ(seen[i], 1 + i % 96) << i;
  });
}

RAPT_KERNEL(1, 1) note_order(unsigned* order, unsigned* count) { order[(*count)++] = simt::block_idx().x; }
TEST(emulator, blocks_run_in_the_order_of_the_schedule) {
  std::vector<std::vector<unsigned>> orders;
  for (const auto& s : rapt_test::all_schedules()) {
    const simt::emulator::scoped_device device(s);
    std::vector<unsigned> order(40);
    unsigned count = 0;
    simt::launch<simt::no_storage>(note_order, {40}, 1, nullptr, order.data(), &count);
    ASSERT_EQ(count, 40u);
    orders.push_back(order);
    std::sort(order.begin(), order.end());
    for (unsigned i = 0; i < 40; ++i) ASSERT_EQ(order[i], i);
  }
  EXPECT_TRUE(std::is_sorted(orders[0].begin(), orders[0].end()));
  EXPECT_TRUE(std::is_sorted(orders[1].rbegin(), orders[1].rend()));
  EXPECT_NE(orders[3], orders[0]);
  EXPECT_NE(orders[3], orders[4]);
}

struct two_words {
  float words[2];
};
RAPT_KERNEL(1, 1) read_shared(float* out) {
  auto& s = simt::shared<two_words>();
  out[simt::block_idx().x] = s.words[1];
  s.words[1] = 7;
}
TEST(emulator, shared_memory_of_every_block_begins_as_nan) {
  std::vector<float> out(2);
  simt::launch<two_words>(read_shared, {2}, 1, nullptr, out.data());
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_TRUE(std::isnan(out[1]));
}

RAPT_KERNEL(64, 1) end_before_barrier() {
  if (simt::thread_idx() != 33) simt::sync_threads();
}
TEST(emulator, a_thread_that_ends_before_a_barrier_is_reported_with_those_that_wait) {
  under_every_schedule([] {
    const std::string what = complaint_of([] { simt::launch<simt::no_storage>(end_before_barrier, {1}, 64, nullptr); });
    EXPECT_NE(what.find("deadlock in block (0, 0, 0)"), std::string::npos) << what;
    EXPECT_NE(what.find("thread 32 waits at sync_threads"), std::string::npos) << what;
    EXPECT_NE(what.find("thread 33 has ended"), std::string::npos) << what;
  });
}

RAPT_KERNEL(32, 1) barriers_apart() {
  if (simt::lane_idx() < 16)
    simt::sync_warp();
  else
    simt::sync_threads();
}
RAPT_KERNEL(32, 1) warp_without_a_lane() {
  if (simt::lane_idx() != 31) simt::ballot(true);
}
RAPT_KERNEL(32, 1) masks_apart() { simt::ballot(true, simt::lane_idx() < 16 ? 0xffffu : simt::all_lanes); }
TEST(emulator, lanes_that_wait_for_lanes_elsewhere_are_a_deadlock) {
  under_every_schedule([] {
    for (const auto kernel : {barriers_apart, warp_without_a_lane, masks_apart})
      EXPECT_NE(complaint_of([&] { simt::launch<simt::no_storage>(kernel, {1}, 32, nullptr); }).find("deadlock"), std::string::npos);
  });
}
RAPT_KERNEL(32, 1) not_in_own_mask() { simt::ballot(true, 0xfffffffeu); }
TEST(emulator, a_lane_outside_its_own_mask_is_an_error) {
  EXPECT_EQ(complaint_of([] { simt::launch<simt::no_storage>(not_in_own_mask, {1}, 32, nullptr); }),
            "ballot: the lane is not in its own mask (block (0, 0, 0), thread 0)");
}

TEST(emulator, launches_beyond_the_device_are_refused) {
  struct large {
    std::byte bytes[164 * 1024];
  };
  unsigned none = 0;
  const auto launch = [&](simt::index3 grid, unsigned threads) {
    return complaint_of([&] { simt::launch<simt::no_storage>(who_am_i, grid, threads, nullptr, &none); });
  };
  EXPECT_EQ(launch({1, 65536, 1}, 32), "launch: grid y is 65536; 1 to 65535 is possible on sm_90");
  EXPECT_EQ(launch({1, 1, 65536}, 32), "launch: grid z is 65536; 1 to 65535 is possible on sm_90");
  EXPECT_EQ(launch({0, 1, 1}, 32), "launch: grid x is 0; 1 to 2147483647 is possible on sm_90");
  EXPECT_EQ(launch({1}, 1025), "launch: the number of threads is 1025; 1 to 1024 is possible on sm_90");
  const simt::emulator::scoped_device older(simt::emulator::schedules[0], simt::emulator::sm_80);
  EXPECT_EQ(complaint_of([] { simt::launch<large>(barriers_apart, {1}, 32, nullptr); }),
            "launch: a block of 167936 bytes of shared memory; sm_80 has 166912");
}

RAPT_KERNEL(64, 1) throws_once() {
  if (simt::block_idx().x == 1 && simt::thread_idx() == 40) simt::emulator::fail("test", "thrown");
  simt::sync_threads();
}
TEST(emulator, after_an_error_the_next_launch_works) {
  under_every_schedule([] {
    EXPECT_EQ(complaint_of([] { simt::launch<simt::no_storage>(throws_once, {2}, 64, nullptr); }), "test: thrown (block (1, 0, 0), thread 40)");
    EXPECT_EQ(complaint_of([] { simt::launch<simt::no_storage>(throws_once, {1}, 64, nullptr); }), "none");
  });
}

// A sum over the block. Without the barrier thread 0 reads partial sums that are not there yet.
struct partial_sums {
  float of_warp[4];
};
template <bool WithBarrier>
RAPT_KERNEL(128, 1)
block_sum(const float* x, float* sum) {
  auto& s = simt::shared<partial_sums>();
  float v = x[simt::thread_idx()];
  for (unsigned mask = 16; mask > 0; mask /= 2) v += simt::shuffle_xor(v, mask);
  if (simt::lane_idx() == 0) s.of_warp[simt::warp_idx()] = v;
  if constexpr (WithBarrier) simt::sync_threads();
  if (simt::thread_idx() == 0) *sum = s.of_warp[0] + s.of_warp[1] + s.of_warp[2] + s.of_warp[3];
}
template <bool WithBarrier>
bool block_sum_is_right() {
  std::vector<float> x(128);
  float expected = 0, sum = -1;
  for (unsigned i = 0; i < 128; ++i) expected += x[i] = static_cast<float>(i * i % 97);
  simt::launch<partial_sums>(block_sum<WithBarrier>, {1}, 128, nullptr, x.data(), &sum);
  return sum == expected;
}
TEST(emulator, a_missing_barrier_is_caught) {
  under_every_schedule([] { EXPECT_TRUE(block_sum_is_right<true>()); });
  EXPECT_TRUE(rapt_test::caught_by_some_schedule(block_sum_is_right<false>));
}

}  // namespace
