// Elements by the name of their type, and between types.
#pragma once
#include <rapt/core/dtype.hpp>

namespace rapt {
inline namespace v0 {

/// Calls f with an element of this floating type.
template <class F>
auto with_element(dtype type, const F& f) {
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

/// Bits are kept where the types agree; wider types are exact, narrower ones round once.
template <class To, class From>
To converted(From x) {
  if constexpr (std::is_same_v<To, From>)
    return x;
  else if constexpr (sizeof(From) == 2)
    return converted<To>(static_cast<float>(x));
  else
    return static_cast<To>(x);
}

}  // namespace v0
}  // namespace rapt
