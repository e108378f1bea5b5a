#include <rapt/attention/config.hpp>
#include <rapt/ops/attend.hpp>
#include <rapt/ops/score_check.hpp>

namespace rapt {
inline namespace v0 {
namespace {

failure wrong(const char* field, index_t came, const std::string& needed) {
  return {errc::config, std::string("attention_config: ") + field + " is " + std::to_string(came) + "; " + needed + " is needed"};
}

attention_config with_default_extents(attention_config c) {
  if (c.num_kv_heads == 0) c.num_kv_heads = c.num_heads;
  if (c.head_dim == 0 && c.num_heads > 0 && c.model_dim % c.num_heads == 0) c.head_dim = c.model_dim / c.num_heads;
  if (c.value_dim == 0) c.value_dim = c.head_dim;
  if (c.output_dim == 0) c.output_dim = c.model_dim;
  return c;
}
}  // namespace

failure check(const attention_config& config) {
  const attention_config c = with_default_extents(config);
  struct {
    const char* name;
    index_t extent;
  } const extents[] = {{"model_dim", c.model_dim}, {"num_heads", c.num_heads}, {"num_kv_heads", c.num_kv_heads},
                       {"head_dim", c.head_dim},   {"value_dim", c.value_dim}, {"output_dim", c.output_dim}};
  for (const auto& [name, extent] : extents)
    if (extent < 1) return wrong(name, extent, "at least 1");
  if (c.num_heads % c.num_kv_heads != 0) return wrong("num_kv_heads", c.num_kv_heads, "a divisor of num_heads " + std::to_string(c.num_heads));
  for (const index_t width : {c.head_dim, c.value_dim})
    for (const index_t depth : {c.model_dim, c.output_dim}) {
      index_t bytes = 0;
      if (!multiply_fits(c.num_heads, width, bytes) || !multiply_fits(bytes, depth, bytes) || !multiply_fits(bytes, 64, bytes))
        return wrong("num_heads", c.num_heads,
                     "weights within 2^63 bytes, with width " + std::to_string(width) + " and depth " + std::to_string(depth) + ",");
    }
  if (failure f = check_score_options("attention_config", c.softmax_scale, c.window, c.softcap, c.dropout_p)) return f;
  if (c.qk_norm && !(c.qk_norm->eps >= 0 && c.qk_norm->eps <= 1e300))
    return {errc::config, "attention_config: qk_norm.eps is " + std::to_string(c.qk_norm->eps) + "; a finite number of at least 0 is needed"};
  if (c.rope)
    if (failure f = check(*c.rope, c.head_dim)) return f;
  if (c.kv_dtype && !is_floating(*c.kv_dtype))
    return {errc::config, "attention_config: kv_dtype is " + std::string(name_of(*c.kv_dtype)) + "; f64, f32, bf16 or f16 is needed"};
  return {};
}

attention_config resolve(const attention_config& config) {
  raise_if(check(config));
  attention_config c = with_default_extents(config);
  if (!c.softmax_scale) c.softmax_scale = default_softmax_scale(c.head_dim);
  if (c.rope && c.rope->dim == 0) c.rope->dim = c.head_dim;
  return c;
}

}  // namespace v0
}  // namespace rapt
