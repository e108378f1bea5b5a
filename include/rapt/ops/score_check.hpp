// Checks of the options that act on scores; attend and the module share them.
#pragma once
#include <rapt/ops/mask.hpp>

namespace rapt {
inline namespace v0 {

/// softmax_scale finite; window sides and softcap in range; 0 <= dropout_p < 1. `who` opens the message: "attend" or "attention_config".
RAPT_API failure check_score_options(const char* who, const std::optional<double>& softmax_scale, const window& keys,
                                     const std::optional<double>& softcap, double dropout_p);

/// The extents that a mask must have; 1 broadcasts in the first three.
struct mask_shape {
  index_t batch, heads, rows, keys;
};
/// Shape, strides, dtype (additive masks: the accumulator's type).
RAPT_API failure check_mask(const char* function, const attention_mask& mask, const mask_shape& needed, dtype accumulator);

/// Joined with causal: the sides that kernels take.
struct window_sides {
  index_t left, right;
};
RAPT_API window_sides sides_of(const window& keys, bool causal);

}  // namespace v0
}  // namespace rapt
