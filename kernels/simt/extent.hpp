// What the device's and the emulator's side of simt.hpp have in common.
#pragma once
#include <cstdint>

// CUDA's names of what streams and events point to; the emulated device has its own of them.
struct CUstream_st;
struct CUevent_st;

namespace rapt {
inline namespace v0 {
namespace simt {

/// Blocks of a grid, or one of them.
struct index3 {
  unsigned x = 1, y = 1, z = 1;
};

using stream = CUstream_st*;  // null: the default stream

constexpr unsigned warp_size = 32;
constexpr std::uint32_t all_lanes = 0xffffffffu;

}  // namespace simt
}  // namespace v0
}  // namespace rapt
