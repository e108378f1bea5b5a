#include <cuda/attend_kernels.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

template <class T>
void attend_prefill(const kernels::attention_problem<T>& p, std::byte* states, unsigned* counter, unsigned num_blocks, runtime::stream stream) {
  kernels::attend_prefill(p, states, counter, num_blocks, stream);
}
template void attend_prefill(const kernels::attention_problem<f16>&, std::byte*, unsigned*, unsigned, runtime::stream);
template void attend_prefill(const kernels::attention_problem<bf16>&, std::byte*, unsigned*, unsigned, runtime::stream);

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
