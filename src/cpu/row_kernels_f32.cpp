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
row_kernels<float> row_kernels_f32_table() { return row_table<float>(); }
}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace v0
}  // namespace rapt
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cpu/dispatch.hpp>
RAPT_DISPATCH(row_kernels<float>, row_kernels_f32)
#endif
