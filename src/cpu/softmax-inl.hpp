// Passes over the scores of one row and one segment, in the order of the contract: softcap, ALiBi, additive mask, mask by select and the maximum,
// then exp2 in place with its sum; and the merge of two softmax states. Once per instruction set.
//
// A row's scores are 512 accumulators in the first-level cache. Passes run over whole lane groups: a lane outside the visible keys is computed and
// dropped, and becomes -inf (p = 0) before anything is summed. Bound: the FMA units, about 14 vector operations a score against 2 * head_dim.
#if defined(RAPT_CPU_SOFTMAX_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef RAPT_CPU_SOFTMAX_INL_HPP
#undef RAPT_CPU_SOFTMAX_INL_HPP
#else
#define RAPT_CPU_SOFTMAX_INL_HPP
#endif

#include <cpu/rows-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace rapt {
inline namespace v0 {
namespace cpu {
namespace HWY_NAMESPACE {

template <class A>
constexpr A minus_inf = -std::numeric_limits<A>::infinity();

/// Calls f(j) for each vector of the lane groups that [first, last) touches.
template <class A, class F>
HWY_INLINE void for_each_score(index_t first, index_t last, F f) {
  for (index_t j = first / lane_group * lane_group, end = round_up(last, lane_group); j < end; j += num_lanes<A>) f(j);
}

template <class A>
void softcap(A* u, index_t first, index_t last, A inner, A outer) {
  const tag<A> d;
  for_each_score<A>(first, last, [=](index_t j) HWY_ATTR {
    const auto t = rapt::v0::HWY_NAMESPACE::tanh(d, hn::Mul(hn::LoadU(d, u + j), hn::Set(d, inner)));
    hn::StoreU(hn::Mul(hn::Set(d, outer), t), d, u + j);
  });
}

template <class A>
void alibi(A* u, index_t first, index_t last, A minus_slope, std::int32_t distance, std::int32_t step) {
  const tag<A> d;
  const hn::Rebind<std::int32_t, tag<A>> integer;
  for_each_score<A>(first, last, [=](index_t j) HWY_ATTR {
    const auto key = hn::Mul(hn::Iota(integer, static_cast<std::int32_t>(j)), hn::Set(integer, step));
    const auto apart = hn::Abs(hn::Add(hn::Set(integer, distance), key));
    if constexpr (sizeof(A) == 4)
      hn::StoreU(fused_mul_add(hn::Set(d, minus_slope), hn::ConvertTo(d, apart), hn::LoadU(d, u + j)), d, u + j);
    else
      hn::StoreU(fused_mul_add(hn::Set(d, minus_slope), hn::PromoteTo(d, apart), hn::LoadU(d, u + j)), d, u + j);
  });
}

template <class A>
void add_scaled(A* u, index_t first, index_t last, A factor, const A* y) {
  const tag<A> d;
  const auto hidden = hn::Set(d, minus_inf<A>);
  for_each_score<A>(first, last, [=](index_t j) HWY_ATTR {
    const auto added = hn::LoadU(d, y + j);
    const auto sum = fused_mul_add(added, hn::Set(d, factor), hn::LoadU(d, u + j));
    hn::StoreU(hn::IfThenElse(hn::Eq(added, hidden), hidden, sum), d, u + j);
  });
}

/// Which lanes of the vector at j are seen.
template <class A>
HWY_INLINE auto seen_lanes(const seen_keys& seen, index_t j) {
  const tag<A> d;
  if (seen.bits != nullptr) {
    const std::uint64_t bits = seen.bits[j / 64] >> (j % 64);
    return hn::LoadMaskBits(d, reinterpret_cast<const std::uint8_t*>(&bits));
  }
  const auto key = hn::Iota(d, static_cast<A>(j));
  return hn::And(hn::Ge(key, hn::Set(d, static_cast<A>(seen.first))), hn::Lt(key, hn::Set(d, static_cast<A>(seen.last))));
}

template <class A>
row_max<A> mask_and_max(A* u, const seen_keys& seen) {
  const tag<A> d;
  const auto hidden = hn::Set(d, minus_inf<A>);
  auto max = hidden;
  // u > -inf is false for NaN too, which Max may drop.
  auto ordinary = hn::Eq(hidden, hidden);
  const index_t begin = seen.first / lane_group * lane_group, end = round_up(seen.last, lane_group);
  const auto masked_group = [&](index_t group) HWY_ATTR {
    for (index_t j = group; j < group + lane_group; j += num_lanes<A>) {
      const auto lanes = seen_lanes<A>(seen, j);
      const auto score = hn::LoadU(d, u + j);
      ordinary = hn::And(ordinary, hn::Or(hn::Gt(score, hidden), hn::Not(lanes)));
      const auto kept = hn::IfThenElse(lanes, score, hidden);
      hn::StoreU(kept, d, u + j);
      max = hn::Max(max, kept);
    }
  };
  if (seen.bits != nullptr) {
    for (index_t j = begin; j < end; j += lane_group) masked_group(j);
  } else {
    const index_t first_whole = round_up(seen.first, lane_group), last_whole = std::max(first_whole, seen.last / lane_group * lane_group);
    if (begin != first_whole) masked_group(begin);
    for (index_t j = first_whole; j < last_whole; j += lane_group) {
      RAPT_UNROLL for (int v = 0; v < group_vectors<A>; ++v) {
        const auto score = hn::LoadU(d, u + j + v * num_lanes<A>);
        ordinary = hn::And(ordinary, hn::Gt(score, hidden));
        max = hn::Max(max, score);
      }
    }
    if (end != last_whole) masked_group(last_whole);
  }
  // Not MaxOfLanes: without SIMD that begins with the least finite number.
  return {fold_halves(d, max, [](auto a, auto b) HWY_ATTR { return hn::Max(a, b); }), !hn::AllTrue(d, ordinary)};
}

template <class A>
bool finite_bits(const A* u, const seen_keys& seen, std::uint64_t* bits) {
  const tag<A> d;
  std::uint64_t found[words_per_segment] = {};  // bits may be seen.bits
  bool any_nan = false;
  for_each_score<A>(seen.first, seen.last, [&](index_t j) HWY_ATTR {
    const auto lanes = seen_lanes<A>(seen, j);
    const auto score = hn::LoadU(d, u + j);
    // Not Ne: on AVX that is an ordered comparison, false for NaN.
    any_nan |= !hn::AllFalse(d, hn::AndNot(hn::Eq(score, score), lanes));
    std::uint64_t word = 0;
    hn::StoreMaskBits(d, hn::AndNot(hn::Eq(score, hn::Set(d, minus_inf<A>)), lanes), reinterpret_cast<std::uint8_t*>(&word));
    found[j / 64] |= word << (j % 64);
  });
  std::copy_n(found, words_per_segment, bits);
  return any_nan;
}

template <class A>
A exp_and_sum(A* u, const seen_keys& seen, A max) {
  const tag<A> d;
  const auto m = hn::Set(d, max);
  vec<A> sums[group_vectors<A>];
  for (int v = 0; v < group_vectors<A>; ++v) sums[v] = hn::Zero(d);
  for (index_t j = seen.first / lane_group * lane_group, end = round_up(seen.last, lane_group); j < end; j += lane_group) {
    RAPT_UNROLL for (int v = 0; v < group_vectors<A>; ++v) {
      A* const at = u + j + v * num_lanes<A>;
      const auto p = rapt::v0::HWY_NAMESPACE::exp2_nonpositive(d, hn::Sub(hn::LoadU(d, at), m));
      hn::StoreU(p, d, at);
      sums[v] = hn::Add(sums[v], p);
    }
  }
  return tree_sum<A>(sums);
}

/// Rows whose seen keys lie in the vector at j: by registers alone.
template <class A>
HWY_INLINE bool softmax_of_vector(A* u, index_t rows, const seen_keys& seen, index_t j, A* sums) {
  const tag<A> d;
  const auto hidden = hn::Set(d, minus_inf<A>);
  const auto lanes = seen_lanes<A>(seen, j);
  auto ordinary = hn::Eq(hidden, hidden);
  for (index_t r = 0; r < rows; ++r) {
    A* const at = u + r * score_stride + j;
    const auto score = hn::IfThenElse(lanes, hn::LoadU(d, at), hidden);
    ordinary = hn::And(ordinary, hn::Or(hn::Gt(score, hidden), hn::Not(lanes)));
    const auto max = hn::Set(d, fold_halves(d, score, [](auto a, auto b) HWY_ATTR { return hn::Max(a, b); }));
    const auto p = rapt::v0::HWY_NAMESPACE::exp2_nonpositive(d, hn::Sub(score, max));
    hn::StoreU(p, d, at);
    sums[r] = fold_halves(d, p, [](auto a, auto b) HWY_ATTR { return hn::Add(a, b); });
  }
  return !hn::AllTrue(d, ordinary);
}

/// Step by step: what one row waits for is done for the others meanwhile.
template <class A>
[[gnu::flatten]] bool softmax(A* u, index_t rows, const seen_keys& seen, A* sums) {
  const index_t vector = seen.first / num_lanes<A>;
  if ((seen.last - 1) / num_lanes<A> == vector) return softmax_of_vector(u, rows, seen, vector * num_lanes<A>, sums);
  bool odd = false;
  for (index_t r = 0; r < rows; ++r) {
    const row_max<A> found = mask_and_max<A>(u + r * score_stride, seen);
    sums[r] = found.max, odd |= found.odd;
  }
  if (odd) return true;
  for (index_t r = 0; r < rows; ++r) sums[r] = exp_and_sum<A>(u + r * score_stride, seen, sums[r]);
  return false;
}

template <class A>
HWY_INLINE void merge_row(index_t n, A* max, A* sum, A* HWY_RESTRICT acc, A from_max, A from_sum, const A* HWY_RESTRICT from_acc) {
  if (from_max == minus_inf<A>) return;
  if (*max == minus_inf<A>) {
    *max = from_max, *sum = from_sum;
    std::copy_n(from_acc, n, acc);
    return;
  }
  const tag<A> d;
  const bool from_is_high = from_max > *max;
  const A high = from_is_high ? from_max : *max, low = from_is_high ? *max : from_max;
  const auto scale = rapt::v0::HWY_NAMESPACE::exp2_nonpositive(d, hn::Set(d, low - high));
  const auto merged = [&](vec<A> mine, vec<A> theirs)
                          HWY_ATTR { return from_is_high ? fused_mul_add(mine, scale, theirs) : fused_mul_add(theirs, scale, mine); };
  *max = high;
  *sum = hn::GetLane(merged(hn::Set(d, *sum), hn::Set(d, from_sum)));
  for (index_t i = 0; i < n; i += num_lanes<A>) hn::StoreU(merged(hn::LoadU(d, acc + i), hn::LoadU(d, from_acc + i)), d, acc + i);
}
template <class A>
void merge(index_t rows, const states<A>& into, const states<A>& from) {
  for (index_t r = 0; r < rows; ++r)
    merge_row(into.acc_stride, into.max + r, into.sum + r, into.acc + r * into.acc_stride, from.max[r], from.sum[r], from.acc + r * from.acc_stride);
}

template <class A>
row_kernels<A> row_table() {
  row_kernels<A> k;
  k.load = load<A>, k.store = store<A>, k.store_rows = store_rows<A>, k.store_lanes = store_lanes<A>, k.store_panels = store_panels<A>,
  k.transpose = transpose<A>, k.spread = spread<A>;
  k.scale_query = scale_query<A>, k.add = add<A>;
  k.softcap = softcap<A>, k.alibi = alibi<A>, k.add_scaled = add_scaled<A>;
  k.mask_and_max = mask_and_max<A>, k.finite_bits = finite_bits<A>, k.exp_and_sum = exp_and_sum<A>, k.softmax = softmax<A>, k.merge = merge<A>;
  k.norm = norm<A>, k.rotate = rotate<A>;
  return k;
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace v0
}  // namespace rapt
HWY_AFTER_NAMESPACE();
#endif
