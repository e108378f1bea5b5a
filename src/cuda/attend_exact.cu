// Attention in the CPU's order and with its bits: every type, width and option that tensor cores do not serve.
#include <cuda/attend_exact.hpp>
#include <cuda/attended.hpp>
#include <kernels/exact_attention.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {
namespace {

/// Shapes, and what needs nothing to be sent.
template <class A>
kernels::exact_attention_problem<A> shapes_of(const attend_params& p) {
  kernels::exact_attention_problem<A> to;
  to.q = p.q, to.out = p.out, to.lse = p.lse;
  to.k = p.kv.present() ? operand_of_pages(p.kv, 0, p.kv.head_dim) : p.k;
  to.v = p.kv.present() ? operand_of_pages(p.kv, p.kv.value_offset, p.kv.value_dim) : p.v;
  to.num_sequences = static_cast<int>(p.num_sequences), to.num_heads = static_cast<int>(p.q.heads), to.num_kv_heads = static_cast<int>(to.k.heads);
  to.head_dim = static_cast<int>(p.q.dim), to.value_dim = static_cast<int>(p.out.dim);
  to.softmax_scale = p.softmax_scale, to.softcap = p.softcap;
  to.window_left = p.window_left, to.window_right = p.window_right;
  to.dropout_p = p.dropout_p, to.dropout_seed = p.dropout_seed;
  to.mask.head_stride = p.mask.head_stride, to.mask.row_stride = p.mask.row_stride, to.mask.key_stride = p.mask.key_stride;
  if (p.mask.kind == mask_kind::boolean) to.mask.visible = static_cast<const bool*>(p.mask.data);
  if (p.mask.kind == mask_kind::additive) to.mask.added = static_cast<const A*>(p.mask.data);
  return to;
}

template <class A>
void send_rest(launches& l, const attend_params& p, kernels::exact_attention_problem<A>& to) {
  page_tables tables;
  to.k_positions.row_stride = 1;
  if (p.kv.present()) {
    tables = page_tables_of(p.kv, p.sequences, p.num_sequences, [](const sequence_rows& s) { return s.kv_len; });
    to.page_len = static_cast<int>(p.kv.page_len), to.page_table = l.send(tables.pages);
    if (p.kv.positions != nullptr) to.k_positions.data = l.send(positions_in_pages(p, tables)), to.k_positions.outer_stride = p.kv.position_stride;
  } else if (p.k_positions != nullptr) {
    to.k_positions.data = l.send(std::vector<index_t>(p.k_positions, p.k_positions + p.k.len));
  }
  to.sequences = l.send(attended_sequences(p, tables));
  to.q_positions.data = l.send(explicit_positions(p.sequences, p.num_sequences)), to.q_positions.row_stride = 1;
  to.alibi_slopes_log2 = l.send(times_log2_e<A>(p.alibi_slopes, p.q.heads));
  to.sink_logits_log2 = l.send(times_log2_e<A>(p.sink_logits, p.q.heads));
  if (p.dropout_p > 0) {
    std::vector<kernels::dropout_sequence> dropped;
    for (const sequence_rows* s = p.sequences; s != p.sequences + p.num_sequences; ++s)
      dropped.push_back({p.dropout_offset + static_cast<std::uint64_t>(s->dropout_sequence), static_cast<int>(s->kv_len - s->num_rows)});
    to.dropout_sequences = l.send(dropped);
  }
}

template <class A, kernels::exact_products Products = kernels::exact_products::fma>
void attend_as(context& ctx, attend_params p, workspace& scratch) {
  if (p.num_sequences == 0) return;
  p.kv = from_first_page(p.kv, p.sequences[0]);
  kernels::exact_attention_problem<A> problem = shapes_of<A>(p);
  const auto limits = limits_of<kernels::exact_limits>(p);
  auto* const states = scratch.take<std::byte>(static_cast<index_t>(kernels::exact_attention_bytes(problem, limits)));
  if (scratch.measuring() || limits.max_q_len == 0) return;
  run(ctx, [&](launches& l) {
    send_rest(l, p, problem);
    l.flush();
    kernels::attend_exact<Products>(problem, limits, states, l.stream());
  });
}

}  // namespace

void attend_exact(context& ctx, const attend_params& params, workspace& scratch) noexcept {
  if (params.accumulator == dtype::f64)
    attend_as<double>(ctx, params, scratch);
  else if (params.tf32)
    attend_as<float, kernels::exact_products::tf32>(ctx, params, scratch);
  else
    attend_as<float>(ctx, params, scratch);
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
