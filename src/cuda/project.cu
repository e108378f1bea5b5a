// Projections: many rows by cuBLASLt, or by wgmma with the bits of the default, where the id asks for it; else the choice of kernel is that of
// kernels/project.hpp and exact_project.hpp. Here operands become the matrices that the tensor cores' kernels take.
#include <cuda/project_cublaslt.hpp>
#include <cuda/project_hopper.hpp>
#include <cuda/rows.hpp>
#include <kernels/exact_project.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {
namespace {

/// What may project many rows.
struct many_rows {
  unsigned max_blocks;       ///< of wgmma; 0: it may not
  void* cublaslt_workspace;  ///< null: cuBLASLt may not
};

/// One output; x, y and residual have matrix rows.
template <class T, class Out>
kernels::projection<T, Out> projection_of(const operand& x, const packed_matrix& w, const operand& y, const operand& residual) {
  kernels::projection<T, Out> one;
  one.x = static_cast<const T*>(x.data), one.w = static_cast<const T*>(w.data), one.bias = static_cast<const float*>(w.bias);
  one.residual = static_cast<const T*>(residual.data), one.y = static_cast<Out*>(y.data);
  one.x_stride = x.len_stride, one.w_stride = w.depth, one.residual_stride = residual.len_stride, one.y_stride = y.len_stride;
  one.rows = static_cast<int>(x.rows()), one.in = static_cast<int>(w.depth), one.out = static_cast<int>(w.columns);
  return one;
}

/// Whether these are rows that cuBLASLt or wgmma takes, which then has them.
template <class T, class Out>
bool project_many_rows(const many_rows& by, const kernels::projection<T, Out>& one, launches& l) {
  if (by.cublaslt_workspace != nullptr && project_cublaslt(one, by.cublaslt_workspace, l)) return true;
  if (by.max_blocks == 0 || !kernels::serves_hopper(one)) return false;
  cuda::project_hopper(one, by.max_blocks, l.stream());
  return true;
}

/// The outputs of type Out.
template <class T, class Out>
void project_to(const many_rows& by, const operand& x, std::span<const project_params::target> targets, std::span<const suited_operand> outs,
                const operand& residual, launches& l) {
  kernels::projection<T, Out> others[kernels::max_projections];
  std::size_t num_others = 0;
  for (std::size_t t = 0; t < targets.size(); ++t) {
    if (outs[t].get().type != dtype_of<Out>) continue;
    const auto one = projection_of<T, Out>(x, targets[t].weights, outs[t].get(), residual);
    if (!project_many_rows(by, one, l)) others[num_others++] = one;
  }
  kernels::project_together(std::span<const kernels::projection<T, Out>>(others, num_others), l.stream());
}

/// Work memory of cuBLASLt, or null.
std::byte* take_cublaslt_workspace(const project_params& p, workspace& scratch) {
  using runtime::matmul_library;
  if (!p.cublaslt || p.x.rows() < least_cublaslt_rows) return nullptr;
  std::byte* const data = scratch.take<std::byte>(matmul_library::workspace_bytes + matmul_library::workspace_alignment);
  const auto past = reinterpret_cast<std::uintptr_t>(data) % matmul_library::workspace_alignment;
  return past == 0 ? data : data + (matmul_library::workspace_alignment - past);
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
  const many_rows by{p.wgmma ? static_cast<unsigned>(ctx.num_workers()) : 0, take_cublaslt_workspace(p, scratch)};
  if (scratch.measuring() || p.x.rows() == 0) return;
  run(ctx, [&](launches& l) {
    x.copy_in(l.stream()), residual.copy_in(l.stream());
    with_half(p.x.type, [&](auto element) {
      using T = decltype(element);
      project_to<T, float>(by, x.get(), p.targets, outs, residual.get(), l);
      project_to<T, T>(by, x.get(), p.targets, outs, residual.get(), l);
    });
    for (std::size_t t = 0; t < p.targets.size(); ++t) outs[t].copy_out(l.stream());
  });
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
