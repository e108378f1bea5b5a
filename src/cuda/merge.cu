// Joining attention over two sets of keys, in the CPU's order.
#include <cuda/context_impl.hpp>
#include <kernels/exact_merge.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

void backend::merge(context& ctx, const merge_params& params, workspace& scratch) noexcept {
  if (scratch.measuring()) return;
  run(ctx, [&](launches& l) { kernels::merge_exact(params, l.stream()); });
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
