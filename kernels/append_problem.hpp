// What append_rows is asked: rows of a step, a cache, norms and angles; what of it a row and a head are, and what is wrong with it.
#pragma once
#include <kernels/attention_check.hpp>
#include <kernels/attention_problem.hpp>
#include <kernels/simt/warp.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Cosine and sine of one pair's angle.
template <class A>
struct angle_of {
  A c, s;
};
using angle = angle_of<float>;

/// q, k and v are rows of a step [rows, heads, dim]: floats, or elements of T. Sequences and pages are those of the attention that follows: row i of
/// a sequence is its key kv_len - q_len + i. Rows that no sequence has are left alone.
template <class From, class T>
struct append_problem {
  heads_view<const From> q, k, v;  ///< q data null: no queries; num_kv_heads 0: neither keys nor values
  heads_view<T> q_out;             ///< rows of the step; may be q
  heads_view<T> k_out, v_out;      ///< where attention_problem's k and v are
  const sequence* sequences = nullptr;
  int num_sequences = 0, num_rows = 0;
  int num_heads = 0, num_kv_heads = 0, head_dim = 0, value_dim = 0;
  const std::int32_t* page_table = nullptr;
  int page_len = 0;

  const float* q_norm = nullptr;  ///< weights [head_dim]; null: no norm
  const float* k_norm = nullptr;
  float eps = 0;
  int rope_dim = 0;  ///< the first so many elements of queries and keys are rotated
  bool interleaved = false;
  const angle* angles = nullptr;         ///< [positions, rope_dim / 2]
  heads_view<const index_t> angle_rows;  ///< rows of `angles` for rows of the step, head 0; data null: first_position + i
};

/// Where a row of the step goes.
struct appended_row {
  bool is_used = false;    ///< false: no sequence has it
  int outer = 0, row = 0;  ///< in k_out and v_out
  index_t angle_row = 0;
};
/// Looks for the row's sequence, 32 at a time. The whole warp calls it.
template <class Problem>
RAPT_DEVICE appended_row appended_row_of(const Problem& p, int row) {
  for (int first = 0; first < p.num_sequences; first += 32) {
    const int lane_idx = first + static_cast<int>(simt::lane_idx());
    const int first_row = lane_idx < p.num_sequences ? p.sequences[lane_idx].first_row : 0;
    const int q_len = lane_idx < p.num_sequences ? p.sequences[lane_idx].q_len : 0;
    if (const std::uint32_t lanes = simt::ballot(row >= first_row && row - first_row < q_len); lanes != 0) {
      const int idx = first + simt::first_lane(lanes);
      const sequence s = p.sequences[idx];
      const int i = row - s.first_row, key = s.kv_len - s.q_len + i;
      const index_t angle_row = p.angle_rows.data != nullptr ? *p.angle_rows.at(0, row, 0) : index_t{s.first_position} + i;
      if (p.page_table == nullptr) return {true, idx, s.first_key + key, angle_row};
      const unsigned page = static_cast<unsigned>(key) / static_cast<unsigned>(p.page_len);
      return {true, p.page_table[s.first_key + static_cast<int>(page)], key - static_cast<int>(page) * p.page_len, angle_row};
    }
  }
  return {};
}

/// One head of a row: where it comes from, and what happens to it. dim is 0 beyond the last head.
template <class From>
struct appended_head {
  const From* data;  // never null, so that the compiler knows whose memory it is in
  int dim, rope_dim;
  bool is_normed;
  const float* norm;
};
template <class From, class T>
RAPT_DEVICE int num_appended_queries(const append_problem<From, T>& p) {
  return p.q.data == nullptr ? 0 : p.num_heads;
}
/// Queries, keys and values.
template <class From, class T>
RAPT_DEVICE int num_appended_heads(const append_problem<From, T>& p) {
  return num_appended_queries(p) + 2 * p.num_kv_heads;
}
template <class From, class T>
RAPT_DEVICE appended_head<From> appended_head_of(const append_problem<From, T>& p, int row, int head) {
  if (head < num_appended_queries(p)) return {p.q.at(0, row, head), p.head_dim, p.rope_dim, p.q_norm != nullptr, p.q_norm};
  if (head -= num_appended_queries(p); head < p.num_kv_heads) return {p.k.at(0, row, head), p.head_dim, p.rope_dim, p.k_norm != nullptr, p.k_norm};
  head -= p.num_kv_heads;
  return {p.v.at(0, row, head), head < p.num_kv_heads ? p.value_dim : 0, 0, false, p.k_norm};
}
/// Where it goes to.
template <class From, class T>
RAPT_DEVICE T* appended_place(const append_problem<From, T>& p, const appended_row& r, int row, int head) {
  if (head < num_appended_queries(p)) return p.q_out.at(0, row, head);
  if (head -= num_appended_queries(p); head < p.num_kv_heads) return p.k_out.at(r.outer, r.row, head);
  return p.v_out.at(r.outer, r.row, head - p.num_kv_heads);
}

/// What append_rows would throw.
template <class From, class T>
failure check_append(const append_problem<From, T>& p) {
  const auto found = [](errc code, const std::string& what) { return failure{code, "append_rows: " + what}; };
  const bool has_queries = p.q.data != nullptr, has_keys = p.num_kv_heads != 0;
  if (p.num_sequences < 0 || p.num_rows < 0) return found(errc::shape, "num_sequences or num_rows is negative");
  if (p.num_kv_heads < 0 || (has_queries && p.num_heads < 1)) return found(errc::config, "num_heads is less than 1, or num_kv_heads than 0");
  if (p.head_dim < 1 || p.head_dim > max_head_dim || p.value_dim < 1 || p.value_dim > max_head_dim)
    return found(errc::config, "head_dim is " + std::to_string(p.head_dim) + ", value_dim " + std::to_string(p.value_dim) + "; 1 to " +
                                   std::to_string(max_head_dim) + " is needed");
  if (p.rope_dim < 0 || p.rope_dim > p.head_dim || p.rope_dim % 2 != 0)
    return found(errc::config,
                 "rope_dim is " + std::to_string(p.rope_dim) + "; an even number up to head_dim " + std::to_string(p.head_dim) + " is needed");
  if (!(p.eps >= 0) || !std::isfinite(p.eps)) return found(errc::config, "eps is negative or not finite");
  if (p.num_sequences == 0 || p.num_rows == 0) return {};
  if (p.rope_dim > 0 && p.angles == nullptr) return found(errc::shape, "angles is null");
  if (p.sequences == nullptr) return found(errc::shape, "sequences is null");
  const auto wrong = [&](const char* name, const auto& view, bool needed) -> failure {
    if (view.data == nullptr) return needed ? found(errc::shape, std::string(name) + " is null") : failure{};
    if (!is_aligned(view.data)) return found(errc::shape, std::string(name) + " is not aligned to its elements");
    if (view.outer_stride < 0 || view.row_stride < 0 || view.head_stride < 0) return found(errc::shape, std::string(name) + " has a negative stride");
    return {};
  };
  for (const failure& f : {wrong("k", p.k, has_keys), wrong("v", p.v, has_keys), wrong("q_out", p.q_out, has_queries),
                           wrong("k_out", p.k_out, has_keys), wrong("v_out", p.v_out, has_keys), wrong("angle_rows", p.angle_rows, false)})
    if (f) return f;
  if (p.page_table != nullptr && (p.page_len < 16 || p.page_len % 16 != 0))
    return found(errc::shape, "page_len is " + std::to_string(p.page_len) + "; a multiple of 16 is needed");
  return {};
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
