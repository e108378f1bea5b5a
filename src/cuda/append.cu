// Rows of a step after their projection: keys and values into their pages, queries beside them, with norm and rotary embedding in one launch.
#include <cuda/rotary.hpp>
#include <cuda/sequences.hpp>
#include <kernels/append.hpp>
#include <kernels/exact_append.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {
namespace {

/// Sequences as append_rows takes them. Row i of one is its key kv_len - q_len + i, and has the angles of row first_row + i.
std::vector<kernels::sequence> appended_sequences(const sequence_rows* rows, index_t count, const page_tables& tables) {
  std::vector<kernels::sequence> all(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < all.size(); ++i) {
    const sequence_rows& s = rows[i];
    kernels::sequence& to = all[i];
    to.first_row = to.first_position = static_cast<int>(s.first_row);
    to.q_len = static_cast<int>(s.num_rows), to.kv_len = static_cast<int>(s.kv_len + s.num_rows);
    to.first_key = tables.first.empty() ? 0 : tables.first[i];
  }
  return all;
}

/// What rotate and append have in common; queries that are no operand are none.
template <class From, class T>
kernels::append_problem<From, T> problem_of(launches& l, const operand& q, const operand& q_out, const norm_params& norm, const rope_params& rope,
                                            const sequence_rows* rows, index_t num_sequences, const page_tables& tables) {
  kernels::append_problem<From, T> p;
  p.q = view_of_rows<const From>(q), p.q_out = view_of_rows<T>(q_out);
  p.num_heads = static_cast<int>(q.heads);
  p.q_norm = static_cast<const float*>(norm.weight), p.eps = static_cast<float>(norm.eps);
  p.num_sequences = static_cast<int>(num_sequences);
  for (index_t i = 0; i < num_sequences; ++i) p.num_rows = std::max(p.num_rows, static_cast<int>(rows[i].first_row + rows[i].num_rows));
  p.sequences = l.send(appended_sequences(rows, num_sequences, tables));
  p.page_table = l.send(tables.pages);
  p.rope_dim = static_cast<int>(rope.dim), p.interleaved = rope.interleaved;
  if (rope.dim > 0) p.angles = angles_of<float>(l, rope, rows, num_sequences);
  return p;
}

/// Operands of the kernels for floats and halves, which give the CPU's bits too; all others are exact_append's.
bool is_for_append_rows(const append_params& p) {
  const auto suits = [&](const operand& o) { return has_head_rows(o) && o.dim <= kernels::max_head_dim; };
  return p.accumulator == dtype::f32 && size_of(p.kv.type) == 2 && (p.k.type == dtype::f32 || p.k.type == p.kv.type) && p.v.type == p.k.type &&
         suits(p.k) && suits(p.v) && (p.q.dim == 0 || (p.q_out.type == p.kv.type && p.q.type == p.k.type && suits(p.q) && suits(p.q_out)));
}

template <class A>
void append_exact(launches& l, const append_params& params) {
  kernels::exact_append_problem<A> p;
  page_tables tables;
  p.k = params.k, p.v = params.v, p.q = params.q;
  p.q_out = params.q_out.dim > 0 ? params.q_out : params.q;
  if (params.kv.present()) {
    const packed_kv kv = from_first_page(params.kv, params.sequences[0]);
    tables = page_tables_of(kv, params.sequences, params.num_sequences, [](const sequence_rows& s) { return s.kv_len + s.num_rows; });
    p.k_out = operand_of_pages(kv, 0, kv.head_dim), p.v_out = operand_of_pages(kv, kv.value_offset, kv.value_dim);
    p.page_table = l.send(tables.pages), p.page_len = static_cast<int>(kv.page_len);
  }
  p.num_sequences = static_cast<int>(params.num_sequences);
  p.sequences = l.send(appended_sequences(params.sequences, params.num_sequences, tables));
  p.q_norm = static_cast<const A*>(params.q_norm.weight), p.k_norm = static_cast<const A*>(params.norm.weight);
  p.eps = params.norm.weight != nullptr ? params.norm.eps : params.q_norm.eps;
  p.rope_dim = static_cast<int>(params.rope.dim), p.interleaved = params.rope.interleaved;
  if (params.rope.dim > 0) p.angles = angles_of<A>(l, params.rope, params.sequences, params.num_sequences);
  l.flush();
  kernels::append_exact(p, l.stream());
}
void append_exact(launches& l, const append_params& p) {
  if (p.accumulator == dtype::f64)
    append_exact<double>(l, p);
  else
    append_exact<float>(l, p);
}

}  // namespace

void backend::rotate(context& ctx, const rotate_params& params, workspace& scratch) noexcept {
  if (scratch.measuring() || params.x.rows() == 0) return;
  run(ctx, [&](launches& l) {
    if (params.out.dim == 0) {
      append_params queries;
      queries.accumulator = params.accumulator, queries.q = params.x, queries.q_norm = params.norm, queries.rope = params.rope;
      queries.sequences = params.sequences, queries.num_sequences = params.num_sequences;
      return append_exact(l, queries);
    }
    with_half(params.out.type, [&](auto element) {
      using T = decltype(element);
      auto p = problem_of<float, T>(l, params.x, params.out, params.norm, params.rope, params.sequences, params.num_sequences, {});
      p.head_dim = p.value_dim = static_cast<int>(params.x.dim);
      l.flush();
      kernels::append_rows(p, l.stream());
    });
  });
}

void backend::append(context& ctx, const append_params& params, workspace& scratch) noexcept {
  if (scratch.measuring() || params.k.rows() == 0 || params.num_sequences == 0) return;
  run(ctx, [&](launches& l) {
    if (!is_for_append_rows(params)) return append_exact(l, params);
    const packed_kv kv = from_first_page(params.kv, params.sequences[0]);
    const page_tables tables =
        page_tables_of(kv, params.sequences, params.num_sequences, [](const sequence_rows& s) { return s.kv_len + s.num_rows; });
    const auto append_as = [&](auto from, auto element) {
      using From = decltype(from);
      using T = decltype(element);
      auto p = problem_of<From, T>(l, params.q, params.q_out, params.q_norm, params.rope, params.sequences, params.num_sequences, tables);
      p.k = view_of_rows<const From>(params.k), p.v = view_of_rows<const From>(params.v);
      p.k_out = view_of_pages<T>(kv, 0, kv.head_dim), p.v_out = view_of_pages<T>(kv, kv.value_offset, kv.value_dim);
      p.num_kv_heads = static_cast<int>(params.k.heads), p.head_dim = static_cast<int>(kv.head_dim), p.value_dim = static_cast<int>(kv.value_dim);
      p.page_len = static_cast<int>(kv.page_len);
      p.k_norm = static_cast<const float*>(params.norm.weight);
      if (params.norm.weight != nullptr) p.eps = static_cast<float>(params.norm.eps);
      l.flush();
      kernels::append_rows(p, l.stream());
    };
    with_half(kv.type, [&](auto element) {
      if (params.k.type == dtype::f32)
        append_as(float{}, element);
      else
        append_as(element, element);
    });
  });
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
