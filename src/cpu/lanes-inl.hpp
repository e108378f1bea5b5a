// Vectors of accumulators: lane groups, loads that widen, products, and registers that stay registers. Once per instruction set.
#if defined(RAPT_CPU_LANES_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef RAPT_CPU_LANES_INL_HPP
#undef RAPT_CPU_LANES_INL_HPP
#else
#define RAPT_CPU_LANES_INL_HPP
#endif

#include <hwy/highway.h>
#include <cpu/kernels.hpp>
#include <math/vector_math-inl.hpp>
#include <rapt/core/dtype.hpp>

#include <limits>
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

/// As many elements as d has lanes, widened exactly.
template <class D, class T, class A = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_widened(D d, const T* from) {
  if constexpr (std::is_same_v<A, T>) {
    return hn::LoadU(d, from);
  } else if constexpr (std::is_same_v<T, bf16>) {
    const auto bits = hn::LoadU(hn::Rebind<std::uint16_t, D>(), reinterpret_cast<const std::uint16_t*>(from));
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(hn::Rebind<std::uint32_t, D>(), bits)));
  } else {
    static_assert(std::is_same_v<T, f16>);
#if RAPT_TARGET_HAS_FMA
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), reinterpret_cast<const hwy::float16_t*>(from)));
#else
    alignas(16) A wide[hn::MaxLanes(d)];
    for (std::size_t i = 0; i < hn::MaxLanes(d); ++i) wide[i] = static_cast<A>(from[i]);
    return hn::Load(d, wide);
#endif
  }
}

// ---- Products of one term, or of a pair

template <class T>
constexpr bool is_pair = std::is_same_v<T, bf16_pair>;
/// Terms of a chain that a step adds.
template <class T>
constexpr index_t terms_of_step = is_pair<T> ? 2 : 1;

/// Lanes lane .. of a step's group of 16 columns. A pair's two rows of 16 bf16 follow each other; the second may be left out, and is +0 then.
template <class A, class T, bool whole>
HWY_INLINE vec<A> load_column(const T* group, index_t lane) {
  if constexpr (!is_pair<T>) {
    return load_widened(tag<A>(), group + lane);
  } else {
    const tag<A> d;
    const hn::Rebind<std::uint32_t, tag<A>> words;
    const hn::Rebind<std::uint16_t, tag<A>> halves;
    const std::uint16_t* const from = reinterpret_cast<const std::uint16_t*>(group) + lane;
    if constexpr (!whole) return hn::BitCast(d, hn::PromoteTo(words, hn::LoadU(halves, from)));
#if HWY_TARGET == HWY_AVX3
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return vec<A>{_mm512_castsi512_ps(_mm512_permutexvar_epi16(order, _mm512_loadu_si512(from)))};
#else
    const auto first = hn::PromoteTo(words, hn::LoadU(halves, from)), second = hn::PromoteTo(words, hn::LoadU(halves, from + lane_group));
    return hn::BitCast(d, hn::Or(first, hn::ShiftLeft<16>(second)));
#endif
  }
}

#if HWY_TARGET != HWY_AVX3
/// A result too small for a normal float becomes zero of its sign.
template <class A>
HWY_INLINE vec<A> flushed(vec<A> x) {
  const tag<A> d;
  return hn::IfThenElse(hn::Lt(hn::Abs(x), hn::Set(d, std::numeric_limits<A>::min())), hn::And(x, hn::Set(d, -A{0})), x);
}
#endif
/// acc + x * column; of pairs acc + second products, rounded, + first products, rounded, without denormals.
template <class T, class V>
HWY_INLINE V add_product(V x, V column, V acc) {
  if constexpr (!is_pair<T>) {
    return fused_mul_add(x, column, acc);
  } else {
#if HWY_TARGET == HWY_AVX3
    asm("vdpbf16ps %2, %1, %0" : "+v"(acc.raw) : "v"(x.raw), "v"(column.raw));
    return acc;
#else
    using A = float;
    const tag<A> d;
    const hn::Rebind<std::uint32_t, tag<A>> words;
    const auto first = [=](V pair) HWY_ATTR { return flushed<A>(hn::BitCast(d, hn::ShiftLeft<16>(hn::BitCast(words, pair)))); };
    const auto second = [=](V pair) HWY_ATTR { return flushed<A>(hn::BitCast(d, hn::And(hn::BitCast(words, pair), hn::Set(words, 0xffff0000u)))); };
    acc = flushed<A>(fused_mul_add(second(x), second(column), acc));
    return flushed<A>(fused_mul_add(first(x), first(column), acc));
#endif
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace v0
}  // namespace rapt
HWY_AFTER_NAMESPACE();
#endif
