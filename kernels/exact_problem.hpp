// What exact attention is asked: as attention_problem, but with accumulators A (float or double), operands of any floating type and everything that
// the CPU offers, in the CPU's order (docs/numerics.md, cpu-v1), whose bits it gives.
#pragma once
#include <kernels/any_elements.hpp>
#include <kernels/visibility.hpp>
#include <rapt/core/error.hpp>
#include <rapt/core/scale.hpp>

#include <cmath>
#include <string>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// What dropout counts for one sequence, in device memory.
struct dropout_sequence {
  std::uint64_t counter = 0;  ///< offset + number of the sequence
  int first_query = 0;        ///< number of its first query: kv_len - q_len, of all keys that exist, also of hidden ones
};

/// out = softmax(softmax_scale * q k^T + what is added) v, in the order of cpu-v1.
///
/// q   [.., num_heads, head_dim], rotated, not scaled, of any floating type; out [.., num_heads, value_dim], rounded once to its type; sequences
///     count rows of both as `operand` does.
/// lse accumulators; offset(row, head) addresses one, without sinks; data null: not wanted
/// k   [.., num_kv_heads, head_dim], v [.., num_kv_heads, value_dim], of any floating type: element (outer, row, head) lies at the operand's strides
///     of batch, len and heads. Without pages outer is the sequence's number and row its first_key + key. In pages outer is the page and row the
///     token in it.
/// Pointers are in device memory. `sequence::kv_len` counts keys that may be seen.
template <class A>
struct exact_attention_problem {
  operand q, k, v, out, lse;
  const sequence* sequences = nullptr;
  int num_sequences = 0;
  int num_heads = 0, num_kv_heads = 0, head_dim = 0, value_dim = 0;
  const std::int32_t* page_table = nullptr;  ///< the page of each page_len tokens of a sequence, from its first_key on; null: no pages
  int page_len = 0;                          ///< tokens, any number from 1
  double softmax_scale = 1;

  index_t window_left = no_window, window_right = no_window;  ///< q_pos - left <= k_pos <= q_pos + right, any side from 0; causal: right = 0
  heads_view<const index_t> q_positions;                      ///< explicit ones, by (sequence, row of q); data null: first_position + i
  heads_view<const index_t> k_positions;                      ///< explicit ones, by (outer, row) of k; data null: the key's index
  mask_view_of<A> mask;                                       ///< -inf hides
  double softcap = 0;                                         ///< 0: none
  const A* alibi_slopes_log2 = nullptr;                       ///< [num_heads]: slope * log2 e, multiplied in double, rounded once
  const A* sink_logits_log2 = nullptr;                        ///< [num_heads]: logit * log2 e likewise
  double dropout_p = 0;                                       ///< acts where > 0
  std::uint64_t dropout_seed = 0;
  const dropout_sequence* dropout_sequences = nullptr;  ///< [num_sequences]; needed where dropout_p > 0

  RAPT_DEVICE int group_size() const { return num_heads / num_kv_heads; }
};

/// What sizes grid and workspace of a launch. No sequence may have more queries or keys.
struct exact_limits {
  int max_q_len = 1, max_kv_len = 0;
};

/// Constants of scores: products and quotients of doubles, rounded once. And how keys and values can be read.
template <class A>
struct exact_constants {
  math::split_constant<A> scale;  ///< of queries
  A softcap_inner, softcap_outer, kept;
  bool k_by_four, v_by_four;
};
template <class A>
exact_constants<A> exact_constants_of(const exact_attention_problem<A>& p) {
  exact_constants<A> c{math::split_scale<A>(p.softmax_scale), A{0}, A{0}, static_cast<A>(1 - p.dropout_p), false, false};
  c.k_by_four = is_by_four(p.k.data, p.k.type, p.head_dim, p.k.dim_stride, {p.k.batch_stride, p.k.len_stride, p.k.head_stride});
  c.v_by_four = is_by_four(p.v.data, p.v.type, p.value_dim, p.v.dim_stride, {p.v.batch_stride, p.v.len_stride, p.v.head_stride});
  if (p.softcap > 0) c.softcap_inner = static_cast<A>(math::ln_2 / p.softcap), c.softcap_outer = static_cast<A>(p.softcap * math::log2_e);
  return c;
}

/// What attend_exact would throw, as far as the host can see.
template <class A>
failure check_exact_problem(const exact_attention_problem<A>& p, const exact_limits& limits) {
  const auto found = [](errc code, const std::string& what) { return failure{code, "attend_exact: " + what}; };
  const auto count = [](auto n) { return std::to_string(n); };
  if (p.num_sequences < 0) return found(errc::shape, "num_sequences is " + count(p.num_sequences));
  if (limits.max_q_len < 0 || limits.max_kv_len < 0)
    return found(errc::shape, "max_q_len is " + count(limits.max_q_len) + ", max_kv_len " + count(limits.max_kv_len));
  if (p.num_kv_heads < 1 || p.num_heads < 1 || p.num_heads % p.num_kv_heads != 0)
    return found(errc::config, "num_heads is " + count(p.num_heads) + "; a multiple of num_kv_heads " + count(p.num_kv_heads) + " is needed");
  if (p.head_dim < 1 || p.value_dim < 1)
    return found(errc::config, "head_dim is " + count(p.head_dim) + ", value_dim " + count(p.value_dim) + "; 1 or more is needed");
  if (!std::isfinite(p.softmax_scale)) return found(errc::config, "softmax_scale is not finite");
  if (!std::isfinite(p.softcap) || p.softcap < 0) return found(errc::config, "softcap is neither positive nor 0");
  const auto is_side = [](index_t side) { return side == no_window || side >= 0; };
  if (!is_side(p.window_left) || !is_side(p.window_right))
    return found(errc::config, "window_left is " + count(p.window_left) + ", window_right " + count(p.window_right));
  if (p.mask.visible != nullptr && p.mask.added != nullptr) return found(errc::config, "two masks");
  if (!(p.dropout_p >= 0 && p.dropout_p < 1)) return found(errc::config, "dropout_p is " + count(p.dropout_p) + "; 0 to less than 1 is needed");
  if (p.num_sequences == 0 || limits.max_q_len == 0) return {};
  if (p.sequences == nullptr) return found(errc::shape, "sequences is null");
  if (p.dropout_p > 0 && p.dropout_sequences == nullptr) return found(errc::shape, "dropout_sequences is null");
  if (p.page_table != nullptr && p.page_len < 1) return found(errc::shape, "page_len is " + count(p.page_len));
  struct {
    const char* name;
    const operand& o;
    bool needed;
  } const operands[] = {{"q", p.q, true}, {"k", p.k, limits.max_kv_len > 0}, {"v", p.v, limits.max_kv_len > 0}, {"out", p.out, true}};
  for (const auto& [name, o, needed] : operands) {
    if (needed && o.data == nullptr) return found(errc::shape, std::string(name) + " is null");
    if (!is_floating(o.type)) return found(errc::shape, std::string(name) + " is " + std::string(name_of(o.type)) + "; a floating type is needed");
  }
  if (p.lse.data != nullptr && p.lse.type != dtype_of<A>)
    return found(errc::shape, "lse is " + std::string(name_of(p.lse.type)) + "; " + std::string(name_of(dtype_of<A>)) + " is needed");
  return {};
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
