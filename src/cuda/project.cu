// Projections: many rows by wgmma where the id asks for it, with the same bits; else the choice of kernel is that of kernels/project.hpp and
// exact_project.hpp. Here operands become the matrices that the tensor cores' kernels take.
#include <cuda/project_hopper.hpp>
#include <cuda/rows.hpp>
#include <kernels/exact_project.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {
namespace {

/// One output, of type Out; x, y and residual have matrix rows. max_blocks: of projections by wgmma, or 0.
template <class T, class Out>
void project_to(unsigned max_blocks, const operand& x, const packed_matrix& w, const operand& y, const operand& residual, runtime::stream stream) {
  kernels::projection<T, Out> one;
  one.x = static_cast<const T*>(x.data), one.w = static_cast<const T*>(w.data), one.bias = static_cast<const float*>(w.bias);
  one.residual = static_cast<const T*>(residual.data), one.y = static_cast<Out*>(y.data);
  one.x_stride = x.len_stride, one.w_stride = w.depth, one.residual_stride = residual.len_stride, one.y_stride = y.len_stride;
  one.rows = static_cast<int>(x.rows()), one.in = static_cast<int>(w.depth), one.out = static_cast<int>(w.columns);
  if (max_blocks > 0 && kernels::serves_hopper(one))
    cuda::project_hopper(one, max_blocks, stream);
  else
    kernels::project(one, stream);
}

/// In the CPU's order, which takes operands as they are.
template <class A>
void project_exact(context& ctx, const project_params& p) {
  run(ctx, [&](launches& l) {
    for (const auto& [w, out] : p.targets) {
      kernels::exact_projection<A> one;
      one.x = p.x, one.y = out, one.residual = p.residual;
      one.w = w.data, one.w_type = w.type, one.w_stride = w.depth, one.bias = static_cast<const A*>(w.bias);
      kernels::project_exact(one, l.stream());
    }
  });
}

}  // namespace

void backend::project(context& ctx, const project_params& p, workspace& scratch) noexcept {
  const workspace::scope scope(scratch);
  if (!p.tensor_cores) {
    if (scratch.measuring()) return;
    return p.accumulator == dtype::f64 ? project_exact<double>(ctx, p) : project_exact<float>(ctx, p);
  }
  const auto suited = [&](const operand& o) { return suited_operand(o, o.data == nullptr || has_matrix_rows(o), scratch); };
  const suited_operand x = suited(p.x), residual = suited(p.residual);
  const auto out = [&](std::size_t t) { return suited(t < p.targets.size() ? p.targets[t].out : operand{}); };
  const suited_operand outs[] = {out(0), out(1), out(2)};
  if (scratch.measuring() || p.x.rows() == 0) return;
  const unsigned max_blocks = p.wgmma ? static_cast<unsigned>(ctx.num_workers()) : 0;
  run(ctx, [&](launches& l) {
    x.copy_in(l.stream()), residual.copy_in(l.stream());
    for (std::size_t t = 0; t < p.targets.size(); ++t) {
      const operand& y = outs[t].get();
      with_half(p.x.type, [&](auto element) {
        using T = decltype(element);
        if (y.type == dtype::f32)
          project_to<T, float>(max_blocks, x.get(), p.targets[t].weights, y, residual.get(), l.stream());
        else
          project_to<T, T>(max_blocks, x.get(), p.targets[t].weights, y, residual.get(), l.stream());
      });
      outs[t].copy_out(l.stream());
    }
  });
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
