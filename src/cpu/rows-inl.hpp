// Rows of accumulators: conversion from and to every floating type, transposition into the tiles' order, norm and rotation. Once per instruction set.
#if defined(RAPT_CPU_ROWS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef RAPT_CPU_ROWS_INL_HPP
#undef RAPT_CPU_ROWS_INL_HPP
#else
#define RAPT_CPU_ROWS_INL_HPP
#endif

#include <cpu/kernels.hpp>
#include <cpu/lanes-inl.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace rapt {
inline namespace v0 {
namespace cpu {
namespace HWY_NAMESPACE {

template <class A, class T>
A widened(T x) {
  if constexpr (sizeof(T) == 2)
    return static_cast<A>(static_cast<float>(x));
  else
    return static_cast<A>(x);
}
/// Rounded once, NaN canonical.
template <class T, class A>
T rounded(A x) {
  if constexpr (sizeof(T) == 2)
    return T(x);
  else
    return x == x ? static_cast<T>(x) : std::numeric_limits<T>::quiet_NaN();
}

/// Calls f(data as elements of `type`).
template <class Void, class F>
HWY_INLINE void with_type(Void* data, dtype type, const F& f) {
  constexpr bool is_const = std::is_const_v<Void>;
  switch (type) {
    case dtype::f64:
      return f(static_cast<std::conditional_t<is_const, const double, double>*>(data));
    case dtype::f32:
      return f(static_cast<std::conditional_t<is_const, const float, float>*>(data));
    case dtype::bf16:
      return f(static_cast<std::conditional_t<is_const, const bf16, bf16>*>(data));
    default:
      return f(static_cast<std::conditional_t<is_const, const f16, f16>*>(data));
  }
}

/// Calls f(tag, i) for what is left of n, fewer than 2 * Lanes from i on, by vectors of Lanes, half as many, ... one.
template <class A, int Lanes, class F>
HWY_INLINE void for_rest([[maybe_unused]] index_t n, [[maybe_unused]] F f, [[maybe_unused]] index_t i) {
  static_assert(Lanes < num_lanes<A>);
  if constexpr (Lanes > 0) {
    if (n % (2 * Lanes) >= Lanes) f(hn::CappedTag<A, Lanes>(), i), i += Lanes;
    for_rest<A, Lanes / 2>(n, f, i);
  }
}
/// Calls f(tag, i) for each vector and then for vectors of half as many lanes, down to one: the same operations for all.
template <class A, class F>
HWY_INLINE void for_each_vector(index_t n, F f) {
  constexpr int lanes = num_lanes<A>;
  index_t i = 0;
  for (; i + lanes <= n; i += lanes) f(tag<A>(), i);
  if (i < n) for_rest<A, lanes / 2>(n, f, i);
}

template <class A, class T>
void load_as(const T* from, index_t stride, index_t n, A* to) {
  if constexpr (!(sizeof(A) == 8 && sizeof(T) < 8) && sizeof(T) <= sizeof(A)) {
    if (stride == 1) return for_each_vector<A>(n, [=](auto d, index_t i) HWY_ATTR { hn::StoreU(load_widened(d, from + i), d, to + i); });
  }
  for (index_t i = 0; i < n; ++i) to[i] = widened<A>(from[i * stride]);
}
template <class A>
void load(const void* from, dtype type, index_t stride, index_t n, A* to) {
  with_type(from, type, [=](const auto* typed) HWY_ATTR { load_as(typed, stride, n, to); });
}

template <class D>
HWY_INLINE hn::Vec<D> with_canonical_nan(D d, hn::Vec<D> v) {
  return hn::IfThenElse(hn::Eq(v, v), v, hn::Set(d, std::numeric_limits<hn::TFromD<D>>::quiet_NaN()));
}
/// As rounded<bf16>() does.
template <class D>
HWY_INLINE auto to_bf16_bits(D d, hn::Vec<D> v) {
  // A canonical NaN survives the addition; the largest finite values carry into infinity, as they should.
  const hn::Rebind<std::uint32_t, D> u32;
  const auto bits = hn::BitCast(u32, with_canonical_nan(d, v));
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(u32, 1));
  const auto high = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(u32, 0x7fff))));
  return hn::DemoteTo(hn::Rebind<std::uint16_t, D>(), hn::BitCast(hn::Rebind<std::int32_t, D>(), high));
}

/// As many elements as d has lanes, to contiguous memory, as rounded() does.
template <class D, class T>
HWY_INLINE void store_rounded(D d, hn::Vec<D> v, T* to) {
  if constexpr (std::is_same_v<hn::TFromD<D>, T>) {
    hn::StoreU(with_canonical_nan(d, v), d, to);
  } else if constexpr (std::is_same_v<T, bf16>) {
    hn::StoreU(to_bf16_bits(d, v), hn::Rebind<std::uint16_t, D>(), reinterpret_cast<std::uint16_t*>(to));
  } else {
    const hn::Rebind<hwy::float16_t, D> half;  // the hardware's conversion, to nearest even by its operand
    hn::StoreU(hn::DemoteTo(half, with_canonical_nan(d, v)), half, reinterpret_cast<hwy::float16_t*>(to));
  }
}
template <class A, class T>
constexpr bool stores_vectors = std::is_same_v<A, T> || (sizeof(A) == 4 && sizeof(T) == 2 && RAPT_TARGET_HAS_FMA);

/// By itself, because the array on the stack costs a row that lies in one piece more than storing it.
template <class A, class T>
HWY_NOINLINE void scatter_as(const A* from, A by, index_t n, T* to, index_t stride) {
  if constexpr (stores_vectors<A, T>) {
    for_each_vector<A>(n, [=](auto d, index_t i) HWY_ATTR {
      T side_by_side[hn::MaxLanes(d)];
      store_rounded(d, hn::Mul(hn::LoadU(d, from + i), hn::Set(d, by)), side_by_side);
      T* at = to + i * stride;
      *at = side_by_side[0];
      if constexpr (hn::MaxLanes(d) > 1) {
        RAPT_UNROLL for (std::size_t lane = 1; lane < hn::MaxLanes(d); ++lane) {
          at += stride;
          *at = side_by_side[lane];
        }
      }
    });
  } else {
    for (index_t i = 0; i < n; ++i) to[i * stride] = rounded<T>(from[i] * by);
  }
}
template <class A, class T>
HWY_INLINE void store_as(const A* from, A by, index_t n, T* to, index_t stride) {
  if (!stores_vectors<A, T> || stride != 1) return scatter_as(from, by, n, to, stride);
  if constexpr (stores_vectors<A, T>)
    for_each_vector<A>(n, [=](auto d, index_t i) HWY_ATTR { store_rounded(d, hn::Mul(hn::LoadU(d, from + i), hn::Set(d, by)), to + i); });
}
template <class A>
void store(const A* from, A by, index_t n, void* to, dtype type, index_t stride) {
  with_type(to, type, [=](auto* typed) HWY_ATTR { store_as(from, by, n, typed, stride); });
}

/// Whole vectors: a load of one soon after waits for a store of a part of it.
template <class A>
void store_lanes(const A* from, index_t from_stride, index_t rows, index_t n, A* to, index_t to_stride, index_t lane) {
  const tag<A> d;
  const index_t first = lane / num_lanes<A> * num_lanes<A>;
  const auto is_lane = hn::Eq(hn::Iota(d, static_cast<A>(first)), hn::Set(d, static_cast<A>(lane)));
  const auto store_one = [=](A x, A* at)
                             HWY_ATTR { hn::StoreU(hn::IfThenElse(is_lane, with_canonical_nan(d, hn::Set(d, x)), hn::LoadU(d, at)), d, at); };
  constexpr index_t together = 8;
  for (index_t r = 0; r < rows; ++r, from += from_stride, to += to_stride) {
    A* at = to + first;
    index_t i = 0;
    for (; i + together <= n; i += together, at += together * lane_group) {
      RAPT_UNROLL for (index_t e = 0; e < together; ++e) store_one(from[i + e], at + e * lane_group);
    }
    for (; i < n; ++i, at += lane_group) store_one(from[i], at);
  }
}
template <class A>
void store_panels(const A* from, index_t from_stride, index_t rows, index_t n, A* to, index_t to_stride, index_t panel_stride) {
  for (index_t r = 0; r < rows; ++r, from += from_stride, to += to_stride) {
    const A *at = from, *const rest = from + n / lane_group * lane_group;
    A* panel = to;
    const auto store_at = [&](auto d, index_t i) HWY_ATTR { store_rounded(d, hn::LoadU(d, at + i), panel + i); };
    for (; at < rest; at += lane_group, panel += panel_stride) for_each_vector<A>(lane_group, store_at);
    for_each_vector<A>(n % lane_group, store_at);
  }
}

template <class A>
void store_rows(const A* from, index_t from_stride, const A* sums, index_t rows, index_t n, void* to, dtype type, index_t to_stride, index_t stride) {
  with_type(to, type, [=](auto* typed) HWY_ATTR {
    for (index_t r = 0; r < rows; ++r) store_as(from + r * from_stride, A{1} / sums[r], n, typed + r * to_stride, stride);
  });
}

#if HWY_TARGET != HWY_SCALAR
/// Four rows by four columns.
HWY_INLINE void transpose_4x4(const float* const* rows, index_t column, float* to, index_t to_stride) {
  const hn::CappedTag<float, 4> d;
  const hn::RepartitionToWide<decltype(d)> w;
  const auto a = hn::LoadU(d, rows[0] + column), b = hn::LoadU(d, rows[1] + column);
  const auto e = hn::LoadU(d, rows[2] + column), f = hn::LoadU(d, rows[3] + column);
  const auto ab_low = hn::BitCast(w, hn::InterleaveLower(d, a, b)), ab_high = hn::BitCast(w, hn::InterleaveUpper(d, a, b));
  const auto ef_low = hn::BitCast(w, hn::InterleaveLower(d, e, f)), ef_high = hn::BitCast(w, hn::InterleaveUpper(d, e, f));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(w, ab_low, ef_low)), d, to);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(w, ab_low, ef_low)), d, to + to_stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(w, ab_high, ef_high)), d, to + 2 * to_stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(w, ab_high, ef_high)), d, to + 3 * to_stride);
}
#endif
#if RAPT_TARGET_HAS_FMA
/// Eight rows by eight columns: quarters of 128 bits by interleaving, then halves side by side.
HWY_INLINE void transpose_8x8(const float* const* rows, index_t column, float* to, index_t to_stride) {
  const hn::CappedTag<float, 8> d;
  const hn::RepartitionToWide<decltype(d)> w;
  hn::Vec<decltype(w)> pairs[8];
  hn::Vec<decltype(d)> fours[8];
  RAPT_UNROLL for (int i = 0; i < 4; ++i) {
    const auto even = hn::LoadU(d, rows[2 * i] + column), odd = hn::LoadU(d, rows[2 * i + 1] + column);
    pairs[2 * i] = hn::BitCast(w, hn::InterleaveLower(d, even, odd));
    pairs[2 * i + 1] = hn::BitCast(w, hn::InterleaveUpper(d, even, odd));
  }
  // fours[4 * half + i]: columns i and i + 4 of rows 4 * half .. 4 * half + 3.
  RAPT_UNROLL for (int half = 0; half < 2; ++half) {
    RAPT_UNROLL for (int i = 0; i < 2; ++i) {
      fours[4 * half + 2 * i] = hn::BitCast(d, hn::InterleaveLower(w, pairs[4 * half + i], pairs[4 * half + i + 2]));
      fours[4 * half + 2 * i + 1] = hn::BitCast(d, hn::InterleaveUpper(w, pairs[4 * half + i], pairs[4 * half + i + 2]));
    }
  }
  RAPT_UNROLL for (int i = 0; i < 4; ++i) {
    hn::StoreU(hn::ConcatLowerLower(d, fours[4 + i], fours[i]), d, to + i * to_stride);
    hn::StoreU(hn::ConcatUpperUpper(d, fours[4 + i], fours[i]), d, to + (i + 4) * to_stride);
  }
}
#endif
template <class A>
void transpose(const A* const* rows, index_t num_rows, index_t num_columns, A* to, index_t to_stride) {
  if (num_rows == 1 && to_stride == 1) {
    std::copy_n(rows[0], num_columns, to);
    return;
  }
  index_t first = 0;
#if HWY_TARGET != HWY_SCALAR
  // A stripe of columns for all rows, so that lines of `to` are filled while they are near.
  if constexpr (sizeof(A) == 4) {
    for (; first + 8 <= num_columns; first += 8) {
      A* const stripe = to + first * to_stride;
      index_t r = 0;
#if RAPT_TARGET_HAS_FMA
      for (; r + 8 <= num_rows; r += 8) transpose_8x8(rows + r, first, stripe + r, to_stride);
#endif
      for (; r + 4 <= num_rows; r += 4)
        for (index_t c = 0; c < 8; c += 4) transpose_4x4(rows + r, first + c, stripe + c * to_stride + r, to_stride);
      for (; r < num_rows; ++r)
        for (index_t c = 0; c < 8; ++c) stripe[c * to_stride + r] = rows[r][first + c];
    }
  }
#endif
  for (index_t r = 0; r < num_rows; ++r)
    for (index_t c = first; c < num_columns; ++c) to[c * to_stride + r] = rows[r][c];
}

template <class A>
void spread(const A* row, index_t n, A* to, index_t panel_stride) {
  for (; n >= lane_group; n -= lane_group, row += lane_group, to += panel_stride)
    RAPT_UNROLL for (int v = 0; v < group_vectors<A>; ++v) hn::StoreU(hn::LoadU(tag<A>(), row + v * num_lanes<A>), tag<A>(), to + v * num_lanes<A>);
  std::copy_n(row, n, to);
}

template <class A>
void scale_query(const A* x, index_t n, A high, A low, A* to) {
  for_each_vector<A>(n, [=](auto d, index_t i) HWY_ATTR {
    using rapt::v0::HWY_NAMESPACE::multiply_split;
    const auto unscaled = hn::LoadU(d, x + i);
    const auto q = multiply_split(unscaled, hn::Set(d, high), hn::Set(d, low));
    const auto finite = hn::Lt(hn::Abs(unscaled), hn::Set(d, std::numeric_limits<A>::infinity()));
    hn::StoreU(hn::IfThenElse(finite, q, hn::Set(d, std::numeric_limits<A>::quiet_NaN())), d, to + i);
  });
}
template <class A>
void add(A* x, const A* y, index_t n) {
  for_each_vector<A>(n, [=](auto d, index_t i) HWY_ATTR { hn::StoreU(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, x + i); });
}

/// op of lanes i and i + half, of half as many each time.
template <class D, class Op>
HWY_INLINE hn::TFromD<D> fold_halves([[maybe_unused]] D d, hn::Vec<D> lanes, [[maybe_unused]] Op op) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (hn::MaxLanes(d) > 1) {
    const hn::Half<D> half;
    return fold_halves(half, op(hn::LowerHalf(half, lanes), hn::UpperHalf(half, lanes)), op);
  }
#endif
  return hn::GetLane(lanes);
}
/// 16 virtual lanes: i and i + 8, then i and i + 4, i + 2, i + 1.
template <class A>
HWY_INLINE A tree_sum(vec<A> (&lanes)[group_vectors<A>]) {
  RAPT_UNROLL for (int half = group_vectors<A> / 2; half > 0; half /= 2) {
    RAPT_UNROLL for (int v = 0; v < half; ++v) lanes[v] = hn::Add(lanes[v], lanes[v + half]);
  }
  return fold_halves(tag<A>(), lanes[0], [](auto a, auto b) HWY_ATTR { return hn::Add(a, b); });
}

template <class A>
void norm(A* x, index_t n, A eps, const A* weight) {
  const tag<A> d;
  vec<A> squares[group_vectors<A>];
  for (int v = 0; v < group_vectors<A>; ++v) squares[v] = hn::Zero(d);
  for (index_t i = 0; i < n; i += lane_group) {
    HWY_ALIGN A last[lane_group] = {};  // lanes without an element add 0 * 0, which changes nothing
    const A* from = x + i;
    if (i + lane_group > n) {
      std::copy_n(from, n - i, last);
      from = last;
    }
    for (int v = 0; v < group_vectors<A>; ++v) {
      const auto value = hn::LoadU(d, from + v * num_lanes<A>);
      squares[v] = fused_mul_add(value, value, squares[v]);
    }
  }
  const A mean = tree_sum<A>(squares) / static_cast<A>(n);
  const A scale = A{1} / std::sqrt(mean + eps);
  for_each_vector<A>(n, [=](auto tag_of, index_t i) HWY_ATTR {
    const auto scaled = hn::Mul(hn::LoadU(tag_of, x + i), hn::Set(tag_of, scale));
    hn::StoreU(hn::Mul(scaled, hn::LoadU(tag_of, weight + i)), tag_of, x + i);
  });
}

template <class A>
void rotate(A* x, index_t pairs, index_t half, const A* c, const A* s) {
  const auto turn = [=](auto d, index_t i, A* at_a, A* at_b) HWY_ATTR {
    const auto a = hn::LoadU(d, at_a), b = hn::LoadU(d, at_b), cos = hn::LoadU(d, c + i), sin = hn::LoadU(d, s + i);
    hn::StoreU(fused_mul_add(a, cos, hn::Neg(hn::Mul(b, sin))), d, at_a);
    hn::StoreU(fused_mul_add(b, cos, hn::Mul(a, sin)), d, at_b);
  };
  if (half > 0)
    for_each_vector<A>(pairs, [=](auto d, index_t i) HWY_ATTR { turn(d, i, x + i, x + half + i); });
  else
    for (index_t i = 0; i < pairs; ++i) turn(hn::CappedTag<A, 1>(), i, x + 2 * i, x + 2 * i + 1);
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace v0
}  // namespace rapt
HWY_AFTER_NAMESPACE();
#endif
