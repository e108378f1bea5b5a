// Softmax states in the CPU's order: largest score, sum of weights, weighted values, and how two become one.
#pragma once
#include <kernels/elementary.hpp>
#include <rapt/core/index.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Largest score and sum of weights of a row; a largest score of -inf: no key was seen.
template <class A>
struct exact_sums {
  A max, sum;
  RAPT_DEVICE bool empty() const { return max == -static_cast<A>(simt::infinity); }
};
template <class A>
RAPT_DEVICE exact_sums<A> no_sums() {
  return {-static_cast<A>(simt::infinity), A{0}};
}

/// What merging does to weighted values: into `into`, the state before, comes `next`.
enum class merge_way { skip, copy, next_is_high, next_is_low };
template <class A>
struct exact_merge {
  A scale = A{0};  ///< of the side with the smaller maximum
  merge_way way = merge_way::skip;

  RAPT_DEVICE A of(A into, A next) const {
    if (way == merge_way::skip) return into;
    if (way == merge_way::copy) return next;
    return way == merge_way::next_is_high ? simt::fma(into, scale, next) : simt::fma(next, scale, into);
  }
};
/// `into` becomes the sums of both. An empty side is skipped, not scaled: exp2(-inf - -inf) is NaN.
template <class A>
RAPT_DEVICE exact_merge<A> merge_sums(exact_sums<A>& into, exact_sums<A> next) {
  if (next.empty()) return {};
  if (into.empty()) {
    into = next;
    return {A{0}, merge_way::copy};
  }
  const bool next_is_high = next.max > into.max;
  const A low = next_is_high ? into.max : next.max, high = next_is_high ? next.max : into.max;
  const exact_merge<A> merge{exp2_nonpositive(low - high), next_is_high ? merge_way::next_is_high : merge_way::next_is_low};
  into.sum = merge.of(into.sum, next.sum);
  into.max = low != low ? low : high;
  return merge;
}

/// Keys of a super-segment in segments, and how a launch divides a row's keys: into parts of `part_segments` segments, each with a state of its own
/// in the workspace. A part of more than one super-segment has a second state there, of the super-segment that is not yet whole.
constexpr int segments_of_exact_super = static_cast<int>(super_segment_len / segment_len);
struct exact_split {
  int part_segments = 1, parts = 1;
  constexpr int states() const { return part_segments > segments_of_exact_super ? 2 : parts; }
};

/// Of every row and head the states of its parts.
template <class A>
struct exact_workspace {
  A* values = nullptr;            ///< [rows, num_heads, states, value_dim]
  exact_sums<A>* sums = nullptr;  ///< [rows, num_heads, states]
};

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
