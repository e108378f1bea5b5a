// Register tiles for keys, values and weights stored as f32.
#include <cpu/targets.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/tiles_f32.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cpu/tiles-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace rapt {
inline namespace v0 {
namespace cpu {
namespace HWY_NAMESPACE {
operand_kernels<float> tiles_f32_table() { return {dot<float, float>, values<float, float>}; }
}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace v0
}  // namespace rapt
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cpu/dispatch.hpp>
RAPT_DISPATCH(operand_kernels<float>, tiles_f32)
#endif
