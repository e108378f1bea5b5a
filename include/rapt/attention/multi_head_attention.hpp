// The module: projections, positions, attention and the cache in one call.
#pragma once
#include <rapt/attention/forward.hpp>

namespace rapt {
inline namespace v0 {

/// Exact multi-head attention on activations of type T. Const and shareable between threads; each brings its own context.
///
/// forward takes x [batch, len, model_dim] or packed rows [rows, model_dim] and writes y [batch, len, output_dim] or [rows, output_dim]. Packed rows
/// are those of a step's sequences one after the other, or one sequence otherwise. The bits of a row depend on weights, config, that row and the keys
/// and values visible to it; not on batch, chunking, threads, paging or instruction set (docs/numerics.md).
template <activation T, class Backend = cpu::backend>
class multi_head_attention {
 public:
  using context = typename Backend::context;
  using space = typename Backend::space;
  using source = kv_source<T, Backend>;
  using input = tensor_view<const T, 3, space>;       // [batch, len, model_dim]
  using output = tensor_view<T, 3, space>;            // [batch, len, output_dim]
  using input_rows = tensor_view<const T, 2, space>;  // [rows, model_dim]
  using output_rows = tensor_view<T, 2, space>;       // [rows, output_dim]

  /// Packs the weights, which may go away afterwards. Throws config_error.
  multi_head_attention(context& ctx, const attention_config& config, const attention_weights& weights) {
    attention_config& c = module_.config;
    c = resolve_module(ctx, config, dtype_of<T>);
    weights_ = module_weights<Backend>(ctx, c, weights, dtype_of<T>);
    fingerprint_ = fingerprint_of(c, weights_.canonical(ctx, c));
    module_.activations = dtype_of<T>;
    module_.q = weights_.q.matrix(), module_.k = weights_.k.matrix(), module_.v = weights_.v.matrix(), module_.out = weights_.out.matrix();
    if (c.qk_norm) {
      module_.q_norm = {weights_.q_norm.matrix().data, c.qk_norm->eps};
      module_.k_norm = {weights_.k_norm.matrix().data, c.qk_norm->eps};
    }
    if (c.rope) module_.rope = make_rope_table(*c.rope, c.head_dim);
    if (c.alibi) module_.alibi = alibi_slopes(c.num_heads);
    module_.sinks = weights_.sinks;
  }

  /// y = attention(x). Throws before anything is written, and then output, cache and step are as before.
  void forward(context& ctx, input x, const source& kv, output y, const forward_options& options = {}) const {
    run(ctx, {operand_of(x), operand_of(y), false}, kv, options);
  }
  void forward(context& ctx, input_rows x, const source& kv, output_rows y, const forward_options& options = {}) const {
    run(ctx, {operand_of(x), operand_of(y), true}, kv, options);
  }
  /// What forward would throw; nothing means that it would run, for want of memory apart (a workspace that may not grow: capacity_error).
  failure check_forward(input x, const source& kv, output y, const forward_options& options = {}) const {
    return check_whole_call({operand_of(x), operand_of(y), false}, kv, options);
  }
  failure check_forward(input_rows x, const source& kv, output_rows y, const forward_options& options = {}) const {
    return check_whole_call({operand_of(x), operand_of(y), true}, kv, options);
  }

  /// Resolved, with kv_dtype and numerics: what caches are made from.
  const attention_config& config() const { return module_.config; }
  /// Of weights and config; stamped on caches.
  const rapt::fingerprint& fingerprint() const { return fingerprint_; }
  /// Every parameter in its canonical layout and held type, sorted by name.
  std::vector<named_tensor> weights(context& ctx) const { return weights_.canonical(ctx, module_.config); }
  /// Bytes of the packed weights.
  std::size_t weight_bytes() const { return weights_.bytes(); }

 private:
  module_traits traits() const { return {&module_.config, dtype_of<T>, weights_.has_kv(), fingerprint_}; }

  failure check_call(const forward_call& call, const source& from, const forward_options& options) const {
    if (weights_.bytes() == 0) return {errc::state, "forward: the module was moved from"};
    return rapt::check_forward(traits(), call, from, options);
  }
  failure check_whole_call(const forward_call& call, const source& from, const forward_options& options) const {
    if (failure f = check_call(call, from, options)) return f;
    if (from.kind != source_kind::append) return {};
    return from.cache->check_step({{*from.appended, call.x.len, options.positions}});
  }

  /// Never inlined: programs run the library's instantiation, which is compiled with its flags, and compile none of the pipeline themselves.
  [[gnu::noinline]] void run(context& ctx, const forward_call& call, const source& from, const forward_options& options) const {
    raise_if(check_call(call, from, options));
    if (from.kind == source_kind::append) {
      basic_step<Backend> step = from.cache->begin_step({{*from.appended, call.x.len, options.positions}});
      run_layer(ctx, call, step, 0, source_kind::append, options);
      return step.commit();
    }
    if (from.kind == source_kind::step) return run_layer(ctx, call, *from.step, from.layer, source_kind::step, options);

    detail::forward_kv kv;
    kv.kv_len = from.x_kv.len;
    kv.first_head_only = from.kind == source_kind::cross && from.first_head_only;
    if (from.kind == source_kind::self) kv.kv_len = call.x.len;
    if (from.kind == source_kind::stored) kv.layout = from.projected->layout(), kv.kv_len = from.projected->kv_len();
    if (from.kind == source_kind::store) {
      const index_t batch = call.x.batch, stored_heads = from.first_head_only ? 1 : module_.config.num_kv_heads;
      // Growing the workspace may throw; the old contents go only after that.
      packed_kv& target = from.first_head_only ? kv.first_head : kv.layout;
      target = from.projected->layout_for(kv.kv_len, stored_heads);
      static_cast<void>(measured(ctx, call, from, options, kv));
      from.projected->prepare(ctx, batch, kv.kv_len, stored_heads);
      target = from.projected->layout();
      run_pipeline(ctx, call, from, options, kv);
      return from.projected->set_extent(batch, kv.kv_len, fingerprint_);
    }
    run_pipeline(ctx, call, from, options, kv);
  }

  void run_layer(context& ctx, const forward_call& call, basic_step<Backend>& step, index_t layer, source_kind kind,
                 const forward_options& options) const {
    detail::forward_kv kv;
    const auto& core = step.core("forward");
    kv.layout = step.layer_kv(layer);
    kv.step_rows = core.rows.data(), kv.num_sequences = static_cast<index_t>(core.rows.size());
    source as(self_kv{});
    as.kind = kind;
    step.copy_shared_pages(ctx, layer);
    run_pipeline(ctx, call, as, options, kv);
    step.mark_forwarded(layer, fingerprint_);
  }

  /// A workspace that is large enough, before anything runs.
  workspace measured(context& ctx, const forward_call& call, const source& from, const forward_options& options, const detail::forward_kv& kv) const {
    workspace measuring;
    detail::run_forward<Backend>(ctx, module_, call, options, from.x_kv, from.kind, kv, measuring);
    return ctx.begin_call(measuring.peak_bytes());
  }
  void run_pipeline(context& ctx, const forward_call& call, const source& from, const forward_options& options, const detail::forward_kv& kv) const {
    const auto run = [&](workspace& scratch) { detail::run_forward<Backend>(ctx, module_, call, options, from.x_kv, from.kind, kv, scratch); };
    // Measuring first takes a tenth of the shortest calls. Without it scratch may turn out to be short when a call is half done, which nobody sees as
    // long as y is the only output and comes last.
    if (!options.lse.present() && options.num_chunks == 1) {
      run_in_workspace(ctx, run);
    } else {
      workspace scratch = measured(ctx, call, from, options, kv);
      run(scratch);
      ctx.check();
    }
  }

  detail::forward_module module_;
  module_weights<Backend> weights_;
  rapt::fingerprint fingerprint_;
};

}  // namespace v0
}  // namespace rapt
