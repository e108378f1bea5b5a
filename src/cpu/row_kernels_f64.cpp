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
row_kernels<double> row_kernels_f64_table() { return row_table<double>(); }
}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace v0
}  // namespace rapt
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cpu/dispatch.hpp>
RAPT_DISPATCH(row_kernels<double>, row_kernels_f64)
#endif
