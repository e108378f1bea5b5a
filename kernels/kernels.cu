// Every kernel, compiled for devices.
#include <kernels/naive_attention.hpp>
#include <kernels/prefill.hpp>
#include <kernels/repeat.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

template __global__ void repeat_units(const repeat_unit<16>*, repeat_unit<16>*, index_t, index_t, int);
template __global__ void repeat_units(const repeat_unit<8>*, repeat_unit<8>*, index_t, index_t, int);
template __global__ void repeat_units(const repeat_unit<4>*, repeat_unit<4>*, index_t, index_t, int);
template __global__ void repeat_units(const repeat_unit<2>*, repeat_unit<2>*, index_t, index_t, int);
template __global__ void repeat_units(const repeat_unit<1>*, repeat_unit<1>*, index_t, index_t, int);
template __global__ void naive_attention(attention_problem<f16, double>, int);
template __global__ void naive_attention(attention_problem<bf16, double>, int);
template __global__ void prefill(attention_problem<f16>, split_scale, prefill_workspace<64>);
template __global__ void prefill(attention_problem<f16>, split_scale, prefill_workspace<128>);
template __global__ void prefill(attention_problem<bf16>, split_scale, prefill_workspace<64>);
template __global__ void prefill(attention_problem<bf16>, split_scale, prefill_workspace<128>);

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
