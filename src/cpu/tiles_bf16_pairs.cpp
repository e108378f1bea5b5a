// Register tiles that add two products of bf16 at a time, for cpu-bf16dot-v1. The AVX3 table holds vdpbf16ps and needs AVX512_BF16; the others do the
// same operations one by one.
#include <cpu/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/tiles_bf16_pairs.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cpu/rows-inl.hpp>
#include <cpu/tiles-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace rapt {
inline namespace v0 {
namespace cpu {
namespace HWY_NAMESPACE {
void narrow(float* p, index_t first, index_t last) {
  std::uint16_t* const to = static_cast<std::uint16_t*>(static_cast<void*>(p));
  for (index_t j = first / lane_group * lane_group, end = round_up(last, lane_group); j < end; j += num_lanes<float>) {
    const auto rounded = to_bf16_bits(tag<float>(), hn::LoadU(tag<float>(), p + j));
    hn::StoreU(rounded, hn::Rebind<std::uint16_t, tag<float>>(), to + j);
  }
}
void split_words(const float* words, index_t n, std::byte* to) {
  const hn::Rebind<std::uint32_t, tag<float>> u32;
  const hn::Rebind<std::uint16_t, tag<float>> u16;
  std::uint16_t* const halves = static_cast<std::uint16_t*>(static_cast<void*>(to));
  for (index_t i = 0; i < n * lane_group; i += num_lanes<float>) {
    const auto pairs = hn::BitCast(u32, hn::LoadU(tag<float>(), words + i));
    const index_t at = i / lane_group * 2 * lane_group + i % lane_group;
    hn::StoreU(hn::TruncateTo(u16, pairs), u16, halves + at);
    hn::StoreU(hn::TruncateTo(u16, hn::ShiftRight<16>(pairs)), u16, halves + at + lane_group);
  }
}
pair_kernels tiles_bf16_pairs_table() { return {{dot<float, bf16_pair>, values<float, bf16_pair>}, narrow, split_words}; }
}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace v0
}  // namespace rapt
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cpu/dispatch.hpp>
RAPT_DISPATCH(pair_kernels, tiles_bf16_pairs)
#endif
