// Rows of an operand, widened to accumulators and transposed to the order in which register tiles broadcast them: [dim][tile rows].
#pragma once
#include <cpu/context_impl.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {

/// Offsets of the rows [first, last) of an operand. Rows of one batch row cost no division each.
class row_offsets {
 public:
  row_offsets(const operand& o, index_t first, index_t last)
      : o_(o), first_(first), base_(o.offset(first, 0)), in_one_batch_row_(first / o.len == (last - 1) / o.len) {}
  index_t operator()(index_t row, index_t head) const {
    return in_one_batch_row_ ? base_ + (row - first_) * o_.len_stride + head * o_.head_stride : o_.offset(row, head);
  }

 private:
  const operand& o_;
  index_t first_, base_;
  bool in_one_batch_row_;
};

/// Room to widen the rows of one tile.
template <class A>
A* take_tile_rows(workspace& from, index_t dim) {
  return from.take<A>(max_tile_rows * dim);
}

/// Columns [0, heads * dim) of one row of an operand, widened; head and dim may have any stride.
template <class A>
void load_row(const row_kernels<A>& rows, const operand& x, index_t row, A* to) {
  for (index_t h = 0; h < x.heads; ++h) rows.load(byte_at(x.data, x.offset(row, h), x.type), x.type, x.dim_stride, x.dim, to + h * x.dim);
}

/// Transposes `used` rows given by row(r), [dim] accumulators each, to [dim][tile_rows]. Missing rows repeat the last: they are computed and dropped.
template <class A, class Row>
void pack_tile(const row_kernels<A>& rows, index_t used, index_t tile_rows, index_t dim, A* to, const Row& row) {
  const A* pointers[max_tile_rows] = {};
  for (index_t r = 0; r < tile_rows; ++r) pointers[r] = r < used ? row(r) : pointers[used - 1];
  rows.transpose(pointers, tile_rows, dim, to, tile_rows);
}
/// A row of bf16 as the words of a pack_tile: pairs, [2 * ceil(n / 2)] with +0 at the end of an odd one.
template <class A>
const A* as_words(bf16* row, index_t n) {
  if (n % 2 != 0) row[n] = bf16();
  return reinterpret_cast<const A*>(row);
}
/// Whether every row of every head lies in memory as such words.
inline bool lies_as_words(const operand& x) {
  return x.type == dtype::bf16 && x.dim_stride == 1 && (x.dim | x.head_stride | x.len_stride | x.batch_stride) % 2 == 0 &&
         reinterpret_cast<std::uintptr_t>(x.data) % (2 * size_of(dtype::bf16)) == 0;
}

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
