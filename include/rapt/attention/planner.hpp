// What a call will take and do, before it is made.
#pragma once
#include <rapt/attention/forward.hpp>

namespace rapt {
inline namespace v0 {

/// A forward to plan: its extents and where its keys and values come from.
struct forward_shape {
  index_t batch = 1;   ///< batch rows, or sequences of a step
  index_t q_len = 1;   ///< rows of each
  index_t kv_len = 0;  ///< keys that each row may see, its own included; default q_len
  source_kind source = source_kind::self;
  dtype weights = dtype::f32;  ///< of the weights as given
  bool first_head_only = false;
  index_t num_chunks = 1;
  index_t page_len = 64;   ///< of the cache: append and step
  bool positions = false;  ///< explicit ones: forward_options.positions, or of tokens in the cache
};

struct explanation {
  std::string backend;           ///< "cpu"
  std::string instruction_set;   ///< "avx2"; "portable (slow: no FMA hardware is used)"
  std::string numerics;          ///< "cpu-v1"
  std::string attention_kernel;  ///< how rows and keys are cut into work
  int num_workers = 1;
  std::size_t workspace_bytes = 0;
  std::size_t weight_bytes = 0;
  std::size_t kv_bytes_per_token = 0;  ///< of one layer, as stored
  std::size_t kv_bytes_read = 0;       ///< keys and values that this call's attention reads from memory, each once per KV head
  /// A few lines for people.
  RAPT_API std::string text() const;
};

namespace detail {
/// A module of shapes alone. `config` as resolve_module gives it.
RAPT_API forward_module plan_module(const attention_config& config, dtype activations, dtype weights);
/// Checks a shape: config_error naming the field.
RAPT_API void check_shape(const forward_shape& shape);
/// Rows of a planned step. `pages` has one entry per sequence that stands for any page.
RAPT_API std::vector<sequence_rows> plan_step_rows(const forward_shape& shape);
RAPT_API explanation explain_bytes(const forward_module& module, const forward_shape& shape);

/// A module of shapes alone that could be made here.
template <activation T, class Context>
forward_module plan_module_of(Context& ctx, const attention_config& config, const forward_shape& shape) {
  check_shape(shape);
  return plan_module(resolve_module(ctx, config, dtype_of<T>), dtype_of<T>, shape.weights);
}

template <class Backend>
std::size_t measure_forward(typename Backend::context& ctx, const forward_module& module, const forward_shape& shape) {
  forward_call call;
  call.x.type = call.y.type = module.activations;
  call.x.batch = call.y.batch = shape.batch, call.x.len = call.y.len = shape.q_len;
  call.x.dim = module.config.model_dim, call.y.dim = module.config.output_dim;
  call.x.len_stride = call.x.dim, call.x.batch_stride = call.x.dim * call.x.len;
  call.y.len_stride = call.y.dim, call.y.batch_stride = call.y.dim * call.y.len;
  operand x_kv = call.x;
  x_kv.len = shape.kv_len == 0 ? shape.q_len : shape.kv_len;
  forward_options options;
  options.num_chunks = shape.num_chunks;
  forward_kv kv;
  kv.kv_len = x_kv.len;
  kv.first_head_only = shape.source == source_kind::cross && shape.first_head_only;
  std::vector<sequence_rows> rows;
  if (shape.source == source_kind::append || shape.source == source_kind::step) {
    rows = plan_step_rows(shape);
    kv.layout = kv_layout(module.config, module.config.num_kv_heads, shape.page_len);
    kv.step_rows = rows.data(), kv.num_sequences = shape.batch;
  } else if (shape.source == source_kind::stored || (shape.source == source_kind::store && !shape.first_head_only)) {
    kv.layout =
        kv_layout(module.config, shape.first_head_only ? 1 : module.config.num_kv_heads, std::max(lane_group, round_up(kv.kv_len, lane_group)));
  }
  // Nothing reads them where it measures.
  const std::vector<index_t> positions(shape.positions ? static_cast<std::size_t>(shape.q_len) : 0);
  if (kv.step_rows == nullptr)
    options.positions = positions;
  else if (shape.positions)
    kv.layout.positions = positions.data();
  workspace measuring;
  run_forward<Backend>(ctx, module, call, options, x_kv, shape.source, kv, measuring);
  return measuring.peak_bytes();
}
}  // namespace detail

/// Work memory that such a forward takes from its context: exact, where a step's sequences bring as many rows each. A smaller one
/// may take more, where keys of few rows are divided among workers. Throws config_error.
template <activation T, class Context>
std::size_t workspace_bytes(Context& ctx, const attention_config& config, const forward_shape& shape) {
  return detail::measure_forward<backend_of<Context>>(ctx, detail::plan_module_of<T>(ctx, config, shape), shape);
}

/// Which kernel, which numerics, which bytes.
template <activation T, class Context>
explanation explain(Context& ctx, const attention_config& config, const forward_shape& shape) {
  const detail::forward_module module = detail::plan_module_of<T>(ctx, config, shape);
  explanation e = detail::explain_bytes(module, shape);
  e.backend = backend_of<Context>::name;
  e.numerics = module.config.numerics;
  e.instruction_set = ctx.describe();
  e.num_workers = ctx.num_workers();
  e.workspace_bytes = detail::measure_forward<backend_of<Context>>(ctx, module, shape);
  std::vector<sequence_rows> rows = detail::plan_step_rows(shape);
  for (sequence_rows& r : rows) r.kv_len += r.num_rows;  // as attend has them
  attend_params p;
  p.accumulator = accumulator_of(dtype_of<T>);
  p.q.len = shape.q_len * shape.batch, p.q.heads = module.config.num_heads, p.q.dim = module.config.head_dim;
  p.out.dim = module.config.value_dim;
  p.kv = kv_layout(module.config, module.config.num_kv_heads, shape.page_len);
  p.num_kv_heads = module.config.num_kv_heads;
  set_numerics(p, module.config.numerics);
  p.window_left = module.config.window.left.value_or(no_window);
  p.window_right = module.config.causal ? 0 : module.config.window.right.value_or(no_window);
  p.softcap = module.config.softcap.value_or(0);
  p.alibi_slopes = module.alibi.empty() ? nullptr : module.alibi.data();
  p.sequences = rows.data(), p.num_sequences = shape.batch;
  e.attention_kernel = backend_of<Context>::describe_attend(ctx, p);
  return e;
}

}  // namespace v0
}  // namespace rapt
