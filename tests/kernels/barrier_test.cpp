// Barriers for some threads: what they order, and what of their use is an error.
#include <bench/gpu/hopper_probes.hpp>
#include <tests/kernels/schedules.hpp>

namespace {

using namespace rapt_bench;
using simt::emulator::emulator_error;

TEST(named_barrier, halves_of_a_block_take_turns) {
  std::uint32_t expected = 1;
  for (std::uint32_t turn = 0; turn < 10; ++turn) expected = (expected * 3 + turn) * 5 + turn;
  rapt_test::under_every_schedule([&] {
    std::vector<std::uint32_t> out(128);
    simt::launch<turns_storage>(take_turns, {1}, 128, nullptr, out.data());
    for (const std::uint32_t x : out) ASSERT_EQ(x, expected + 1000);
  });
}

template <int Id>
RAPT_KERNEL(64, 1)
come(unsigned of_first_warp, unsigned of_second_warp) {
  simt::sync_named<Id>(simt::warp_idx() == 0 ? of_first_warp : of_second_warp);
}
TEST(named_barrier, numbers_that_can_not_be_are_errors) {
  const auto launch = [](auto kernel, unsigned first, unsigned second) { simt::launch<simt::no_storage>(kernel, {1}, 64, nullptr, first, second); };
  EXPECT_NO_THROW(launch(come<1>, 64, 64));
  EXPECT_THROW(launch(come<0>, 64, 64), emulator_error);
  EXPECT_THROW(launch(come<16>, 64, 64), emulator_error);
  EXPECT_THROW(launch(come<1>, 40, 40), emulator_error);
  EXPECT_THROW(launch(come<1>, 96, 96), emulator_error);
  EXPECT_THROW(launch(come<1>, 64, 32), emulator_error);
}
RAPT_KERNEL(64, 1) arrive_alone() {
  if (simt::warp_idx() == 0) simt::arrive_named<1>(64);
}
TEST(named_barrier, an_arrival_that_nobody_waited_for_is_an_error) {
  EXPECT_THROW(simt::launch<simt::no_storage>(arrive_alone, {1}, 64, nullptr), emulator_error);
}

struct ring {
  simt::phase_barrier full, empty, third;
  std::uint32_t word;
};
/// One thread hands words to all others, one at a time, through phases that come again and again.
RAPT_KERNEL(96, 1) hand_over(std::uint32_t* out) {
  auto& s = simt::shared<ring>();
  if (simt::thread_idx() == 0) {
    simt::init_barrier(s.full, 1);
    simt::init_barrier(s.empty, 95);
  }
  simt::sync_threads();
  std::uint32_t sum = 0;
  for (unsigned i = 0; i < 7; ++i) {
    if (simt::thread_idx() == 0) {
      simt::wait(s.empty, (i & 1) ^ 1);
      s.word = i * i + 1;
      simt::arrive(s.full);
    } else {
      simt::wait(s.full, i & 1);
      sum = sum * 7 + s.word;
      simt::arrive(s.empty);
    }
  }
  out[simt::thread_idx()] = sum;
}
TEST(phase_barrier, phases_order_who_writes_and_who_reads) {
  std::uint32_t expected = 0;
  for (std::uint32_t i = 0; i < 7; ++i) expected = expected * 7 + i * i + 1;
  rapt_test::under_every_schedule([&] {
    std::vector<std::uint32_t> out(96);
    simt::launch<ring>(hand_over, {1}, 96, nullptr, out.data());
    for (std::size_t i = 1; i < 96; ++i) ASSERT_EQ(out[i], expected);
  });
}

enum class misuse { none, not_initialised, one_arrival_too_many, not_fenced, bytes_missing, count_of_zero };
template <misuse Misuse>
RAPT_KERNEL(1, 1)
use_barrier(const RAPT_GRID_CONSTANT simt::tensor_map map) {
  struct storage {
    one_tile tile;
  };
  auto& s = simt::shared<storage>();
  if (Misuse != misuse::not_initialised) simt::init_barrier(s.tile.barrier, Misuse == misuse::count_of_zero ? 0 : 1);
  if (Misuse != misuse::not_fenced) simt::fence_barrier_init();
  simt::arrive_expecting(s.tile.barrier, tile_lines * 128 + (Misuse == misuse::bytes_missing ? 2 : 0));
  if (Misuse == misuse::one_arrival_too_many) simt::arrive(s.tile.barrier);
  simt::copy_tile(s.tile.elements, map, s.tile.barrier, 0, 0);
  simt::wait(s.tile.barrier, 0);
}
TEST(phase_barrier, misuse_is_an_error) {
  alignas(16) static const std::uint16_t data[64 * tile_lines] = {};
  simt::tensor_map map;
  rapt::raise_if(rapt::runtime::describe_tensor({data, 2, {64, tile_lines}, {64}, {64, tile_lines}}, map));
  const auto run = [&](auto kernel) { simt::launch<one_tile>(kernel, {1}, 1, nullptr, map); };
  EXPECT_NO_THROW(run(use_barrier<misuse::none>));
  EXPECT_THROW(run(use_barrier<misuse::not_initialised>), emulator_error);
  EXPECT_THROW(run(use_barrier<misuse::one_arrival_too_many>), emulator_error);
  EXPECT_THROW(run(use_barrier<misuse::not_fenced>), emulator_error);
  EXPECT_THROW(run(use_barrier<misuse::bytes_missing>), emulator_error);
  EXPECT_THROW(run(use_barrier<misuse::count_of_zero>), emulator_error);
}

RAPT_KERNEL(32, 1) count_elected(unsigned* count) {
  if (simt::is_elected()) ++*count;
}
TEST(warp, one_lane_is_elected) {
  rapt_test::under_every_schedule([] {
    unsigned count = 0;
    simt::launch<simt::no_storage>(count_elected, {1}, 32, nullptr, &count);
    EXPECT_EQ(count, 1u);
  });
}

}  // namespace
