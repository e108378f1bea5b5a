// Under ThreadSanitizer threads of a block are threads to it: what nothing orders is a race. Each of these runs in a process of its own, because a
// race is reported at its end. In other builds there is nothing here.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RAPT_LOOKS_FOR_RACES 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define RAPT_LOOKS_FOR_RACES 1
#endif
#ifdef RAPT_LOOKS_FOR_RACES
#include <kernels/attend_decode_clusters.hpp>
#include <kernels/attend_hopper.hpp>
#include <kernels/attend_prefill.hpp>
#include <kernels/gather.hpp>
#include <kernels/repeat.hpp>
#include <tests/kernels/decode_rig.hpp>
#include <tests/kernels/schedules.hpp>

#include <cstdlib>
#include <vector>

namespace {

namespace simt = rapt::simt;

constexpr int race_was_reported = 66;  // ThreadSanitizer's exit status

template <class F>
[[noreturn]] void run_and_end(F f) {
  f();
  std::exit(0);
}
template <class F>
void expect_race(F f) {
  EXPECT_EXIT(run_and_end(f), testing::ExitedWithCode(race_was_reported), "data race");
}
template <class F>
void expect_no_race(F f) {
  EXPECT_EXIT(run_and_end(f), testing::ExitedWithCode(0), "");
}

enum class order { nothing, block, warp, named, phase };

struct handed_over {
  int word;
  simt::phase_barrier barrier;
};
/// Thread 0 writes, thread 5 reads: of the same warp, so that each kind of barrier can order them.
template <order By>
RAPT_KERNEL(64, 1)
hand_over(int* seen) {
  auto& s = simt::shared<handed_over>();
  if (simt::thread_idx() == 0) simt::init_barrier(s.barrier, 1);
  simt::sync_threads();
  if (simt::thread_idx() == 0) s.word = 7;
  if constexpr (By == order::block) simt::sync_threads();
  if constexpr (By == order::warp) simt::sync_warp();
  if constexpr (By == order::named) simt::sync_named<1>(64);
  if constexpr (By == order::phase) {
    if (simt::thread_idx() == 0) simt::arrive(s.barrier);
    simt::wait(s.barrier, 0);
  }
  if (simt::thread_idx() == 5) *seen = s.word;
}
template <order By>
void hand_over_once() {
  int seen = 0;
  simt::launch<handed_over>(hand_over<By>, {2}, 64, nullptr, &seen);
}
TEST(race, a_missing_barrier_between_two_threads_of_a_block_is_reported) { expect_race(hand_over_once<order::nothing>); }
TEST(race, every_kind_of_barrier_orders) {
  expect_no_race(hand_over_once<order::block>);
  expect_no_race(hand_over_once<order::warp>);
  expect_no_race(hand_over_once<order::named>);
  expect_no_race(hand_over_once<order::phase>);
}

/// A barrier that another warp does not take part in does not order it.
RAPT_KERNEL(64, 1) hand_over_to_another_warp(int* seen) {
  auto& s = simt::shared<handed_over>();
  if (simt::thread_idx() == 0) s.word = 7;
  simt::sync_warp();
  if (simt::thread_idx() == 40) *seen = s.word;
}
TEST(race, a_barrier_of_one_warp_does_not_order_another) {
  expect_race([] {
    int seen = 0;
    simt::launch<handed_over>(hand_over_to_another_warp, {1}, 64, nullptr, &seen);
  });
}
/// From one block of a cluster to another.
template <bool Meets>
RAPT_KERNEL(32, 1)
hand_over_in_a_cluster(int* seen) {
  auto& s = simt::shared<handed_over>();
  simt::sync_cluster();
  if (simt::cluster_rank() == 0 && simt::thread_idx() == 0) simt::of_block(s, 1).word = 7;
  if (Meets) simt::sync_cluster();
  if (simt::cluster_rank() == 1 && simt::thread_idx() == 5) *seen = s.word;
  simt::sync_cluster();
}
TEST(race, a_meeting_of_a_cluster_orders_its_blocks) {
  const auto launch = [](void (*kernel)(int*)) {
    int seen = 0;
    simt::launch_clusters<handed_over>(kernel, 2, {4}, 32, nullptr, &seen);
  };
  expect_no_race([&] { launch(hand_over_in_a_cluster<true>); });
  expect_race([&] { launch(hand_over_in_a_cluster<false>); });
}
RAPT_KERNEL(64, 1) write_the_same_word(int* word) { *word = static_cast<int>(simt::thread_idx()); }
TEST(race, two_threads_that_write_one_word_of_global_memory_are_reported) {
  expect_race([] {
    int word = 0;
    simt::launch<simt::no_storage>(write_the_same_word, {1}, 64, nullptr, &word);
  });
}

using rig = rapt_test::attention_rig<rapt::f16>;
const rapt_test::attention_shape small{.sequences = {{20, 70}}, .causal = true};

TEST(race, prefill_has_none) {
  expect_no_race([] {
    rig r(small);
    std::vector<std::max_align_t> states(rapt::kernels::prefill_workspace_bytes(r.problem, 1) / sizeof(std::max_align_t) + 1);
    unsigned counter = 0;
    rapt::kernels::attend_prefill(r.problem, states.data(), &counter, 1, nullptr);
  });
}
TEST(race, the_hopper_kernel_has_none) {
  expect_no_race([] {
    rig r({.sequences = {{20, 200}}, .causal = true});
    unsigned counter = 0;
    rapt::kernels::attend_hopper(r.problem, {20, 200}, &counter, 1, nullptr);
  });
}
TEST(race, decode_has_none) {
  expect_no_race([] {
    rig r({.sequences = {{2, 600}}, .num_heads = 2, .num_kv_heads = 1, .causal = true});
    rapt_test::decode_launcher<rapt::f16>(r).run(r, [](const auto& p, const auto& limits, const rapt::kernels::decode_memory& memory) {
      rapt::kernels::attend_decode(p, limits, memory, nullptr);
    });
  });
}
TEST(race, decode_by_clusters_has_none) {
  expect_no_race([] {
    rig r({.sequences = {{2, 600}}, .num_heads = 2, .num_kv_heads = 1, .head_dim = 96, .causal = true});
    rapt_test::decode_launcher<rapt::f16>(r).run(r, [](const auto& p, const auto& limits, const rapt::kernels::decode_memory& memory) {
      rapt::kernels::attend_decode_by_clusters(p, limits, memory, nullptr);
    });
  });
}
TEST(race, repeat_has_none) {
  expect_no_race([] {
    const std::vector<std::uint16_t> from(3 * 64);
    std::vector<std::uint16_t> to(6 * 64);
    rapt::kernels::repeat_heads(from.data(), to.data(), 3, 128, 2, nullptr);
  });
}
TEST(race, gather_has_none) {
  expect_no_race([] {
    const std::vector<std::uint16_t> from(3 * 64);
    const std::vector<rapt::index_t> rows{2, 0, 2, 1};
    std::vector<std::uint16_t> to(4 * 64);
    rapt::kernels::gather_rows(from.data(), to.data(), rows.data(), 4, 128, nullptr);
  });
}

}  // namespace
#endif
