// What programs in Python pass to projection kernels, as a structure of C.
#pragma once
#include <kernels/project_problem.hpp>

namespace rapt_bench {

/// What projections.py passes: matrices without gaps; a float bias and a residual, or null. kernel: a project_kernel, or -1 for the one that suits.
struct projection_call {
  const void *x, *w, *bias, *residual;
  void* y;
  int rows, in, out, is_bf16, kernel;
};

template <class T>
rapt::kernels::projection<T> projection_of(const projection_call& c) {
  rapt::kernels::projection<T> p;
  p.x = static_cast<const T*>(c.x), p.w = static_cast<const T*>(c.w), p.y = static_cast<T*>(c.y);
  p.bias = static_cast<const float*>(c.bias), p.residual = static_cast<const T*>(c.residual);
  p.rows = c.rows, p.in = c.in, p.out = c.out;
  p.x_stride = p.w_stride = c.in, p.residual_stride = p.y_stride = c.out;
  return p;
}

/// Calls f(projection) of its type.
template <class F>
void with_projection(const projection_call& c, F f) {
  if (c.is_bf16 != 0)
    f(projection_of<rapt::bf16>(c));
  else
    f(projection_of<rapt::f16>(c));
}

}  // namespace rapt_bench
