// Decode, compiled for devices.
#include <kernels/decode.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

template __global__ void decode<false, f16, 64, false>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<false, f16, 64, true>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<false, f16, 96, false>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<false, f16, 96, true>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<false, f16, 128, false>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<false, f16, 128, true>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<false, f16, 192, false>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<false, f16, 192, true>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<false, f16, 256, false>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<false, f16, 256, true>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<false, bf16, 64, false>(attention_problem<bf16>, decode_options, decode_workspace);
template __global__ void decode<false, bf16, 64, true>(attention_problem<bf16>, decode_options, decode_workspace);
template __global__ void decode<false, bf16, 96, false>(attention_problem<bf16>, decode_options, decode_workspace);
template __global__ void decode<false, bf16, 96, true>(attention_problem<bf16>, decode_options, decode_workspace);
template __global__ void decode<false, bf16, 128, false>(attention_problem<bf16>, decode_options, decode_workspace);
template __global__ void decode<false, bf16, 128, true>(attention_problem<bf16>, decode_options, decode_workspace);
template __global__ void decode<false, bf16, 192, false>(attention_problem<bf16>, decode_options, decode_workspace);
template __global__ void decode<false, bf16, 192, true>(attention_problem<bf16>, decode_options, decode_workspace);
template __global__ void decode<false, bf16, 256, false>(attention_problem<bf16>, decode_options, decode_workspace);
template __global__ void decode<false, bf16, 256, true>(attention_problem<bf16>, decode_options, decode_workspace);
template __global__ void decode<true, f16, 64, false>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<true, f16, 96, false>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<true, f16, 128, false>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<true, f16, 192, false>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<true, f16, 256, false>(attention_problem<f16>, decode_options, decode_workspace);
template __global__ void decode<true, bf16, 64, false>(attention_problem<bf16>, decode_options, decode_workspace);
template __global__ void decode<true, bf16, 96, false>(attention_problem<bf16>, decode_options, decode_workspace);
template __global__ void decode<true, bf16, 128, false>(attention_problem<bf16>, decode_options, decode_workspace);
template __global__ void decode<true, bf16, 192, false>(attention_problem<bf16>, decode_options, decode_workspace);
template __global__ void decode<true, bf16, 256, false>(attention_problem<bf16>, decode_options, decode_workspace);

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
