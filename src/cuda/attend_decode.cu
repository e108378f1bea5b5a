#include <cuda/attend_kernels.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

template <class T>
void attend_decode(const kernels::attention_problem<T>& p, const kernels::decode_limits& limits, const kernels::decode_memory& memory,
                   runtime::stream stream) {
  kernels::attend_decode(p, limits, memory, stream);
}
template void attend_decode(const kernels::attention_problem<f16>&, const kernels::decode_limits&, const kernels::decode_memory&, runtime::stream);
template void attend_decode(const kernels::attention_problem<bf16>&, const kernels::decode_limits&, const kernels::decode_memory&, runtime::stream);

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
