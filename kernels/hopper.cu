// What sm_90a alone has, compiled for devices.
#include <kernels/decode_clusters.hpp>
#include <kernels/hopper_prefill.hpp>
#include <kernels/project_hopper.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

#define RAPT_HOPPER_PREFILL(type, head_dim)                                                                                         \
  template __global__ void hopper_prefill<hopper_shape<type, head_dim>>(                                                            \
      attention_problem<type>, score_constants, const __grid_constant__ simt::tensor_map, const __grid_constant__ simt::tensor_map, \
      const __grid_constant__ simt::tensor_map, int, unsigned*)
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

#define RAPT_DECODE_BY_CLUSTERS(type, dim) \
  template __global__ void decode_by_clusters<type, dim>(attention_problem<type>, decode_options, decode_workspace)
RAPT_DECODE_BY_CLUSTERS(f16, 64);
RAPT_DECODE_BY_CLUSTERS(f16, 96);
RAPT_DECODE_BY_CLUSTERS(f16, 128);
RAPT_DECODE_BY_CLUSTERS(f16, 192);
RAPT_DECODE_BY_CLUSTERS(f16, 256);
RAPT_DECODE_BY_CLUSTERS(bf16, 64);
RAPT_DECODE_BY_CLUSTERS(bf16, 96);
RAPT_DECODE_BY_CLUSTERS(bf16, 128);
RAPT_DECODE_BY_CLUSTERS(bf16, 192);
RAPT_DECODE_BY_CLUSTERS(bf16, 256);

#define RAPT_HOPPER_PROJECT(type, out, columns)                                         \
  template __global__ void hopper_project<hopper_projection_shape<type, columns>, out>( \
      projection<type, out>, const __grid_constant__ simt::tensor_map, const __grid_constant__ simt::tensor_map)
RAPT_HOPPER_PROJECT(f16, f16, 64);
RAPT_HOPPER_PROJECT(f16, f16, 128);
RAPT_HOPPER_PROJECT(f16, float, 64);
RAPT_HOPPER_PROJECT(f16, float, 128);
RAPT_HOPPER_PROJECT(bf16, bf16, 64);
RAPT_HOPPER_PROJECT(bf16, bf16, 128);
RAPT_HOPPER_PROJECT(bf16, float, 64);
RAPT_HOPPER_PROJECT(bf16, float, 128);

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
