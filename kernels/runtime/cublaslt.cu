// matmul.hpp by cuBLASLt. Its matrices are column by column: row r of y is column r of D = A^T B, with A = w and B = x as they lie.
#include <kernels/runtime/matmul.hpp>

#include <cublasLt.h>

#include <array>
#include <map>
#include <string>

namespace rapt {
inline namespace v0 {
namespace runtime {
namespace {

failure said(const char* function, cublasStatus_t status) {
  if (status == CUBLAS_STATUS_SUCCESS) return {};
  return {errc::cuda, std::string(function) + ": " + cublasLtGetStatusName(status)};
}
cudaDataType_t type_of(dtype type) { return type == dtype::f32 ? CUDA_R_32F : type == dtype::f16 ? CUDA_R_16F : CUDA_R_16BF; }

/// A product as cuBLASLt is told of it.
struct description {
  cublasLtMatmulDescOpaque_t operation;
  cublasLtMatrixLayoutOpaque_t w, x, residual, y;

  failure make(const matmul& m) {
    const auto layout = [](cublasLtMatrixLayoutOpaque_t& of, dtype type, index_t rows, index_t columns, index_t stride) {
      return said("cublasLtMatrixLayoutInit",
                  cublasLtMatrixLayoutInit(&of, type_of(type), static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns), stride));
    };
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
      return said("cublasLtMatmulDescSetAttribute", cublasLtMatmulDescSetAttribute(&operation, attribute, &value, sizeof value));
    };
    if (failure f = layout(w, m.type, m.in, m.out, m.w_stride)) return f;
    if (failure f = layout(x, m.type, m.in, m.rows, m.x_stride)) return f;
    if (failure f = layout(residual, m.result, m.out, m.rows, m.residual == nullptr ? m.y_stride : m.residual_stride)) return f;
    if (failure f = layout(y, m.result, m.out, m.rows, m.y_stride)) return f;
    if (failure f = said("cublasLtMatmulDescInit", cublasLtMatmulDescInit(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F))) return f;
    if (failure f = set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T)) return f;
    if (m.bias == nullptr) return {};
    if (failure f = set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS)) return f;
    return set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, m.bias);
  }
};

/// What the choice of an algorithm depends on.
using kind = std::array<index_t, 11>;
kind kind_of(const matmul& m) {
  return {static_cast<index_t>(m.type),
          static_cast<index_t>(m.result),
          m.bias != nullptr,
          m.residual != nullptr,
          m.x_stride,
          m.w_stride,
          m.residual_stride,
          m.y_stride,
          m.rows,
          m.in,
          m.out};
}

}  // namespace

struct matmul_library::impl {
  cublasLtHandle_t handle = nullptr;
  std::map<kind, cublasLtMatmulAlgo_t> algorithms;

  ~impl() {
    if (handle != nullptr) cublasLtDestroy(handle);
  }
  failure choose(const description& d, cublasLtMatmulAlgo_t& to) const {
    cublasLtMatmulPreferenceOpaque_t preference;
    if (failure f = said("cublasLtMatmulPreferenceInit", cublasLtMatmulPreferenceInit(&preference))) return f;
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      return said("cublasLtMatmulPreferenceSetAttribute", cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof value));
    };
    if (failure f = prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{workspace_bytes})) return f;
    // Parts of a sum, where there are any, are added in float.
    if (failure f = prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE})) return f;
    for (const auto operand : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                               CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      if (failure f = prefer(operand, std::uint32_t{16})) return f;
    cublasLtMatmulHeuristicResult_t best;
    int found = 0;
    const cublasStatus_t asked =
        cublasLtMatmulAlgoGetHeuristic(handle, const_cast<cublasLtMatmulDescOpaque_t*>(&d.operation), const_cast<cublasLtMatrixLayoutOpaque_t*>(&d.w),
                                       const_cast<cublasLtMatrixLayoutOpaque_t*>(&d.x), const_cast<cublasLtMatrixLayoutOpaque_t*>(&d.residual),
                                       const_cast<cublasLtMatrixLayoutOpaque_t*>(&d.y), &preference, 1, &best, &found);
    if (failure f = said("cublasLtMatmulAlgoGetHeuristic", asked)) return f;
    if (found == 0) return {errc::cuda, "cublasLtMatmulAlgoGetHeuristic: no algorithm was found"};
    to = best.algo;
    return {};
  }
  /// The algorithm for a product, chosen once.
  failure find(const description& d, const matmul& m, const cublasLtMatmulAlgo_t*& to) {
    auto chosen = algorithms.find(kind_of(m));
    if (chosen == algorithms.end()) {
      cublasLtMatmulAlgo_t algorithm;
      if (failure f = choose(d, algorithm)) return f;
      chosen = algorithms.emplace(kind_of(m), algorithm).first;
    }
    to = &chosen->second;
    return {};
  }
};

matmul_library::matmul_library() : impl_(std::make_unique<impl>()) { raise_if(said("cublasLtCreate", cublasLtCreate(&impl_->handle))); }
matmul_library::~matmul_library() = default;
matmul_library::matmul_library(matmul_library&&) noexcept = default;
matmul_library& matmul_library::operator=(matmul_library&&) noexcept = default;

bool matmul_library::serves(const matmul& m) {
  description d;
  const cublasLtMatmulAlgo_t* algorithm = nullptr;
  return !d.make(m) && !impl_->find(d, m, algorithm);
}
failure matmul_library::multiply(const matmul& m, void* workspace, stream s) {
  description d;
  if (failure f = d.make(m)) return f;
  const cublasLtMatmulAlgo_t* algorithm = nullptr;
  if (failure f = impl_->find(d, m, algorithm)) return f;
  const float one = 1, of_residual = m.residual != nullptr ? 1.0f : 0.0f;
  const void* const c = m.residual != nullptr ? m.residual : m.y;
  return said("cublasLtMatmul", cublasLtMatmul(impl_->handle, &d.operation, &one, m.w, &d.w, m.x, &d.x, &of_residual, c, &d.residual, m.y, &d.y,
                                               algorithm, workspace, workspace_bytes, s));
}

}  // namespace runtime
}  // namespace v0
}  // namespace rapt
