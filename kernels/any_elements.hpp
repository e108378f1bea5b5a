// Operands whose element type is known when a kernel runs: any floating type comes in as an accumulator, and goes out rounded once. So one kernel for
// each accumulator serves every mixture of types, and choosing the type costs a branch that a whole block takes.
#pragma once
#include <kernels/elementary.hpp>
#include <kernels/elements.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Rows of heads: heads_view with a type, and a stride between elements.
struct any_heads {
  void* data = nullptr;
  dtype type = dtype::f32;
  index_t outer_stride = 0, row_stride = 0, head_stride = 0, dim_stride = 1;

  RAPT_DEVICE index_t offset(int outer, int row, int head) const { return outer * outer_stride + row * row_stride + head * head_stride; }
};

template <class A>
RAPT_DEVICE A widened(double x) {
  return static_cast<A>(x);  // under float rounded once, as weights are when the CPU packs them
}
template <class A>
RAPT_DEVICE A widened(float x) {
  return static_cast<A>(x);
}
template <class A>
RAPT_DEVICE A widened(bf16 x) {
  return static_cast<A>(simt::widen<bf16>(x.bits));
}
template <class A>
RAPT_DEVICE A widened(f16 x) {
  return static_cast<A>(simt::widen<f16>(x.bits));
}

/// x rounded once to nearest even; every NaN is the canonical one.
template <class T, class A>
RAPT_DEVICE T rounded(A x) {
  if constexpr (sizeof(T) > 2) {
    return canonical(static_cast<T>(x));
  } else if constexpr (sizeof(A) > 4) {
    return T(x);
  } else {
    T y;
    y.bits = static_cast<std::uint16_t>(finished_pair<T>(x, 0.0f));
    return y;
  }
}

/// f(T{}) for the element type that `type` names.
template <class F>
RAPT_DEVICE void with_element_type(dtype type, F f) {
  switch (type) {
    case dtype::f64:
      return f(double{});
    case dtype::f32:
      return f(float{});
    case dtype::bf16:
      return f(bf16{});
    default:
      return f(f16{});
  }
}

/// Element `i` from `data` on.
template <class A>
RAPT_DEVICE A load_any(const void* data, dtype type, index_t i) {
  A x{};
  with_element_type(type, [&](auto t) { x = widened<A>(static_cast<const decltype(t)*>(data)[i]); });
  return x;
}
template <class A>
RAPT_DEVICE void store_any(void* data, dtype type, index_t i, A x) {
  with_element_type(type, [&](auto t) { static_cast<decltype(t)*>(data)[i] = rounded<decltype(t)>(x); });
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
