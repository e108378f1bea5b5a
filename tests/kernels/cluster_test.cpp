#include <kernels/simt/cluster.hpp>
#include <kernels/simt/warp.hpp>
#include <tests/kernels/schedules.hpp>

#include <cmath>
#include <string>
#include <vector>

namespace {

namespace simt = rapt::simt;
using rapt_test::caught_by_some_schedule;
using rapt_test::complaint_of;
using rapt_test::under_every_schedule;

constexpr unsigned blocks = 4, threads = 64;

struct words {
  unsigned of_thread[threads];
};
enum class mistake { none, no_meeting_before, no_meeting_between, no_meeting_after, one_meeting_missed, not_waited_for };

/// Each block writes its rank, thread by thread, to the next block, and then reads what the block after that one has got.
template <mistake Mistake>
RAPT_KERNEL(threads, 1)
pass_on(unsigned* out) {
  auto& s = simt::shared<words>();
  const unsigned rank = simt::cluster_rank(), thread = simt::thread_idx();
  if (Mistake != mistake::no_meeting_before) simt::sync_cluster();
  simt::of_block(s, (rank + 1) % blocks).of_thread[thread] = rank * 100 + thread;
  if (Mistake != mistake::no_meeting_between && !(Mistake == mistake::one_meeting_missed && rank == 2)) simt::sync_cluster();
  out[simt::block_idx().x * threads + thread] = simt::of_block(s, (rank + 2) % blocks).of_thread[thread];
  if (Mistake == mistake::not_waited_for)
    simt::arrive_cluster();
  else if (Mistake != mistake::no_meeting_after)
    simt::sync_cluster();
}
template <mistake Mistake>
std::vector<unsigned> passed_on() {
  std::vector<unsigned> out(3 * blocks * threads);
  simt::launch_clusters<words>(pass_on<Mistake>, blocks, {3 * blocks}, threads, nullptr, out.data());
  return out;
}
std::vector<unsigned> expected() {
  std::vector<unsigned> out;
  for (unsigned b = 0; b < 3 * blocks; ++b)
    for (unsigned t = 0; t < threads; ++t) out.push_back((b % blocks + 1) % blocks * 100 + t);
  return out;
}

TEST(cluster, blocks_see_each_others_shared_memory) {
  under_every_schedule([] { EXPECT_EQ(passed_on<mistake::none>(), expected()); });
}
template <mistake Mistake>
bool is_caught() {
  return caught_by_some_schedule([] { return passed_on<Mistake>() == expected(); });
}
TEST(cluster, meetings_that_are_missing_are_noticed) {
  EXPECT_FALSE(is_caught<mistake::none>());
  EXPECT_TRUE(is_caught<mistake::no_meeting_before>());
  EXPECT_TRUE(is_caught<mistake::no_meeting_between>());
  EXPECT_TRUE(is_caught<mistake::no_meeting_after>());
  EXPECT_TRUE(is_caught<mistake::one_meeting_missed>());
  EXPECT_TRUE(is_caught<mistake::not_waited_for>());
}
TEST(cluster, says_what_is_wrong) {
  EXPECT_EQ(complaint_of([] { passed_on<mistake::no_meeting_before>(); }),
            "mapa: the cluster has not met yet: its blocks may not have begun (block (0, 0, 0), thread 0)");
  EXPECT_EQ(complaint_of([] { passed_on<mistake::not_waited_for>(); }),
            "block (0, 0, 0) has ended with arrivals at its cluster that were not waited for");
  const std::string what = complaint_of([] { passed_on<mistake::one_meeting_missed>(); });
  EXPECT_NE(what.find("deadlock in block (0, 0, 0)"), std::string::npos) << what;
  EXPECT_NE(what.find("thread 0 waits at barrier.cluster.wait"), std::string::npos) << what;
}

// What a block writes between its arrival and its waiting belongs to nobody: here to itself.
RAPT_KERNEL(threads, 1) work_meanwhile(unsigned* out) {
  auto& s = simt::shared<words>();
  simt::arrive_cluster();
  s.of_thread[simt::thread_idx()] = simt::cluster_rank();
  simt::wait_cluster();
  simt::sync_cluster();
  if (simt::thread_idx() == 0) out[simt::block_idx().x] = simt::of_block(s, blocks - 1 - simt::cluster_rank()).of_thread[threads - 1];
  simt::sync_cluster();
}
TEST(cluster, arriving_and_waiting_are_two_steps) {
  under_every_schedule([] {
    std::vector<unsigned> out(2 * blocks);
    simt::launch_clusters<words>(work_meanwhile, blocks, {2 * blocks}, threads, nullptr, out.data());
    EXPECT_EQ(out, (std::vector<unsigned>{3, 2, 1, 0, 3, 2, 1, 0}));
  });
}

RAPT_KERNEL(32, 1) wrong_rank() {
  simt::sync_cluster();
  simt::of_block(simt::shared<words>(), blocks).of_thread[0] = 1;
}
RAPT_KERNEL(32, 1) not_shared() {
  words own{};
  simt::sync_cluster();
  simt::of_block(own, 0).of_thread[0] = 1;
}
RAPT_KERNEL(32, 1) waits_alone() { simt::wait_cluster(); }
RAPT_KERNEL(32, 1) arrives_twice() {
  simt::arrive_cluster();
  simt::arrive_cluster();
}
RAPT_KERNEL(32, 1) nothing() {}
TEST(cluster, misuse_is_an_error) {
  const auto launch = [](void (*kernel)(), unsigned cluster, unsigned grid) {
    return complaint_of([&] { simt::launch_clusters<words>(kernel, cluster, {grid}, 32, nullptr); });
  };
  EXPECT_EQ(launch(wrong_rank, 4, 4), "mapa: the cluster has no block of this rank (block (3, 0, 0), thread 31)");
  EXPECT_EQ(launch(not_shared, 4, 4), "mapa: the address is outside the block's shared memory (block (3, 0, 0), thread 31)");
  EXPECT_EQ(launch(waits_alone, 1, 1), "barrier.cluster.wait: the thread has not arrived (block (0, 0, 0), thread 0)");
  EXPECT_EQ(launch(arrives_twice, 1, 1), "barrier.cluster.arrive: the thread has not waited for the meeting before (block (0, 0, 0), thread 0)");
  EXPECT_EQ(launch(nothing, 9, 9), "launch: the number of blocks of a cluster is 9; 1 to 8 is possible on sm_90");
  EXPECT_EQ(launch(nothing, 4, 6), "launch: grid x is 6, which is no whole clusters of 4");
  const simt::emulator::scoped_device older(simt::emulator::schedules[0], simt::emulator::sm_80);
  EXPECT_EQ(launch(nothing, 2, 2), "launch: the number of blocks of a cluster is 2; 1 to 1 is possible on sm_80");
}

}  // namespace
