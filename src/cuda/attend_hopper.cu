#include <cuda/attend_kernels.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

template <class T>
void attend_decode_by_clusters(const kernels::attention_problem<T>& p, const kernels::decode_limits& limits, const kernels::decode_memory& memory,
                               runtime::stream stream) {
  kernels::attend_decode_by_clusters(p, limits, memory, stream);
}
template <class T>
void attend_hopper(const kernels::attention_problem<T>& p, const kernels::tensor_rows& rows, unsigned* counter, unsigned num_blocks,
                   runtime::stream stream) {
  kernels::attend_hopper(p, rows, counter, num_blocks, stream);
}

template void attend_decode_by_clusters(const kernels::attention_problem<f16>&, const kernels::decode_limits&, const kernels::decode_memory&,
                                        runtime::stream);
template void attend_decode_by_clusters(const kernels::attention_problem<bf16>&, const kernels::decode_limits&, const kernels::decode_memory&,
                                        runtime::stream);
template void attend_hopper(const kernels::attention_problem<f16>&, const kernels::tensor_rows&, unsigned*, unsigned, runtime::stream);
template void attend_hopper(const kernels::attention_problem<bf16>&, const kernels::tensor_rows&, unsigned*, unsigned, runtime::stream);

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
