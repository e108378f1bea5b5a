// The CPU's instantiations, so that programs need not compile them.
#include <rapt/attention/multi_head_attention.hpp>
#include <rapt/cpu/context.hpp>

namespace rapt {
inline namespace v0 {
template class RAPT_API multi_head_attention<double, cpu::backend>;
template class RAPT_API multi_head_attention<float, cpu::backend>;
template class RAPT_API multi_head_attention<bf16, cpu::backend>;
template class RAPT_API multi_head_attention<f16, cpu::backend>;
}  // namespace v0
}  // namespace rapt
