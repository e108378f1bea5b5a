// Rows of a step after norm and rotary embedding, in the CPU's order and with its bits: queries in rows, keys and values at their places in a cache,
// for accumulators of float and double, any element types and any head_dim.
//
// A warp takes one head of a row. A lane takes pairs that are rotated with each other, then what is not rotated, so that a row may be written where
// it was read. Order: append.hpp's. Bound: bytes read and written. Test: tests/kernels/exact_append_test.cpp.
#pragma once
#include <kernels/any_elements.hpp>
#include <kernels/append_problem.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// q, k and v are rows of a step, as `operand` counts them, of any floating type; any of them may be null. Sequences and pages are those of the
/// attention that follows: row i of a sequence is its key kv_len - q_len + i. Rows that no sequence has are left alone.
template <class A>
struct exact_append_problem {
  operand q, k, v;       ///< [.., num_heads, head_dim], [.., num_kv_heads, head_dim], [.., num_kv_heads, value_dim]
  operand q_out;         ///< rows of the step; may be exactly q
  operand k_out, v_out;  ///< element (outer, row, head) where exact_attention_problem's k and v have it
  const sequence* sequences = nullptr;
  int num_sequences = 0;
  const std::int32_t* page_table = nullptr;
  int page_len = 0;

  const A* q_norm = nullptr;  ///< weights [head_dim]; null: no norm
  const A* k_norm = nullptr;
  double eps = 0;    ///< rounded to A
  int rope_dim = 0;  ///< the first so many elements of queries and keys are rotated
  bool interleaved = false;
  const angle_of<A>* angles = nullptr;   ///< [positions, rope_dim / 2], computed in double, rounded once
  heads_view<const index_t> angle_rows;  ///< rows of `angles` for rows of the step, head 0; data null: first_position + i
};

constexpr int exact_append_warps = 4;

/// One head of a row: from where to where, in elements, and what happens to it.
template <class A>
struct exact_appended_head {
  const void* from;
  void* to;
  dtype from_type, to_type;
  index_t from_first, to_first, from_stride, to_stride;
  int dim, rope_dim;
  const A* norm;
};
template <class A>
RAPT_DEVICE exact_appended_head<A> exact_appended_head_of(const exact_append_problem<A>& p, const appended_row& r, int row, int head) {
  const int num_queries = p.q.data != nullptr ? static_cast<int>(p.q.heads) : 0, num_keys = p.k.data != nullptr ? static_cast<int>(p.k.heads) : 0;
  const auto between = [](const operand& from, const operand& to, index_t from_first, index_t to_first, int rope_dim, const A* norm) {
    return exact_appended_head<A>{
        from.data, to.data, from.type, to.type, from_first, to_first, from.dim_stride, to.dim_stride, static_cast<int>(from.dim), rope_dim, norm};
  };
  if (head < num_queries) return between(p.q, p.q_out, p.q.offset(row, head), p.q_out.offset(row, head), p.rope_dim, p.q_norm);
  head -= num_queries;
  const bool is_key = head < num_keys;
  if (!is_key) head -= num_keys;
  const operand &from = is_key ? p.k : p.v, &to = is_key ? p.k_out : p.v_out;
  const index_t place = r.outer * to.batch_stride + r.row * to.len_stride + head * to.head_stride;
  return between(from, to, from.offset(row, head), place, is_key ? p.rope_dim : 0, is_key ? p.k_norm : nullptr);
}

/// grid: rows of the step, their heads by exact_append_warps at once, these fastest, all in x.
template <class A>
RAPT_KERNEL(exact_append_warps * 32, 4)
exact_append(exact_append_problem<A> p, int num_heads) {
  const int head_blocks = (num_heads + exact_append_warps - 1) / exact_append_warps, lane = static_cast<int>(simt::lane_idx());
  const int row = static_cast<int>(simt::block_idx().x / static_cast<unsigned>(head_blocks));
  const int head =
      static_cast<int>(simt::block_idx().x % static_cast<unsigned>(head_blocks)) * exact_append_warps + static_cast<int>(simt::warp_idx());
  const appended_row r = appended_row_of(p, row);
  if (!r.is_used || head >= num_heads) return;
  const exact_appended_head<A> x = exact_appended_head_of(p, r, row, head);
  const auto read = [&](int d) { return load_any<A>(x.from, x.from_type, x.from_first + d * x.from_stride); };
  const auto write = [&](int d, A y) { store_any(x.to, x.to_type, x.to_first + d * x.to_stride, y); };

  A scale = A{1};
  if (x.norm != nullptr) {
    A sum = A{0};  // lanes 16 and up do what the others do
    for (int d = lane % 16; d < x.dim; d += 16) {
      const A element = read(d);
      sum = simt::fma(element, element, sum);
    }
    RAPT_UNROLL for (unsigned width = 8; width >= 1; width /= 2) sum = sum + simt::shuffle_xor(sum, width);
    scale = simt::divide(A{1}, simt::square_root(simt::divide(sum, static_cast<A>(x.dim)) + static_cast<A>(p.eps)));
  }
  const auto normed = [&](int d) { return x.norm != nullptr ? read(d) * scale * x.norm[d] : read(d); };
  const int half = x.rope_dim / 2;
  for (int i = lane; i < half; i += 32) {
    const int first = p.interleaved ? 2 * i : i, second = p.interleaved ? 2 * i + 1 : i + half;
    const angle_of<A> turn = p.angles[r.angle_row * half + i];
    const A a = normed(first), b = normed(second);
    write(first, simt::fma(a, turn.c, -(b * turn.s)));
    write(second, simt::fma(b, turn.c, a * turn.s));
  }
  for (int d = x.rope_dim + lane; d < x.dim; d += 32) write(d, normed(d));
}

/// What append_exact would throw.
template <class A>
failure check_exact_append(const exact_append_problem<A>& p) {
  const auto found = [](errc code, const std::string& what) { return failure{code, "append_exact: " + what}; };
  if (p.num_sequences < 0) return found(errc::shape, "num_sequences is negative");
  if (p.rope_dim < 0 || p.rope_dim % 2 != 0) return found(errc::config, "rope_dim is " + std::to_string(p.rope_dim) + "; an even number is needed");
  if (!(p.eps >= 0) || !std::isfinite(p.eps)) return found(errc::config, "eps is negative or not finite");
  struct {
    const char* name;
    const operand &from, &to;
    bool rotated;
  } const moves[] = {{"q", p.q, p.q_out, true}, {"k", p.k, p.k_out, true}, {"v", p.v, p.v_out, false}};
  index_t rows = -1;
  for (const auto& [name, from, to, rotated] : moves) {
    if (from.data == nullptr) continue;
    if (to.data == nullptr && from.rows() > 0) return found(errc::shape, std::string(name) + "_out is null");
    if (!is_floating(from.type) || !is_floating(to.type)) return found(errc::shape, std::string(name) + " is not of a floating type");
    if (from.heads < 1 || from.dim < 1) return found(errc::config, std::string(name) + " has no heads or no dimensions");
    if (rotated && p.rope_dim > from.dim)
      return found(errc::config, "rope_dim is " + std::to_string(p.rope_dim) + "; up to " + std::to_string(from.dim) + " is possible");
    if (rows >= 0 && rows != from.rows())
      return found(errc::shape, std::string(name) + " has " + std::to_string(from.rows()) + " rows; " + std::to_string(rows) + " are needed");
    rows = from.rows();
  }
  if (rows <= 0 || p.num_sequences == 0) return {};
  if (p.rope_dim > 0 && p.angles == nullptr) return found(errc::shape, "angles is null");
  if (p.sequences == nullptr) return found(errc::shape, "sequences is null");
  if (p.page_table != nullptr && p.page_len < 1) return found(errc::shape, "page_len is " + std::to_string(p.page_len));
  return {};
}

/// Writes all rows. Throws config_error or shape_error before anything is launched.
template <class A>
void append_exact(const exact_append_problem<A>& p, simt::stream stream) {
  raise_if(check_exact_append(p));
  index_t rows = 0, num_heads = 0;
  for (const operand* o : {&p.q, &p.k, &p.v})
    if (o->data != nullptr) rows = o->rows(), num_heads += o->heads;
  if (rows == 0 || p.num_sequences == 0) return;
  const index_t blocks = rows * ceil_div(num_heads, exact_append_warps);
  if (blocks > 2147483647) raise(errc::shape, "append_exact: " + std::to_string(blocks) + " blocks; 2147483647 is possible");
  simt::launch<simt::no_storage>(exact_append<A>, {static_cast<unsigned>(blocks)}, exact_append_warps * 32, stream, p, static_cast<int>(num_heads));
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
