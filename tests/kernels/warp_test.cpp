#include <kernels/simt/warp.hpp>
#include <tests/kernels/schedules.hpp>

#include <vector>

namespace {

namespace simt = rapt::simt;
using rapt_test::under_every_schedule;

RAPT_KERNEL(64, 1) exchange(const std::uint32_t* x, const unsigned* source, unsigned lane_mask, std::uint32_t* by_xor, std::uint32_t* by_idx) {
  const unsigned t = simt::thread_idx();
  by_xor[t] = simt::shuffle_xor(x[t], lane_mask);
  by_idx[t] = simt::shuffle(x[t], source[t]);
}
TEST(warp, shuffles_read_the_lane_they_name) {
  under_every_schedule([] {
    for (unsigned lane_mask = 0; lane_mask < 32; ++lane_mask) {
      std::vector<std::uint32_t> x(64), by_xor(64), by_idx(64);
      std::vector<unsigned> source(64);
      for (unsigned t = 0; t < 64; ++t) {
        x[t] = t * 2654435761u;
        source[t] = (t * 7 + lane_mask) % 32;
      }
      simt::launch<simt::no_storage>(exchange, {1}, 64, nullptr, x.data(), source.data(), lane_mask, by_xor.data(), by_idx.data());
      for (unsigned t = 0; t < 64; ++t) {
        ASSERT_EQ(by_xor[t], x[t ^ lane_mask]) << lane_mask << ' ' << t;
        ASSERT_EQ(by_idx[t], x[t / 32 * 32 + source[t]]) << lane_mask << ' ' << t;
      }
    }
  });
}

RAPT_KERNEL(32, 1) halves(std::uint32_t* votes, float* across) {
  const unsigned lane = simt::lane_idx();
  const std::uint32_t mask = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  votes[lane] = simt::ballot(lane % 3 == 0, mask);
  across[lane] = simt::shuffle_xor(1.0f, 16, mask);
}
TEST(warp, parts_of_a_warp_vote_for_themselves_and_do_not_see_other_lanes) {
  under_every_schedule([] {
    std::vector<std::uint32_t> votes(32);
    std::vector<float> across(32, 0);
    simt::launch<simt::no_storage>(halves, {1}, 32, nullptr, votes.data(), across.data());
    std::uint32_t thirds = 0;
    for (unsigned lane = 0; lane < 32; lane += 3) thirds |= 1u << lane;
    for (unsigned lane = 0; lane < 32; ++lane) {
      EXPECT_EQ(votes[lane], thirds & (lane < 16 ? 0x0000ffffu : 0xffff0000u));
      EXPECT_NE(across[lane], across[lane]) << "a lane outside the mask gives poison";
    }
  });
}

}  // namespace
