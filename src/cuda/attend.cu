// Attention on tensor cores: few queries of each sequence by decode, many by prefill. Both give the same bits. In the CPU's order: attend_exact.cu.
#include <cuda/attend_exact.hpp>
#include <cuda/attend_kernels.hpp>
#include <cuda/attended.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {
namespace {

/// Up to so many queries of a sequence are cheaper with a block for each segment of keys than with one for each tile of queries.
constexpr int max_decode_len = 16;

template <class T>
void set_shape(kernels::attention_problem<T>& to, const attend_params& p) {
  to.num_sequences = static_cast<int>(p.num_sequences), to.num_heads = static_cast<int>(p.q.heads);
  to.num_kv_heads = static_cast<int>(p.kv.present() ? p.kv.num_heads : p.k.heads);
  to.head_dim = static_cast<int>(p.q.dim), to.value_dim = static_cast<int>(p.out.dim);
  to.window_left = p.window_left, to.window_right = p.window_right;
}

template <class T>
kernels::attention_problem<T> problem_of(launches& l, const attend_params& p) {
  kernels::attention_problem<T> to;
  set_shape(to, p);
  page_tables tables;
  to.k_positions.row_stride = 1;
  if (p.kv.present()) {
    tables = page_tables_of(p.kv, p.sequences, p.num_sequences, [](const sequence_rows& s) { return s.kv_len; });
    to.k = view_of_pages<const T>(p.kv, 0, p.kv.head_dim), to.v = view_of_pages<const T>(p.kv, p.kv.value_offset, p.kv.value_dim);
    to.page_len = static_cast<int>(p.kv.page_len), to.page_table = l.send(tables.pages);
    if (p.kv.positions != nullptr) to.k_positions.data = l.send(positions_in_pages(p, tables)), to.k_positions.outer_stride = p.kv.position_stride;
  } else {
    to.k = {static_cast<const T*>(p.k.data), p.k.batch_stride, p.k.len_stride, p.k.head_stride};
    to.v = {static_cast<const T*>(p.v.data), p.v.batch_stride, p.v.len_stride, p.v.head_stride};
    if (p.k_positions != nullptr) to.k_positions.data = l.send(std::vector<index_t>(p.k_positions, p.k_positions + p.k.len));
  }
  to.q = view_of_rows<const T>(p.q), to.out = view_of_rows<T>(p.out), to.lse = view_of_rows<float>(p.lse);
  to.sequences = l.send(attended_sequences(p, tables));
  to.softmax_scale = p.softmax_scale, to.softcap = p.softcap;
  to.q_positions.data = l.send(explicit_positions(p.sequences, p.num_sequences)), to.q_positions.row_stride = 1;
  to.mask.head_stride = p.mask.head_stride, to.mask.row_stride = p.mask.row_stride, to.mask.key_stride = p.mask.key_stride;
  if (p.mask.kind == mask_kind::boolean) to.mask.visible = static_cast<const bool*>(p.mask.data);
  if (p.mask.kind == mask_kind::additive) to.mask.added = static_cast<const float*>(p.mask.data);
  to.alibi_slopes_log2 = l.send(times_log2_e<float>(p.alibi_slopes, p.q.heads));
  to.sink_logits_log2 = l.send(times_log2_e<float>(p.sink_logits, p.q.heads));
  return to;
}

/// Scratch of both kernels.
struct attend_scratch {
  std::byte* states = nullptr;
  float *acc = nullptr, *max_and_sum = nullptr;
  index_t num_counters = 1;
};

/// A function of shapes alone.
attend_scratch scratch_of(const context& ctx, const attend_params& p, const kernels::decode_limits& limits, workspace& scratch) {
  attend_scratch s;
  kernels::attention_problem<bf16> shape;
  set_shape(shape, p);
  if (limits.max_q_len > max_decode_len) {
    const std::size_t bytes = kernels::max_prefill_workspace_bytes(std::max(shape.head_dim, shape.value_dim), ctx.num_workers());
    s.states = scratch.take<std::byte>(static_cast<index_t>(bytes));
    return s;
  }
  // The keys that a window leaves to see are known where positions are.
  if (p.kv.positions != nullptr || p.k_positions != nullptr || !explicit_positions(p.sequences, p.num_sequences).empty())
    shape.window_left = no_window;
  const kernels::decode_sizes sizes = kernels::decode_sizes_of(shape, limits);
  s.acc = scratch.take<float>(sizes.acc), s.max_and_sum = scratch.take<float>(sizes.max_and_sum);
  s.num_counters = sizes.counters;
  return s;
}

}  // namespace

void backend::attend(context& ctx, const attend_params& params, workspace& scratch) noexcept {
  const workspace::scope scope(scratch);
  if (!params.tensor_cores) return attend_exact(ctx, params, scratch);
  const kernels::decode_limits limits = limits_of<kernels::decode_limits>(params);
  if (limits.max_q_len == 0) return;
  const auto suited = [&](const operand& o) { return suited_operand(o, o.data == nullptr || has_head_rows(o), scratch); };
  const suited_operand q = suited(params.q), k = suited(params.k), v = suited(params.v), out = suited(params.out), lse = suited(params.lse);
  attend_params p = params;
  p.kv = from_first_page(p.kv, p.sequences[0]);
  p.q = q.get(), p.k = k.get(), p.v = v.get(), p.out = out.get(), p.lse = lse.get();
  const attend_scratch own = scratch_of(ctx, p, limits, scratch);
  if (scratch.measuring()) return;
  with_half(p.q.type, [&](auto element) {
    using T = decltype(element);
    run(ctx, [&](launches& l) {
      const kernels::attention_problem<T> problem = problem_of<T>(l, p);
      unsigned* const counters = l.internals().zeroed_counters(own.num_counters);
      l.flush();
      for (const suited_operand* in : {&q, &k, &v}) in->copy_in(l.stream());
      const kernels::decode_memory memory{own.acc, own.max_and_sum, counters};
      const kernels::tensor_rows rows{p.q.rows(), p.kv.present() ? p.kv.page_len : p.k.len};
      if (limits.max_q_len <= max_decode_len && p.wgmma && kernels::serves_clusters(problem, limits))
        cuda::attend_decode_by_clusters(problem, limits, memory, l.stream());
      else if (limits.max_q_len <= max_decode_len)
        cuda::attend_decode(problem, limits, memory, l.stream());
      else if (p.wgmma && problem.q.outer_stride == 0 && kernels::serves_hopper(problem, rows))
        cuda::attend_hopper(problem, rows, counters, static_cast<unsigned>(ctx.num_workers()), l.stream());
      else
        cuda::attend_prefill(problem, own.states, counters, kernels::prefill_blocks_of(problem) * static_cast<unsigned>(ctx.num_workers()),
                             l.stream());
      out.copy_out(l.stream()), lse.copy_out(l.stream());
    });
  });
}

std::string backend::describe_attend(context&, const attend_params& params) {
  if (!params.tensor_cores) {
    const std::string sums =
        params.tf32 ? "tensor cores by tf32 in three pieces" : std::string(name_of(params.accumulator)) + " sums in the CPU's order";
    return "tiles of 8 rows, keys divided by segments, " + sums;
  }
  const bool decodes = limits_of<kernels::decode_limits>(params).max_q_len <= max_decode_len;
  const char* const by = decodes        ? "keys split by segments of 512, tensor cores by mma.sync"
                         : params.wgmma ? "tiles of 128 queries, tensor cores by wgmma, or by mma.sync where more than ranges of keys is asked for"
                                        : "tiles of 128 queries by 64 keys, tensor cores by mma.sync";
  return std::string(by) + ", keys and values " + std::string(name_of(params.kv.type));
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
