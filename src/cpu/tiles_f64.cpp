// Register tiles for f64: double accumulation.
#include <cpu/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/tiles_f64.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cpu/tiles-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace rapt {
inline namespace v0 {
namespace cpu {
namespace HWY_NAMESPACE {
operand_kernels<double> tiles_f64_table() { return {dot<double, double>, values<double, double>}; }
}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace v0
}  // namespace rapt
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cpu/dispatch.hpp>
RAPT_DISPATCH(operand_kernels<double>, tiles_f64)
#endif
