// Projections of many rows by cuBLASLt, where it can do all that a projection is in one product.
#pragma once
#include <cuda/context_impl.hpp>
#include <kernels/project.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

/// From so many rows on cuBLASLt is asked. As from so many on wgmma is: fewer leave a part of a warpgroup idle.
constexpr index_t least_cublaslt_rows = 65;

/// Whether cuBLASLt is asked: rows of whole 16 bytes, none within another; a bias or residual only in the type of y.
template <class T, class Out>
bool asks_cublaslt(const kernels::projection<T, Out>& p) {
  const auto suits = [](const auto* data, index_t stride, int columns) {
    constexpr index_t of_chunk = 16 / sizeof *data;
    return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && stride % of_chunk == 0 && stride >= columns;
  };
  const bool rows_suit = p.in % 8 == 0 && suits(p.x, p.x_stride, p.in) && suits(p.w, p.w_stride, p.in) && suits(p.y, p.y_stride, p.out);
  const bool bias_suits = p.bias == nullptr || (std::is_same_v<Out, float> && reinterpret_cast<std::uintptr_t>(p.bias) % 16 == 0);
  const bool residual_suits = p.residual == nullptr || (std::is_same_v<Out, T> && suits(p.residual, p.residual_stride, p.out));
  return p.rows >= least_cublaslt_rows && p.in > 0 && p.out > 0 && rows_suit && bias_suits && residual_suits;
}

/// Whether cuBLASLt does it, which then has it. workspace: matmul_library::workspace_bytes. Throws shape_error where the operands do not fit,
/// cuda_error.
template <class T, class Out>
bool project_cublaslt(const kernels::projection<T, Out>& p, void* workspace, launches& l) {
  raise_if(kernels::check_projection(p));
  if (!asks_cublaslt(p)) return false;
  std::optional<runtime::matmul_library>& library = l.internals().cublaslt;
  if (!library) library.emplace();
  runtime::matmul m;
  m.type = dtype_of<T>, m.result = dtype_of<Out>;
  m.x = p.x, m.w = p.w, m.bias = p.bias, m.residual = p.residual, m.y = p.y;
  m.x_stride = p.x_stride, m.w_stride = p.w_stride, m.residual_stride = p.residual_stride, m.y_stride = p.y_stride;
  m.rows = p.rows, m.in = p.in, m.out = p.out;
  if (!library->serves(m)) return false;
  raise_if(library->multiply(m, workspace, l.stream()));
  return true;
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
