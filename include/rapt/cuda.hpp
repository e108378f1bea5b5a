// Everything for the CPU, and the CUDA backend: link rapt::cuda.
#pragma once
#include <rapt/cuda/context.hpp>
#include <rapt/rapt.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {
using kv_cache = basic_kv_cache<backend>;
using projected_kv = basic_projected_kv<backend>;
}  // namespace cuda
// Compiled into the library; programs need not compile them.
extern template class RAPT_API multi_head_attention<double, cuda::backend>;
extern template class RAPT_API multi_head_attention<float, cuda::backend>;
extern template class RAPT_API multi_head_attention<bf16, cuda::backend>;
extern template class RAPT_API multi_head_attention<f16, cuda::backend>;
}  // namespace v0
}  // namespace rapt
