#include <cuda/attend_hopper.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

void attend_hopper(const kernels::attention_problem<f16>& p, const kernels::tensor_rows& rows, unsigned* counter, unsigned num_blocks,
                   runtime::stream stream) {
  kernels::attend_hopper(p, rows, counter, num_blocks, stream);
}
void attend_hopper(const kernels::attention_problem<bf16>& p, const kernels::tensor_rows& rows, unsigned* counter, unsigned num_blocks,
                   runtime::stream stream) {
  kernels::attend_hopper(p, rows, counter, num_blocks, stream);
}

void attend_decode_by_clusters(const kernels::attention_problem<f16>& p, const kernels::decode_limits& limits, const kernels::decode_memory& memory,
                               runtime::stream stream) {
  kernels::attend_decode_by_clusters(p, limits, memory, stream);
}
void attend_decode_by_clusters(const kernels::attention_problem<bf16>& p, const kernels::decode_limits& limits, const kernels::decode_memory& memory,
                               runtime::stream stream) {
  kernels::attend_decode_by_clusters(p, limits, memory, stream);
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
