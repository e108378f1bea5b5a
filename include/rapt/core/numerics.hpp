// Ids of orders of operations. An id fixes the bits of a result, whatever the work was cut into (docs/numerics.md).
#pragma once
#include <rapt/core/dtype.hpp>
#include <rapt/version.hpp>

#include <string_view>

namespace rapt {
inline namespace v0 {
namespace numerics_id {

inline constexpr std::string_view cpu_v1 = "cpu-v1";
/// Products of pairs of bf16 by vdpbf16ps, with bits of its own; needs a CPU with AVX512_BF16. Faster on AMD Zen 4, slower on the one Intel Xeon
/// seen so far (docs/performance.md).
inline constexpr std::string_view cpu_bf16dot_v1 = "cpu-bf16dot-v1";
/// Tensor cores of an NVIDIA device, by mma.sync on tiles of 64 keys: sm_80 to sm_89, and sm_90.
inline constexpr std::string_view sm80_mma_v1 = "sm80-mma16816-k64-v1";
inline constexpr std::string_view sm90_mma_v1 = "sm90-mma16816-k64-v1";
/// By name: as sm90-mma16816-k64-v1, but many rows by Hopper's wgmma where the call allows it, which is faster (docs/kernels.md). A query's bits then
/// depend on which of the two served its call, and so on the call's longest sequence and on its options and layout (docs/numerics.md).
inline constexpr std::string_view sm90_wgmma_v1 = "sm90-wgmma-v1";
/// By name: as sm90-wgmma-v1, but many rows are projected by cuBLASLt. The bits of those rows are its version's, and may depend on how many they are.
inline constexpr std::string_view sm90_cublaslt_v1 = "sm90-cublaslt-v1";
/// By name, for float: as cpu-v1, but attention's products on tensor cores, by tf32 in three pieces.
inline constexpr std::string_view sm80_3xtf32_v1 = "sm80-mma1688-3xtf32-v1";
inline constexpr std::string_view sm90_3xtf32_v1 = "sm90-mma1688-3xtf32-v1";

}  // namespace numerics_id

/// Whether products under this id add pairs of bf16: scaled queries and probabilities are then rounded to bf16.
constexpr bool adds_bf16_pairs(std::string_view id) { return id == numerics_id::cpu_bf16dot_v1; }
/// Whether many rows are projected by cuBLASLt.
constexpr bool uses_cublaslt(std::string_view id) { return id == numerics_id::sm90_cublaslt_v1; }
/// Whether many rows are attended by wgmma, and projected by it where cuBLASLt does not.
constexpr bool uses_wgmma(std::string_view id) { return id == numerics_id::sm90_wgmma_v1 || uses_cublaslt(id); }
/// Whether products under this id run on tensor cores: queries, once rotated, and probabilities are then rounded to the type of the activations.
constexpr bool uses_tensor_cores(std::string_view id) { return id == numerics_id::sm80_mma_v1 || id == numerics_id::sm90_mma_v1 || uses_wgmma(id); }
/// Whether attention's products of floats run on tensor cores.
constexpr bool uses_tf32(std::string_view id) { return id == numerics_id::sm80_3xtf32_v1 || id == numerics_id::sm90_3xtf32_v1; }

/// Whether weights and attended rows are rounded to the type of the activations before products take them.
constexpr bool takes_rounded_operands(std::string_view id) { return adds_bf16_pairs(id) || uses_tensor_cores(id); }

/// What decides which ids can serve an attention.
struct attention_types {
  dtype activations = dtype::f32, keys = dtype::f32;  ///< keys: of keys and values as kept
  index_t head_dim = 0, value_dim = 0;
};

/// Sets what parameters of an operation say of the id.
template <class Params>
constexpr void set_numerics(Params& p, std::string_view id) {
  p.bf16_pairs = adds_bf16_pairs(id), p.tensor_cores = uses_tensor_cores(id), p.wgmma = uses_wgmma(id);
  if constexpr (requires { p.tf32; }) p.tf32 = uses_tf32(id);
  if constexpr (requires { p.cublaslt; }) p.cublaslt = uses_cublaslt(id);
}

}  // namespace v0
}  // namespace rapt
