// Values exchanged between the lanes of a warp.
#pragma once
#include <kernels/simt/simt.hpp>

#include <bit>
#include <cstring>

namespace rapt {
inline namespace v0 {
namespace simt {

#ifndef __CUDACC__
namespace emulator {
template <class T>
struct shuffle_operand {
  T value;
  unsigned source;
};
/// Each lane gets the value of its source lane. A source outside the mask leaves it with the poison that a device would not promise.
template <class T>
T exchange(std::uint32_t mask, const char* instruction, T value, unsigned source) {
  const shuffle_operand<T> in{value, source};
  T out;
  meet_warp(mask, instruction, &in, &out, [](const warp_operands& w) {
    for (unsigned lane = 0; lane < warp_size; ++lane) {
      if (w.in[lane] == nullptr) continue;
      const void* const from = w.in[static_cast<const shuffle_operand<T>*>(w.in[lane])->source % warp_size];
      if (from == nullptr)
        std::memset(w.out[lane], 0xff, sizeof(T));
      else
        std::memcpy(w.out[lane], &static_cast<const shuffle_operand<T>*>(from)->value, sizeof(T));
    }
  });
  return out;
}
}  // namespace emulator
#endif

/// The value of lane (own lane XOR lane_mask), for T of 32 or 64 bits. All lanes of `mask` take part.
template <class T>
RAPT_DEVICE T shuffle_xor(T value, unsigned lane_mask, std::uint32_t mask = all_lanes) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
#ifdef __CUDACC__
  return __shfl_xor_sync(mask, value, static_cast<int>(lane_mask));
#else
  return emulator::exchange(mask, "shuffle_xor", value, lane_idx() ^ lane_mask);
#endif
}

/// The value of lane `source`.
template <class T>
RAPT_DEVICE T shuffle(T value, unsigned source, std::uint32_t mask = all_lanes) {
  static_assert(sizeof(T) == 4);
#ifdef __CUDACC__
  return __shfl_sync(mask, value, static_cast<int>(source));
#else
  return emulator::exchange(mask, "shuffle", value, source);
#endif
}

/// A bit for each lane of the mask in which the predicate holds.
RAPT_DEVICE std::uint32_t ballot(bool predicate, std::uint32_t mask = all_lanes) {
#ifdef __CUDACC__
  return __ballot_sync(mask, predicate);
#else
  std::uint32_t votes = 0;
  emulator::meet_warp(mask, "ballot", &predicate, &votes, [](const emulator::warp_operands& w) {
    std::uint32_t all = 0;
    for (unsigned lane = 0; lane < warp_size; ++lane)
      if (w.in[lane] != nullptr && *static_cast<const bool*>(w.in[lane])) all |= 1u << lane;
    for (void* out : w.out)
      if (out != nullptr) *static_cast<std::uint32_t*>(out) = all;
  });
  return votes;
#endif
}

/// True in one lane of the warp, which of them is the hardware's choice. All lanes come together. sm_90.
RAPT_DEVICE bool is_elected() {
#ifdef __CUDACC__
  int elected;
  asm volatile("{ .reg .pred p; elect.sync _|p, 0xffffffff; selp.s32 %0, 1, 0, p; }" : "=r"(elected)::"memory");
  return elected != 0;
#else
  sync_warp();
  return lane_idx() == emulator::elected_lane(all_lanes);
#endif
}

/// The lowest lane of a ballot that is not empty.
RAPT_DEVICE int first_lane(std::uint32_t votes) {
#ifdef __CUDACC__
  return __ffs(static_cast<int>(votes)) - 1;
#else
  return std::countr_zero(votes);
#endif
}

}  // namespace simt
}  // namespace v0
}  // namespace rapt
