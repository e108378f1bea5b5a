// Attention in the CPU's order.
#pragma once
#include <cuda/context_impl.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

void attend_exact(context& ctx, const attend_params& params, workspace& scratch) noexcept;

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
