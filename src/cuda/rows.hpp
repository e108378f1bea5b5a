// Operands as the rows of a matrix, for kernels that take no other strides.
#pragma once
#include <cuda/context_impl.hpp>
#include <kernels/copy_elements.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

/// Whether rows lie at one distance, and the columns of each, [heads, dim], side by side.
inline bool has_matrix_rows(const operand& o) {
  const bool columns = o.dim_stride == 1 && (o.heads == 1 || o.head_stride == o.dim);
  return columns && (o.batch == 1 || o.batch_stride == o.len * o.len_stride);
}
/// Whether elements lie side by side, and no batch row begins within the one before.
inline bool has_head_rows(const operand& o) { return o.dim_stride == 1 && (o.batch == 1 || o.batch_stride >= o.len * o.len_stride); }

/// An operand as kernels take it: itself where its strides suit them, else contiguous rows in scratch.
class suited_operand {
 public:
  suited_operand(const operand& o, bool suits, workspace& scratch) : given_(o), used_(o) {
    if (suits || o.rows() == 0 || o.dim == 0) return;
    used_.dim_stride = 1, used_.head_stride = o.dim, used_.len_stride = o.heads * o.dim, used_.batch_stride = o.len * used_.len_stride;
    used_.data = scratch.take<std::byte>(o.batch * used_.batch_stride * size_of(o.type));
  }
  const operand& get() const { return used_; }
  /// Before it is read.
  void copy_in(runtime::stream stream) const { copy(given_, used_, stream); }
  /// After it was written.
  void copy_out(runtime::stream stream) const { copy(used_, given_, stream); }

 private:
  void copy(const operand& from, const operand& to, runtime::stream stream) const {
    if (from.data == to.data) return;
    const auto elements = [](const operand& o) {
      return kernels::strided_elements{o.data, o.batch_stride, o.len_stride, o.head_stride, o.dim_stride};
    };
    kernels::copy_elements(elements(from), elements(to), {from.batch, from.len, from.heads, from.dim}, size_of(from.type), stream);
  }
  operand given_, used_;
};

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
