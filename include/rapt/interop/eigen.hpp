// Eigen matrices as views, and back. Opt-in: rapt.hpp does not include it.
#pragma once
#include <rapt/core/tensor_view.hpp>

#include <Eigen/Core>

namespace rapt {
inline namespace v0 {

/// A row-major or column-major matrix (or an expression with direct access) as [rows, cols]; the strides are the matrix's own.
template <class Derived>
auto view_of(Eigen::PlainObjectBase<Derived>& m) {
  return tensor_view<typename Derived::Scalar, 2>{m.data(), {m.rows(), m.cols()}, {m.rowStride(), m.colStride()}};
}
template <class Derived>
auto view_of(const Eigen::PlainObjectBase<Derived>& m) {
  return tensor_view<const typename Derived::Scalar, 2>{m.data(), {m.rows(), m.cols()}, {m.rowStride(), m.colStride()}};
}

/// The last two dimensions of a view at one index of each leading dimension, as an Eigen map; float and double.
template <class T, int Rank, std::convertible_to<index_t>... Leading>
requires(Rank >= 2 && sizeof...(Leading) == Rank - 2) auto matrix_at(const tensor_view<T, Rank>& x, Leading... leading) {
  using matrix = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using map =
      Eigen::Map<std::conditional_t<std::is_const_v<T>, const matrix, matrix>, Eigen::Unaligned, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;
  index_t offset = 0;
  int dim = 0;
  ((offset += static_cast<index_t>(leading) * x.stride(dim++)), ...);
  return map(x.data() + offset, x.extent(Rank - 2), x.extent(Rank - 1),
             Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>(x.stride(Rank - 2), x.stride(Rank - 1)));
}

}  // namespace v0
}  // namespace rapt
