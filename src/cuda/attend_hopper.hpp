// Attention by what Hopper has: many queries by wgmma, few against few keys by clusters. Compiled for sm_90a alone, in a source of its own.
#pragma once
#include <cuda/context_impl.hpp>
#include <kernels/attend_decode_clusters.hpp>
#include <kernels/attend_hopper.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

/// Whether it is asked for, and serves the problem; q is packed rows.
template <class T>
bool is_for_hopper(const attend_params& p, const kernels::attention_problem<T>& problem) {
  return p.wgmma && problem.q.outer_stride == 0 && kernels::serves_hopper(problem);
}
void attend_hopper(const kernels::attention_problem<f16>& p, const kernels::tensor_rows& rows, unsigned* counter, unsigned num_blocks,
                   runtime::stream stream);
void attend_hopper(const kernels::attention_problem<bf16>& p, const kernels::tensor_rows& rows, unsigned* counter, unsigned num_blocks,
                   runtime::stream stream);

/// kernels::attend_decode_by_clusters.
void attend_decode_by_clusters(const kernels::attention_problem<f16>& p, const kernels::decode_limits& limits, const kernels::decode_memory& memory,
                               runtime::stream stream);
void attend_decode_by_clusters(const kernels::attention_problem<bf16>& p, const kernels::decode_limits& limits, const kernels::decode_memory& memory,
                               runtime::stream stream);

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
