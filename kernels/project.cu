// Projections, compiled for devices.
#include <kernels/project.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

template __global__ void project_tiles<f16, f16, large_tile, true>(projection<f16, f16>);
template __global__ void project_tiles<f16, f16, medium_tile, true>(projection<f16, f16>);
template __global__ void project_tiles<f16, f16, small_tile, true>(projection<f16, f16>);
template __global__ void project_tiles<f16, f16, narrow_tile, true>(projection<f16, f16>);
template __global__ void project_tiles<f16, f16, small_tile, false>(projection<f16, f16>);
template __global__ void project_few_rows<f16, f16, 8, 4>(projections<f16, f16>);
template __global__ void project_few_rows<f16, f16, 32, 8>(projections<f16, f16>);
template __global__ void project_tiles<f16, float, large_tile, true>(projection<f16, float>);
template __global__ void project_tiles<f16, float, medium_tile, true>(projection<f16, float>);
template __global__ void project_tiles<f16, float, small_tile, true>(projection<f16, float>);
template __global__ void project_tiles<f16, float, narrow_tile, true>(projection<f16, float>);
template __global__ void project_tiles<f16, float, small_tile, false>(projection<f16, float>);
template __global__ void project_few_rows<f16, float, 8, 4>(projections<f16, float>);
template __global__ void project_few_rows<f16, float, 32, 8>(projections<f16, float>);
template __global__ void project_tiles<bf16, bf16, large_tile, true>(projection<bf16, bf16>);
template __global__ void project_tiles<bf16, bf16, medium_tile, true>(projection<bf16, bf16>);
template __global__ void project_tiles<bf16, bf16, small_tile, true>(projection<bf16, bf16>);
template __global__ void project_tiles<bf16, bf16, narrow_tile, true>(projection<bf16, bf16>);
template __global__ void project_tiles<bf16, bf16, small_tile, false>(projection<bf16, bf16>);
template __global__ void project_few_rows<bf16, bf16, 8, 4>(projections<bf16, bf16>);
template __global__ void project_few_rows<bf16, bf16, 32, 8>(projections<bf16, bf16>);
template __global__ void project_tiles<bf16, float, large_tile, true>(projection<bf16, float>);
template __global__ void project_tiles<bf16, float, medium_tile, true>(projection<bf16, float>);
template __global__ void project_tiles<bf16, float, small_tile, true>(projection<bf16, float>);
template __global__ void project_tiles<bf16, float, narrow_tile, true>(projection<bf16, float>);
template __global__ void project_tiles<bf16, float, small_tile, false>(projection<bf16, float>);
template __global__ void project_few_rows<bf16, float, 8, 4>(projections<bf16, float>);
template __global__ void project_few_rows<bf16, float, 32, 8>(projections<bf16, float>);

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
