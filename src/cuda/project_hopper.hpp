// Projections of many rows by wgmma: compiled for sm_90a alone, in a source of its own.
#pragma once
#include <cuda/context_impl.hpp>
#include <kernels/project_hopper.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

/// kernels::project_hopper, for T of f16 and bf16 and Out of T and float.
template <class T, class Out>
void project_hopper(const kernels::projection<T, Out>& p, unsigned max_blocks, runtime::stream stream);

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
