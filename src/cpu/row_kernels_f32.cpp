// Row passes with float accumulators.
#include <cpu/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/row_kernels_f32.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cpu/softmax-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace rapt {
inline namespace v0 {
namespace cpu {
namespace HWY_NAMESPACE {
row_kernels<float> row_kernels_f32_table() {
  row_kernels<float> k;
  k.load = load<float>, k.store = store<float>, k.transpose = transpose<float>;
  k.scale_query = scale_query<float>, k.multiply = multiply<float>, k.add = add<float>;
  k.softcap = softcap<float>, k.alibi = alibi<float>, k.add_scaled = add_scaled<float>;
  k.mask_and_max = mask_and_max<float>, k.finite_bits = finite_bits<float>, k.exp_and_sum = exp_and_sum<float>, k.merge = merge<float>;
  k.norm = norm<float>, k.rotate = rotate<float>;
  return k;
}
}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace v0
}  // namespace rapt
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <rapt/cpu/context.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {
row_kernels<float> row_kernels_f32(isa set) {
  switch (set) {
    case isa::avx2:
      return N_AVX2::row_kernels_f32_table();
    case isa::avx3:
    case isa::avx3_dl:
      return N_AVX3::row_kernels_f32_table();
    default:
      return HWY_STATIC_DISPATCH(row_kernels_f32_table)();
  }
}
}  // namespace cpu
}  // namespace v0
}  // namespace rapt
#endif
