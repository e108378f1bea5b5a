// The launches of attention on tensor cores, for T of f16 and bf16. Each family of kernels takes minutes to compile and has a source of its own; what
// Hopper alone has is compiled for sm_90a alone.
#pragma once
#include <cuda/context_impl.hpp>
#include <kernels/attend_decode_clusters.hpp>
#include <kernels/attend_hopper.hpp>
#include <kernels/attend_prefill.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

/// kernels::attend_decode: few queries.
template <class T>
void attend_decode(const kernels::attention_problem<T>& p, const kernels::decode_limits& limits, const kernels::decode_memory& memory,
                   runtime::stream stream);

/// kernels::attend_prefill: many queries.
template <class T>
void attend_prefill(const kernels::attention_problem<T>& p, std::byte* states, unsigned* counter, unsigned num_blocks, runtime::stream stream);

/// kernels::attend_decode_by_clusters: few queries against few keys, on sm_90a.
template <class T>
void attend_decode_by_clusters(const kernels::attention_problem<T>& p, const kernels::decode_limits& limits, const kernels::decode_memory& memory,
                               runtime::stream stream);

/// kernels::attend_hopper: many queries by wgmma, on sm_90a.
template <class T>
void attend_hopper(const kernels::attention_problem<T>& p, const kernels::tensor_rows& rows, unsigned* counter, unsigned num_blocks,
                   runtime::stream stream);

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
