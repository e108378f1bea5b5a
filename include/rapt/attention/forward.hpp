// The module's pipeline: project, rotate, append, attend, project. Types are erased; everything has been checked.
#pragma once
#include <rapt/attention/forward_call.hpp>
#include <rapt/attention/module_weights.hpp>

namespace rapt {
inline namespace v0 {
namespace detail {

/// What of a module the pipeline reads. A planner fills in shapes alone (data null) and measures.
struct forward_module {
  attention_config config;  ///< resolved, with numerics
  dtype activations = dtype::f32;
  packed_matrix q, k, v, out;
  norm_params q_norm, k_norm;
  rope_table rope;
  std::vector<double> alibi;
  std::vector<double> sinks;
};

/// Where keys and values of a piece of work are kept and read.
struct forward_kv {
  packed_kv layout;                          ///< not present: scratch of this call, laid out for kv_len
  packed_kv first_head;                      ///< store with first_head_only: head 0 goes here too; not present: not wanted
  index_t first_page = 0;                    ///< page of the chunk's first batch row
  index_t kv_len = 0;                        ///< keys per batch row (step: unused)
  bool first_head_only = false;              ///< project only head 0
  const sequence_rows* step_rows = nullptr;  ///< append and step: packed rows per sequence, kv_len as before the call
  index_t num_sequences = 0;                 ///< of step_rows
};

/// Rows first.. of a batch, for chunked calls.
inline operand batch_rows(operand o, index_t first, index_t count) {
  if (o.data != nullptr) o.data = static_cast<std::byte*>(o.data) + first * o.batch_stride * size_of(o.type);
  o.batch = count;
  return o;
}
/// Contiguous rows of accumulators in scratch.
inline operand scratch_rows(workspace& scratch, dtype type, index_t rows, index_t heads, index_t dim) {
  operand o;
  o.type = type, o.len = rows, o.heads = heads, o.dim = dim;
  o.head_stride = dim, o.len_stride = heads * dim;
  o.data = scratch.take<std::byte>(rows * heads * dim * size_of(type));
  return o;
}
/// [rows, heads, dim] as [rows, heads * dim].
inline operand joined_heads(operand o) {
  o.dim *= o.heads, o.heads = 1, o.head_stride = 0;
  return o;
}

/// One chunk of a batch, or all rows of a step.
template <class Backend>
class forward_pipeline {
 public:
  using context = typename Backend::context;
  forward_pipeline(context& ctx, const forward_module& module, const forward_call& call, const forward_options& options, const operand& x_kv,
                   source_kind kind)
      : ctx_(ctx),
        m_(module),
        c_(module.config),
        call_(call),
        options_(options),
        x_kv_(x_kv),
        kind_(kind),
        accumulator_(accumulator_of(module.activations)),
        tensor_cores_(uses_tensor_cores(module.config.numerics)) {}

  /// first_row: of the batch, where the call is cut into chunks.
  void run(workspace& scratch, forward_kv kv, index_t first_row, index_t num_rows) const {
    workspace::scope scope(scratch);
    const operand x = batch_rows(call_.x, first_row, num_rows), y = batch_rows(call_.y, first_row, num_rows);
    const operand x_kv = has_x_kv() ? batch_rows(x_kv_, first_row, num_rows) : x;
    const index_t kv_heads = kv.first_head_only ? 1 : c_.num_kv_heads;
    const bool makes_kv = kind_ != source_kind::stored;
    if (!makes_kv) kv.first_page = first_row;

    operand q = scratch_rows(scratch, accumulator_, x.rows(), c_.num_heads, c_.head_dim), rotated_q, k, v;
    if (makes_kv) {
      k = scratch_rows(scratch, accumulator_, x_kv.rows(), kv_heads, c_.head_dim);
      v = scratch_rows(scratch, accumulator_, x_kv.rows(), kv_heads, c_.value_dim);
      if (!kv.layout.present()) {
        kv.layout = kv_layout(c_, kv_heads, std::max(lane_group, round_up(kv.kv_len, lane_group)));
        kv.layout.base = scratch.take<std::byte>(kv_bytes(kv.layout, num_rows));
      } else {
        kv.first_page = first_row;
      }
    }
    project_inputs(scratch, x, x_kv, q, k, v);
    if (tensor_cores_) rotated_q = scratch_rows(scratch, m_.activations, x.rows(), c_.num_heads, c_.head_dim);
    // Rows that are both queries and keys are rotated together.
    const bool together = makes_kv && !has_x_kv();
    if (!together) rotate_queries(scratch, q, rotated_q, kv, x, first_row);
    if (makes_kv) append(scratch, kv, k, v, together ? q : operand{}, rotated_q, x_kv, first_row);
    if (tensor_cores_) q = rotated_q;
    const dtype attended_type = takes_rounded_operands(c_.numerics) ? m_.activations : accumulator_;
    const operand attended = scratch_rows(scratch, attended_type, x.rows(), c_.num_heads, c_.value_dim);
    attend(scratch, kv, q, attended, x, first_row);
    project_output(scratch, attended, x, y);
  }

 private:
  bool has_x_kv() const { return kind_ == source_kind::cross || kind_ == source_kind::store; }
  bool streams() const { return kind_ == source_kind::append || kind_ == source_kind::step; }

  void project_inputs(workspace& scratch, const operand& x, const operand& x_kv, const operand& q, const operand& k, const operand& v) const {
    const project_params::target targets[] = {{m_.q, q}, {first_columns(m_.k, k.heads * k.dim), k}, {first_columns(m_.v, v.heads * v.dim), v}};
    const std::span all(targets);
    if (kind_ != source_kind::stored && !has_x_kv()) return project(scratch, x, all);
    project(scratch, x, all.first(1));
    if (has_x_kv()) project(scratch, x_kv, all.last(2));
  }
  void project(workspace& scratch, const operand& x, std::span<const project_params::target> targets, const operand& residual = {}) const {
    project_params p{.accumulator = accumulator_, .x = x, .targets = targets, .residual = residual};
    set_numerics(p, c_.numerics);
    Backend::project(ctx_, p, scratch);
  }
  static packed_matrix first_columns(packed_matrix all, index_t columns) {
    all.columns = columns;
    return all;
  }

  /// One entry per sequence: rows of an operand with `len` rows in each batch row, or the step's.
  sequence_rows* rows_of_call(const forward_kv& kv, index_t batch, index_t len, index_t first_row) const {
    if (streams()) {
      sequence_rows* const rows = ctx_.sequences(kv.num_sequences);
      std::copy_n(kv.step_rows, kv.num_sequences, rows);
      return rows;
    }
    sequence_rows* const rows = ctx_.sequences(batch);
    for (index_t b = 0; b < batch; ++b) {
      rows[b] = {};
      rows[b].first_row = b * len, rows[b].num_rows = len;
      rows[b].kv_batch = kv.first_page + b;
      rows[b].mask_batch = rows[b].dropout_sequence = first_row + b;
    }
    return rows;
  }
  index_t num_sequences(const forward_kv& kv, index_t batch) const { return streams() ? kv.num_sequences : batch; }

  /// Positions of x's rows; `before` is the position of the first where none are given.
  void set_query_positions(const forward_kv& kv, sequence_rows* rows, const operand& x, index_t first_row) const {
    if (streams()) return;  // set by begin_step
    const bool shared = static_cast<index_t>(options_.positions.size()) == x.len;
    for (index_t b = 0; b < x.batch; ++b) {
      rows[b].first_position = kv.kv_len - x.len;
      if (!options_.positions.empty()) rows[b].positions = options_.positions.data() + (shared ? 0 : (first_row + b) * x.len);
    }
  }

  /// To `to`, or in place where it is no operand.
  void rotate_queries(workspace& scratch, const operand& q, const operand& to, const forward_kv& kv, const operand& x, index_t first_row) const {
    if (to.dim == 0 && m_.q_norm.weight == nullptr && m_.rope.dim == 0) return;
    sequence_rows* const rows = rows_of_call(kv, x.batch, x.len, first_row);
    set_query_positions(kv, rows, x, first_row);
    Backend::rotate(ctx_, {accumulator_, q, m_.q_norm, m_.rope.params(), rows, num_sequences(kv, x.batch), to}, scratch);
  }

  /// Keys and values, and the queries of the same rows where q is an operand: to `rotated_q`, or in place.
  void append(workspace& scratch, const forward_kv& kv, const operand& k, const operand& v, const operand& q, const operand& rotated_q,
              const operand& x_kv, index_t first_row) const {
    sequence_rows* const rows = rows_of_call(kv, x_kv.batch, x_kv.len, first_row);
    if (kind_ == source_kind::self) set_query_positions(kv, rows, x_kv, first_row);
    append_params p{accumulator_, k, v, m_.k_norm, m_.rope.params(), kv.layout, rows, num_sequences(kv, x_kv.batch), q, rotated_q, m_.q_norm};
    Backend::append(ctx_, p, scratch);
    if (!kv.first_head.present()) return;
    p.q = {};
    p.k.heads = p.v.heads = 1;
    p.kv = kv.first_head;
    for (index_t b = 0; b < x_kv.batch; ++b) rows[b].kv_batch = first_row + b;
    Backend::append(ctx_, p, scratch);
  }

  void attend(workspace& scratch, const forward_kv& kv, const operand& q, const operand& attended, const operand& x, index_t first_row) const {
    sequence_rows* const rows = rows_of_call(kv, x.batch, x.len, first_row);
    set_query_positions(kv, rows, x, first_row);
    attend_params p{.accumulator = accumulator_,
                    .q = q,
                    .out = attended,
                    .lse = options_.lse.present() ? batch_rows(options_.lse.get(), first_row, x.batch) : operand{},
                    .sequences = rows,
                    .num_sequences = num_sequences(kv, x.batch),
                    .kv = kv.layout,
                    .num_kv_heads = c_.num_kv_heads,
                    .softmax_scale = *c_.softmax_scale,
                    .softcap = c_.softcap.value_or(0),
                    .alibi_slopes = m_.alibi.empty() ? nullptr : m_.alibi.data(),
                    .sink_logits = m_.sinks.empty() ? nullptr : m_.sinks.data(),
                    .window_left = c_.window.left.value_or(no_window),
                    .window_right = c_.causal ? 0 : c_.window.right.value_or(no_window),
                    .mask = options_.mask.params()};
    set_numerics(p, c_.numerics);
    if (options_.dropout && c_.dropout_p > 0)
      p.dropout_p = c_.dropout_p, p.dropout_seed = options_.dropout->seed, p.dropout_offset = options_.dropout->offset;
    const bool packed_mask = options_.mask.rank() == 2;
    for (index_t s = 0; s < p.num_sequences; ++s) {
      if (streams()) {
        rows[s].mask_first_key = rows[s].kv_len;
        rows[s].mask_batch = packed_mask ? 0 : s;
        if (packed_mask) rows[s].mask_row = rows[s].mask_key = rows[s].first_row;
        rows[s].kv_len += rows[s].num_rows;
        rows[s].visible_len = rows[s].kv_len;
      } else {
        rows[s].kv_len = kv.kv_len;
        rows[s].visible_len = options_.kv_lens.empty() ? kv.kv_len : options_.kv_lens[static_cast<std::size_t>(first_row + s)];
      }
    }
    if (kind_ == source_kind::self && !options_.positions.empty()) {
      // Keys have their rows' positions: page b of the scratch is batch row b.
      const bool shared = static_cast<index_t>(options_.positions.size()) == x.len;
      p.kv.positions = options_.positions.data() + (shared ? 0 : first_row * x.len);
      p.kv.position_stride = shared ? 0 : x.len;
    }
    Backend::attend(ctx_, p, scratch);
  }

  void project_output(workspace& scratch, const operand& attended, const operand& x, const operand& y) const {
    const project_params::target target{m_.out, y};
    project(scratch, joined_heads(attended), {&target, 1}, options_.residual ? x : operand{});
  }

  context& ctx_;
  const forward_module& m_;
  const attention_config& c_;
  const forward_call& call_;
  const forward_options& options_;
  const operand& x_kv_;
  source_kind kind_;
  dtype accumulator_;
  bool tensor_cores_;
};

/// The whole call, chunk by chunk. With a measuring workspace nothing runs.
template <class Backend>
void run_forward(typename Backend::context& ctx, const forward_module& module, const forward_call& call, const forward_options& options,
                 const operand& x_kv, source_kind kind, const forward_kv& kv, workspace& scratch) {
  const forward_pipeline<Backend> pipeline(ctx, module, call, options, x_kv, kind);
  const bool streams = kind == source_kind::append || kind == source_kind::step;
  const index_t chunk = streams ? call.x.batch : std::max<index_t>(1, ceil_div(call.x.batch, options.num_chunks));
  for (index_t first = 0; first < call.x.batch; first += chunk) pipeline.run(scratch, kv, first, std::min(chunk, call.x.batch - first));
}

}  // namespace detail
}  // namespace v0
}  // namespace rapt
