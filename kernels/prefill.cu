// Prefill, and the naive attention that it is measured against, compiled for devices.
#include <kernels/naive_attention.hpp>
#include <kernels/prefill.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

template __global__ void naive_attention(attention_problem<f16, double>);
template __global__ void naive_attention(attention_problem<bf16, double>);
template __global__ void prefill<false>(attention_problem<f16>, prefill_options, prefill_workspace<64, 2>);
template __global__ void prefill<false>(attention_problem<f16>, prefill_options, prefill_workspace<96, 2>);
template __global__ void prefill<false>(attention_problem<f16>, prefill_options, prefill_workspace<128, 2>);
template __global__ void prefill<false>(attention_problem<f16>, prefill_options, prefill_workspace<192, 1>);
template __global__ void prefill<false>(attention_problem<f16>, prefill_options, prefill_workspace<256, 1>);
template __global__ void prefill<false>(attention_problem<bf16>, prefill_options, prefill_workspace<64, 2>);
template __global__ void prefill<false>(attention_problem<bf16>, prefill_options, prefill_workspace<96, 2>);
template __global__ void prefill<false>(attention_problem<bf16>, prefill_options, prefill_workspace<128, 2>);
template __global__ void prefill<false>(attention_problem<bf16>, prefill_options, prefill_workspace<192, 1>);
template __global__ void prefill<false>(attention_problem<bf16>, prefill_options, prefill_workspace<256, 1>);
template __global__ void prefill<true>(attention_problem<f16>, prefill_options, prefill_workspace<64, 2>);
template __global__ void prefill<true>(attention_problem<f16>, prefill_options, prefill_workspace<96, 1>);
template __global__ void prefill<true>(attention_problem<f16>, prefill_options, prefill_workspace<128, 1>);
template __global__ void prefill<true>(attention_problem<f16>, prefill_options, prefill_workspace<192, 1>);
template __global__ void prefill<true>(attention_problem<f16>, prefill_options, prefill_workspace<256, 1>);
template __global__ void prefill<true>(attention_problem<bf16>, prefill_options, prefill_workspace<64, 2>);
template __global__ void prefill<true>(attention_problem<bf16>, prefill_options, prefill_workspace<96, 1>);
template __global__ void prefill<true>(attention_problem<bf16>, prefill_options, prefill_workspace<128, 1>);
template __global__ void prefill<true>(attention_problem<bf16>, prefill_options, prefill_workspace<192, 1>);
template __global__ void prefill<true>(attention_problem<bf16>, prefill_options, prefill_workspace<256, 1>);

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
