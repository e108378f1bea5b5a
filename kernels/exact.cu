// Kernels with the CPU's bits, compiled for devices.
#include <kernels/exact_append.hpp>
#include <kernels/exact_attention.hpp>
#include <kernels/exact_merge.hpp>
#include <kernels/exact_project.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

#define RAPT_EXACT_ATTEND(products, A)                                                                                                             \
  template __global__ void exact_attend<exact_products::products>(exact_attention_problem<A>, exact_constants<A>, exact_split, exact_workspace<A>, \
                                                                  int)
RAPT_EXACT_ATTEND(fma, float);
RAPT_EXACT_ATTEND(tf32, float);
RAPT_EXACT_ATTEND(fma, double);
template __global__ void exact_finish(exact_attention_problem<float>, exact_split, exact_workspace<float>, int);
template __global__ void exact_finish(exact_attention_problem<double>, exact_split, exact_workspace<double>, int);
template __global__ void exact_project_tiles(exact_projection<float>, int, bool);
template __global__ void exact_project_tiles(exact_projection<double>, int, bool);
template __global__ void exact_project_few_rows<1>(exact_projection<float>, int, bool);
template __global__ void exact_project_few_rows<1>(exact_projection<double>, int, bool);
template __global__ void exact_project_few_rows<8>(exact_projection<float>, int, bool);
template __global__ void exact_project_few_rows<8>(exact_projection<double>, int, bool);
template __global__ void exact_append(exact_append_problem<float>, int);
template __global__ void exact_append(exact_append_problem<double>, int);
template __global__ void exact_merge_rows<float>(merge_params);
template __global__ void exact_merge_rows<double>(merge_params);

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
