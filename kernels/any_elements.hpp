// Operands whose element type is known when a kernel runs: any floating type comes in as an accumulator, and goes out rounded once. So one kernel for
// each accumulator serves every mixture of types, and choosing the type costs a branch that a whole block takes.
#pragma once
#include <kernels/elementary.hpp>
#include <kernels/elements.hpp>
#include <rapt/core/params.hpp>

#include <algorithm>
#include <initializer_list>

namespace rapt {
inline namespace v0 {
namespace kernels {

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

/// Four elements that a thread reads at once.
template <class T>
struct alignas(sizeof(T) > 4 ? 16 : 4 * sizeof(T)) four_elements {
  T x[4];
};
/// Elements [first, first + 4) of those from `data` on, `stride` apart; zero from `count` on. by_four: they are neighbours at a multiple of the size
/// of four, and count is a multiple of 4.
template <class T>
RAPT_DEVICE four_elements<T> load_four(const T* data, int first, int count, index_t stride, bool by_four) {
  four_elements<T> four{};
  if (by_four) {
    if (first < count) four = *reinterpret_cast<const four_elements<T>*>(data + first);
  } else {
    RAPT_UNROLL for (int i = 0; i < 4; ++i) if (first + i < count) four.x[i] = data[(first + i) * stride];
  }
  return four;
}
/// Whether rows of `dim` elements at these strides can be read by four.
inline bool is_by_four(const void* data, dtype type, index_t dim, index_t dim_stride, std::initializer_list<index_t> strides) {
  const bool whole = std::all_of(strides.begin(), strides.end(), [](index_t stride) { return stride % 4 == 0; });
  return dim_stride == 1 && dim % 4 == 0 && whole && reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(4 * size_of(type)) == 0;
}
inline bool is_by_four(const operand& o) { return is_by_four(o.data, o.type, o.dim, o.dim_stride, {o.batch_stride, o.len_stride, o.head_stride}); }

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
