#include <cuda/project_hopper.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

template <class T, class Out>
void project_hopper(const kernels::projection<T, Out>& p, unsigned max_blocks, runtime::stream stream) {
  kernels::project_hopper(p, max_blocks, stream);
}
template void project_hopper(const kernels::projection<f16, f16>&, unsigned, runtime::stream);
template void project_hopper(const kernels::projection<f16, float>&, unsigned, runtime::stream);
template void project_hopper(const kernels::projection<bf16, bf16>&, unsigned, runtime::stream);
template void project_hopper(const kernels::projection<bf16, float>&, unsigned, runtime::stream);

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
