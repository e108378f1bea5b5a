// A call's sequences as kernels read them: lengths, and page tables one after the other.
#pragma once
#include <cuda/context_impl.hpp>
#include <cuda/rows.hpp>
#include <kernels/attention_problem.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

/// Page tables of all sequences; empty where keys lie in no pages.
struct page_tables {
  std::vector<std::int32_t> pages;
  std::vector<int> first;  ///< of each sequence, in `pages`
};
/// `num_keys(s)` of sequence s are needed.
template <class NumKeys>
page_tables page_tables_of(const packed_kv& kv, const sequence_rows* sequences, index_t num_sequences, NumKeys num_keys) {
  page_tables tables;
  for (index_t i = 0; i < num_sequences; ++i) {
    const sequence_rows& s = sequences[i];
    if (s.pages == nullptr) return {};
    tables.first.push_back(static_cast<int>(tables.pages.size()));
    tables.pages.insert(tables.pages.end(), s.pages, s.pages + ceil_div(num_keys(s), kv.page_len));
  }
  return tables;
}
/// Where sequences have no tables, each has a page of its own, one after the other: from the first one's on.
inline packed_kv from_first_page(packed_kv kv, const sequence_rows& first) {
  if (first.pages != nullptr) return kv;
  if (kv.base != nullptr) kv.base += first.kv_batch * kv.page_bytes;
  if (kv.positions != nullptr) kv.positions += first.kv_batch * kv.position_stride;
  return kv;
}

/// Keys or values in pages; `offset` bytes from the beginning of a head's part of a page, rows of dim elements.
template <class T>
kernels::heads_view<T> view_of_pages(const packed_kv& kv, index_t offset, index_t dim) {
  constexpr index_t size = sizeof(T);
  return {reinterpret_cast<T*>(kv.base + offset), kv.page_bytes / size, dim, kv.head_bytes / size};
}
/// The same as an operand of (page, token, head); extents of pages and tokens are not known here.
inline operand operand_of_pages(const packed_kv& kv, index_t offset, index_t dim) {
  const index_t size = size_of(kv.type);
  operand o;
  o.data = kv.base == nullptr ? nullptr : kv.base + offset;
  o.type = kv.type, o.heads = kv.num_heads, o.dim = dim;
  o.batch_stride = kv.page_bytes / size, o.len_stride = dim, o.head_stride = kv.head_bytes / size;
  return o;
}
/// Rows of an operand that has_head_rows, numbered through all batch rows; batch row i is that of sequence i.
template <class T>
kernels::heads_view<T> view_of_rows(const operand& o) {
  return {static_cast<T*>(o.data), o.batch == 1 ? 0 : o.batch_stride - o.len * o.len_stride, o.len_stride, o.head_stride};
}

inline index_t position_of(const sequence_rows& s, index_t row) { return s.positions != nullptr ? s.positions[row] : s.first_position + row; }

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
