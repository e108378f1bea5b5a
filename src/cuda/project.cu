// Projections: the choice of kernel is kernels/project.hpp's; here operands become the matrices that it takes.
#include <cuda/rows.hpp>
#include <kernels/project.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {
namespace {

/// One output, of type Out; x, y and residual have matrix rows.
template <class T, class Out>
void project_to(const operand& x, const packed_matrix& w, const operand& y, const operand& residual, runtime::stream stream) {
  kernels::projection<T, Out> one;
  one.x = static_cast<const T*>(x.data), one.w = static_cast<const T*>(w.data), one.bias = static_cast<const float*>(w.bias);
  one.residual = static_cast<const T*>(residual.data), one.y = static_cast<Out*>(y.data);
  one.x_stride = x.len_stride, one.w_stride = w.depth, one.residual_stride = residual.len_stride, one.y_stride = y.len_stride;
  one.rows = static_cast<int>(x.rows()), one.in = static_cast<int>(w.depth), one.out = static_cast<int>(w.columns);
  kernels::project(one, stream);
}

}  // namespace

void backend::project(context& ctx, const project_params& p, workspace& scratch) noexcept {
  const workspace::scope scope(scratch);
  const auto suited = [&](const operand& o) { return suited_operand(o, o.data == nullptr || has_matrix_rows(o), scratch); };
  const suited_operand x = suited(p.x), residual = suited(p.residual);
  const suited_operand outs[] = {suited(p.targets[0].out), suited(p.targets[1].out), suited(p.targets[2].out)};
  if (scratch.measuring() || p.x.rows() == 0) return;
  run(ctx, [&](launches& l) {
    x.copy_in(l.stream()), residual.copy_in(l.stream());
    for (int t = 0; t < p.num_targets; ++t) {
      const operand& y = outs[t].get();
      with_half(p.x.type, [&](auto element) {
        using T = decltype(element);
        if (y.type == dtype::f32)
          project_to<T, float>(x.get(), p.targets[t].weights, y, residual.get(), l.stream());
        else
          project_to<T, T>(x.get(), p.targets[t].weights, y, residual.get(), l.stream());
      });
      outs[t].copy_out(l.stream());
    }
  });
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
