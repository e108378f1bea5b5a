// Products of matrices by NVIDIA's library, cuBLASLt (cublaslt.cu). The emulated device stands in for it with sums in double (emulated_matmul.cpp).
#pragma once
#include <kernels/runtime/runtime.hpp>
#include <rapt/core/dtype.hpp>
#include <rapt/core/index.hpp>

#include <memory>

namespace rapt {
inline namespace v0 {
namespace runtime {

/// y = x w^T (+ bias) (+ residual), sums in float, rounded once. x [rows, in] and w [out, in] of `type`, f16 or bf16; y and residual [rows, out] and
/// bias [out] of `result`, which is f32 or `type`. Rows are whole 16 bytes apart and begin at such, columns are contiguous; strides in elements.
/// Null bias or residual: none. y may be exactly the residual.
struct matmul {
  dtype type = dtype::bf16, result = dtype::f32;
  const void *x = nullptr, *w = nullptr, *bias = nullptr, *residual = nullptr;
  void* y = nullptr;
  index_t x_stride = 0, w_stride = 0, residual_stride = 0, y_stride = 0;
  index_t rows = 0, in = 0, out = 0;
};

/// What the library keeps for one device: its handle, and the algorithm that it chose for each kind and size of product.
class matmul_library {
 public:
  /// For the selected device. Throws cuda_error.
  matmul_library();
  ~matmul_library();
  matmul_library(matmul_library&&) noexcept;
  matmul_library& operator=(matmul_library&&) noexcept;

  /// Of the device's memory, 256-byte aligned; nothing else uses it until a product is done.
  static constexpr std::size_t workspace_bytes = std::size_t{32} << 20, workspace_alignment = 256;
  /// Whether the library can do a product. From then on it knows how, so that multiply is launches alone.
  bool serves(const matmul& product);
  /// Of what it serves, in the order of the stream.
  [[nodiscard]] failure multiply(const matmul& product, void* workspace, stream s);

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace runtime
}  // namespace v0
}  // namespace rapt
