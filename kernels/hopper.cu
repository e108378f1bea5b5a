// Attention for sm_90a alone, compiled for devices.
#include <kernels/hopper_prefill.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

#define RAPT_HOPPER_PREFILL(type, head_dim)                                                                                         \
  template __global__ void hopper_prefill<hopper_shape<type, head_dim>>(                                                            \
      attention_problem<type>, score_constants, const __grid_constant__ simt::tensor_map, const __grid_constant__ simt::tensor_map, \
      const __grid_constant__ simt::tensor_map, unsigned*)
RAPT_HOPPER_PREFILL(f16, 64);
RAPT_HOPPER_PREFILL(f16, 96);
RAPT_HOPPER_PREFILL(f16, 128);
RAPT_HOPPER_PREFILL(f16, 192);
RAPT_HOPPER_PREFILL(f16, 256);
RAPT_HOPPER_PREFILL(bf16, 64);
RAPT_HOPPER_PREFILL(bf16, 96);
RAPT_HOPPER_PREFILL(bf16, 128);
RAPT_HOPPER_PREFILL(bf16, 192);
RAPT_HOPPER_PREFILL(bf16, 256);

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
