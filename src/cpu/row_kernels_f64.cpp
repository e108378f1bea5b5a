// Row passes with double accumulators.
#include <cpu/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/row_kernels_f64.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cpu/softmax-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace rapt {
inline namespace v0 {
namespace cpu {
namespace HWY_NAMESPACE {
row_kernels<double> row_kernels_f64_table() {
  row_kernels<double> k;
  k.load = load<double>, k.store = store<double>, k.transpose = transpose<double>;
  k.scale_query = scale_query<double>, k.multiply = multiply<double>, k.add = add<double>;
  k.softcap = softcap<double>, k.alibi = alibi<double>, k.add_scaled = add_scaled<double>;
  k.mask_and_max = mask_and_max<double>, k.finite_bits = finite_bits<double>, k.exp_and_sum = exp_and_sum<double>, k.merge = merge<double>;
  k.norm = norm<double>, k.rotate = rotate<double>;
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
row_kernels<double> row_kernels_f64(isa set) {
  switch (set) {
    case isa::avx2:
      return N_AVX2::row_kernels_f64_table();
    case isa::avx3:
    case isa::avx3_dl:
      return N_AVX3::row_kernels_f64_table();
    default:
      return HWY_STATIC_DISPATCH(row_kernels_f64_table)();
  }
}
}  // namespace cpu
}  // namespace v0
}  // namespace rapt
#endif
