#include <rapt/ops/score_check.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {
namespace {
bool is_finite(double x) { return x - x == 0; }
}  // namespace

failure check_score_options(const char* who, const std::optional<double>& softmax_scale, const window& keys, const std::optional<double>& softcap,
                            double dropout_p) {
  const auto wrong = [&](const char* field, const std::string& came, const char* needed) {
    return failure{errc::config, std::string(who) + ": " + field + " is " + came + "; " + needed + " is needed"};
  };
  if (softmax_scale && !is_finite(*softmax_scale)) return wrong("softmax_scale", std::to_string(*softmax_scale), "a finite number");
  if (keys.left && *keys.left < 0) return wrong("window.left", std::to_string(*keys.left), "0 or more");
  if (keys.right && *keys.right < 0) return wrong("window.right", std::to_string(*keys.right), "0 or more");
  if (softcap && !(*softcap > 0 && is_finite(*softcap))) return wrong("softcap", std::to_string(*softcap), "a finite number above 0");
  if (!(dropout_p >= 0 && dropout_p < 1)) return wrong("dropout_p", std::to_string(dropout_p), "at least 0 and below 1");
  return {};
}

failure check_mask(const char* function, const attention_mask& mask, const mask_shape& needed, dtype accumulator) {
  if (!mask.present()) return {};
  const auto wrong = [&](const std::string& rest) { return failure{errc::shape, std::string(function) + ": mask " + rest}; };
  if (mask.type() != dtype::boolean && mask.type() != accumulator)
    return wrong("has dtype " + std::string(name_of(mask.type())) + "; bool or " + std::string(name_of(accumulator)) + " is needed");
  const index_t extents[] = {needed.batch, needed.heads, needed.rows, needed.keys};
  bool empty = false;
  for (std::size_t i = 0; i < 4; ++i) {
    const index_t came = mask.extents()[i];
    empty |= came == 0;
    if (came == extents[i] || (i < 3 && came == 1)) continue;
    return wrong("has extent " + std::to_string(came) + " (dimension " + std::to_string(i) + " of [batch, heads, rows, keys]); " +
                 std::to_string(extents[i]) + (i < 3 ? " or 1" : "") + " is needed");
  }
  const mask_operand params = mask.params();
  for (const index_t stride : {params.batch_stride, params.head_stride, params.row_stride, params.key_stride})
    if (stride < 0) return wrong("has stride " + std::to_string(stride) + "; strides may not be negative");
  if (!empty && mask.data() == nullptr) return wrong("is null");
  return {};
}

window_sides sides_of(const window& keys, bool causal) {
  window_sides sides{keys.left.value_or(no_window), keys.right.value_or(no_window)};
  if (causal) sides.right = 0;
  return sides;
}

}  // namespace v0
}  // namespace rapt
