// Vectors of accumulators: lane groups, loads that widen, and registers that stay registers. Once per instruction set.
#if defined(RAPT_CPU_LANES_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef RAPT_CPU_LANES_INL_HPP
#undef RAPT_CPU_LANES_INL_HPP
#else
#define RAPT_CPU_LANES_INL_HPP
#endif

#include <hwy/highway.h>
#include <math/vector_math-inl.hpp>
#include <rapt/core/dtype.hpp>

#include <type_traits>

HWY_BEFORE_NAMESPACE();
namespace rapt {
inline namespace v0 {
namespace cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using rapt::v0::HWY_NAMESPACE::fused_mul_add;

template <class A>
using tag = hn::CappedTag<A, lane_group>;
template <class A>
using vec = hn::Vec<tag<A>>;
template <class A>
constexpr int num_lanes = static_cast<int>(hn::MaxLanes(tag<A>()));
/// Vectors in a lane group: 1 to 16.
template <class A>
constexpr int group_vectors = static_cast<int>(lane_group) / num_lanes<A>;

#define RAPT_UNROLL _Pragma("GCC unroll 16")

// g++ keeps arrays of Highway's vector classes in memory; arrays of raw registers with fully unrolled loops stay in registers. The portable targets'
// raw types are arrays or scalars, and nothing is gained there.
#if RAPT_TARGET_HAS_FMA
template <class A>
using reg = decltype(vec<A>::raw);
template <class A>
HWY_INLINE reg<A> to_reg(vec<A> v) {
  return v.raw;
}
template <class A>
HWY_INLINE vec<A> to_vec(reg<A> r) {
  return vec<A>{r};
}
/// g++ would fold the load into every FMA that uses it: one load for each row instead of one, and the tile becomes load-bound (94 instead of 116
/// GFLOP/s on Zen 4).
template <class A>
HWY_INLINE reg<A> keep_in_register(vec<A> loaded) {
  reg<A> r = loaded.raw;
  asm("" : "+v"(r));
  return r;
}
#else
template <class A>
using reg = vec<A>;
template <class A>
HWY_INLINE reg<A> to_reg(vec<A> v) {
  return v;
}
template <class A>
HWY_INLINE vec<A> to_vec(reg<A> r) {
  return r;
}
template <class A>
HWY_INLINE reg<A> keep_in_register(vec<A> loaded) {
  return loaded;
}
#endif

/// num_lanes<A> elements, widened exactly.
template <class A, class T>
HWY_INLINE vec<A> load_widened(const T* from) {
  const tag<A> d;
  if constexpr (std::is_same_v<A, T>) {
    return hn::LoadU(d, from);
  } else if constexpr (std::is_same_v<T, bf16>) {
    const auto bits = hn::LoadU(hn::Rebind<std::uint16_t, tag<A>>(), reinterpret_cast<const std::uint16_t*>(from));
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(hn::Rebind<std::uint32_t, tag<A>>(), bits)));
  } else {
    static_assert(std::is_same_v<T, f16>);
#if RAPT_TARGET_HAS_FMA
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, tag<A>>(), reinterpret_cast<const hwy::float16_t*>(from)));
#else
    alignas(16) A wide[num_lanes<A>];
    for (int i = 0; i < num_lanes<A>; ++i) wide[i] = static_cast<A>(from[i]);
    return hn::Load(d, wide);
#endif
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace v0
}  // namespace rapt
HWY_AFTER_NAMESPACE();
#endif
