#include <rapt/core/numerics.hpp>
#include <rapt/ops/attend.hpp>
#include <rapt/ops/score_check.hpp>

#include <cmath>

#include <core/float_environment.hpp>

namespace rapt {
inline namespace v0 {
namespace {
constexpr const char* function = "attend";

failure check_per_head(const char* name, std::size_t count, index_t num_heads) {
  if (count == 0 || static_cast<index_t>(count) == num_heads) return {};
  return {errc::shape, std::string(function) + ": " + name + " has " + std::to_string(count) + " entries; one for each of " +
                           std::to_string(num_heads) + " heads is needed"};
}
}  // namespace

double default_softmax_scale(index_t head_dim) {
  const float_environment environment;
  return 1.0 / std::sqrt(static_cast<double>(head_dim));
}

failure check_attend(const attend_operands& call, const attend_options& options) {
  const auto [q, k, v, out, lse] = call;
  if (failure f = check_input({function, "q"}, q, {})) return f;
  if (failure f = check_input({function, "k"}, k, {.batch = q.batch, .dim = q.dim})) return f;
  if (failure f = check_input({function, "v"}, v, {.batch = q.batch, .len = k.len, .heads = k.heads})) return f;
  if (failure f = check_output({function, "out"}, out, {q.batch, q.len, q.heads, v.dim})) return f;
  if (q.dim < 1 || v.dim < 1 || q.heads < 1 || k.heads < 1)
    return {errc::shape, std::string(function) + ": heads and dim must be at least 1; q has " + std::to_string(q.heads) + " x " +
                             std::to_string(q.dim) + ", v has " + std::to_string(v.heads) + " x " + std::to_string(v.dim)};
  if (q.heads % k.heads != 0)
    return {errc::shape,
            std::string(function) + ": k has " + std::to_string(k.heads) + " heads; a divisor of q's " + std::to_string(q.heads) + " is needed"};
  if (lse.heads != 0 && lse.dim != 0) {
    if (failure f = check_output({function, "lse"}, lse, {q.batch, q.len, q.heads, 1})) return f;
    for (const auto& [name, in] : {std::pair{"q", q}, {"k", k}, {"v", v}, {"out", out}})
      if (failure f = check_disjoint({function, "lse"}, lse, name, in)) return f;
  }
  for (const auto& [name, in] : {std::pair{"q", q}, {"k", k}, {"v", v}})
    if (failure f = check_disjoint({function, "out"}, out, name, in)) return f;
  if (failure f = check_score_options(function, options.softmax_scale, options.window, options.softcap, options.dropout_p)) return f;
  if (failure f = check_per_head("alibi_slopes", options.alibi_slopes.size(), q.heads)) return f;
  if (failure f = check_per_head("sink_logits", options.sink_logits.size(), q.heads)) return f;
  if (failure f = check_kv_lens(function, options.kv_lens, q.batch, k.len)) return f;
  if (options.mask.rank() == 2)
    return {errc::shape, std::string(function) + ": mask has rank 2; [batch | 1, heads | 1, q_len | 1, kv_len] is needed"};
  if (failure f = check_mask(function, options.mask, {q.batch, q.heads, q.len, k.len}, accumulator_of(q.type))) return f;
  if (failure f = check_positions({function, "q_positions"}, options.q_positions, {q.len, q.batch * q.len})) return f;
  return check_positions({function, "k_positions"}, options.k_positions, {k.len});
}

namespace detail {
attend_params make_attend_params(const attend_operands& call, const attend_options& options, std::string_view numerics, sequence_rows* sequences) {
  const auto [q, k, v, out, lse] = call;
  attend_params p;
  p.accumulator = accumulator_of(q.type);
  p.q = q, p.k = k, p.v = v, p.out = out, p.lse = lse;
  p.sequences = sequences, p.num_sequences = q.batch;
  const bool shared_positions = static_cast<index_t>(options.q_positions.size()) == q.len;
  for (index_t b = 0; b < q.batch; ++b) {
    sequence_rows& s = sequences[b] = {};
    s.first_row = b * q.len, s.num_rows = q.len, s.kv_batch = b, s.kv_len = k.len;
    s.visible_len = options.kv_lens.empty() ? k.len : options.kv_lens[static_cast<std::size_t>(b)];
    s.first_position = k.len - q.len;
    if (!options.q_positions.empty()) s.positions = options.q_positions.data() + (shared_positions ? 0 : b * q.len);
    s.mask_batch = b;
    s.dropout_sequence = b;
  }
  p.k_positions = options.k_positions.empty() ? nullptr : options.k_positions.data();
  p.num_kv_heads = k.heads;
  set_numerics(p, numerics);
  p.softmax_scale = options.softmax_scale.value_or(default_softmax_scale(q.dim));
  p.softcap = options.softcap.value_or(0);
  p.alibi_slopes = options.alibi_slopes.empty() ? nullptr : options.alibi_slopes.data();
  p.sink_logits = options.sink_logits.empty() ? nullptr : options.sink_logits.data();
  const window_sides sides = sides_of(options.window, options.causal);
  p.window_left = sides.left, p.window_right = sides.right;
  p.mask = options.mask.params();
  if (options.dropout && options.dropout_p > 0)
    p.dropout_p = options.dropout_p, p.dropout_seed = options.dropout->seed, p.dropout_offset = options.dropout->offset;
  return p;
}
}  // namespace detail

}  // namespace v0
}  // namespace rapt
