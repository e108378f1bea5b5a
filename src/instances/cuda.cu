// CUDA's instantiations, so that programs need not compile them.
#include <rapt/attention/multi_head_attention.hpp>
#include <rapt/cuda/context.hpp>

namespace rapt {
inline namespace v0 {
template class RAPT_API multi_head_attention<double, cuda::backend>;
template class RAPT_API multi_head_attention<float, cuda::backend>;
template class RAPT_API multi_head_attention<bf16, cuda::backend>;
template class RAPT_API multi_head_attention<f16, cuda::backend>;
}  // namespace v0
}  // namespace rapt
