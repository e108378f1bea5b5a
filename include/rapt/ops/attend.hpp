// The functional core: attention over tensors that the caller has, without a module or a cache.
#pragma once
#include <rapt/core/backend.hpp>
#include <rapt/core/operand_check.hpp>
#include <rapt/ops/mask.hpp>

namespace rapt {
inline namespace v0 {

struct attend_options {
  std::optional<double> softmax_scale = std::nullopt;  ///< multiplies q.k; default 1 / sqrt(head_dim); 0 and negative are legal
  bool causal = false;
  rapt::window window = {};
  std::optional<double> softcap = std::nullopt;  ///< cap * tanh(score / cap)
  std::span<const double> alibi_slopes = {};     ///< [num_heads]: score -= slope * |q_pos - k_pos|
  std::span<const double> sink_logits = {};      ///< [num_heads]: exp(sink) joins the denominator; lse is without it
  std::span<const index_t> kv_lens = {};         ///< [batch]: hides keys at or past it; moves no position
  attention_mask mask = {};
  /// [q_len] for all sequences or [batch * q_len]; default kv_len - q_len + i, which may be negative (such rows see nothing under causal).
  std::span<const index_t> q_positions = {};
  std::span<const index_t> k_positions = {};  ///< [kv_len]; default: the index
  double dropout_p = 0;                       ///< acts only where `dropout` is given
  std::optional<dropout_state> dropout = std::nullopt;
  std::string_view numerics = {};  ///< id of the order of operations; default the backend's
};

/// The operands of one attend call, types erased.
struct attend_operands {
  operand q, k, v, out, lse;  ///< lse.data null: not wanted
};

/// What attend would throw; nothing where it would run.
RAPT_API failure check_attend(const attend_operands& call, const attend_options& options);
/// 1 / sqrt(head_dim).
RAPT_API double default_softmax_scale(index_t head_dim);

namespace detail {
/// Parameters for a checked call under this id; `sequences` has room for q.batch entries.
RAPT_API attend_params make_attend_params(const attend_operands& call, const attend_options& options, std::string_view numerics,
                                          sequence_rows* sequences);

template <class Context>
void run_attend(Context& ctx, const attend_operands& call, const attend_options& options) {
  raise_if(check_attend(call, options));
  const attention_types types{call.q.type, call.k.type, call.q.dim, call.v.dim};
  const std::string_view numerics = options.numerics.empty() ? ctx.numerics(types) : options.numerics;
  raise_if(ctx.check_numerics("attend", numerics, types));
  if (call.q.rows() == 0) return;
  const attend_params params = make_attend_params(call, options, numerics, ctx.sequences(call.q.batch));
  run_in_workspace(ctx, [&](workspace& scratch) { backend_of<Context>::attend(ctx, params, scratch); });
}
}  // namespace detail

/// Attends each query to the visible keys and writes the weighted sum of values.
///
/// q    [batch, q_len, num_heads, head_dim], rotated, not scaled
/// k    [batch, kv_len, num_kv_heads, head_dim]; query head h reads head h / (num_heads / num_kv_heads)
/// v    [batch, kv_len, num_kv_heads, value_dim]
/// out  [batch, q_len, num_heads, value_dim]; +0 where no key is visible; may not overlap an input
/// Any non-negative strides on inputs. Throws shape_error or config_error before anything is written. Work memory does not grow with kv_len but for
/// few rows against many keys, where partial results are kept (docs/performance.md, "Memory").
/// Source: Milakov & Gimelshein 2018 (online softmax), in the fixed order of the numeric contract.
template <class Context, class T, class Space>
void attend(Context& ctx, std::type_identity_t<tensor_view<const T, 4, Space>> q, std::type_identity_t<tensor_view<const T, 4, Space>> k,
            std::type_identity_t<tensor_view<const T, 4, Space>> v, tensor_view<T, 4, Space> out, const attend_options& options = {}) {
  static_assert(activation<T> && std::same_as<Space, typename backend_of<Context>::space>, "operands lie in another memory space than the context's");
  detail::run_attend(ctx, {operand_of(q), operand_of(k), operand_of(v), operand_of(out), {}}, options);
}

/// The same, and the logarithm of each row's sum of exponentials.
/// lse  [batch, num_heads, q_len], natural log, without sinks; -inf where no key is visible
template <class Context, class T, class Space>
void attend(Context& ctx, std::type_identity_t<tensor_view<const T, 4, Space>> q, std::type_identity_t<tensor_view<const T, 4, Space>> k,
            std::type_identity_t<tensor_view<const T, 4, Space>> v, tensor_view<T, 4, Space> out,
            std::type_identity_t<tensor_view<accumulator_t<T>, 3, Space>> lse, const attend_options& options = {}) {
  static_assert(activation<T> && std::same_as<Space, typename backend_of<Context>::space>, "operands lie in another memory space than the context's");
  detail::run_attend(ctx, {operand_of(q), operand_of(k), operand_of(v), operand_of(out), lse_operand_of(lse)}, options);
}

}  // namespace v0
}  // namespace rapt
