// How the sums of q k become exponents of 2, in the order of the contract's ids sm80-mma16816-k64-v1 and sm90-mma16816-k64-v1.
//
// Queries are not scaled: s is a chain of mma over q and k as they are stored, and |softmax_scale * log2 e| = c > 0 is applied where an exponent is
// formed: base = the running maximum of c * max(s), weight = exp2(fma(s, c, -base)). The sign of the scale, or its being zero, goes into the queries.
// With softcap, ALiBi or an additive mask scores are changed one by one first, in units of log2, and c = 1 from there on.
#pragma once
#include <kernels/elements.hpp>
#include <kernels/visibility.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Constants of a launch, computed in double and rounded once.
struct score_constants {
  float scale = 1;       ///< |softmax_scale * log2 e|, or 1 where that is zero
  int query_factor = 1;  ///< the sign of softmax_scale, or 0
  float softcap_inner = 0, softcap_outer = 0;
};

template <class T, class Out>
score_constants score_constants_of(const attention_problem<T, Out>& p) {
  constexpr double log2_of_e = 1.4426950408889634074, ln_2 = 0.69314718055994530942;
  score_constants c;
  const auto scale = static_cast<float>(p.softmax_scale * log2_of_e);
  c.scale = scale == 0 ? 1 : scale < 0 ? -scale : scale;
  c.query_factor = scale == 0 ? 0 : scale < 0 ? -1 : 1;
  if (p.softcap > 0) c.softcap_inner = static_cast<float>(ln_2 / p.softcap), c.softcap_outer = static_cast<float>(p.softcap * log2_of_e);
  return c;
}

/// Two elements of a query as they enter an mma: times query_factor, which is exact; an infinity becomes NaN, as its row has to be.
template <class T>
RAPT_DEVICE std::uint32_t entering_query(std::uint32_t word, int query_factor) {
  const std::uint32_t finite = finite_halves<T>(word), rest = word ^ finite;
  const std::uint32_t product = query_factor == 0 ? 0 : query_factor < 0 ? finite ^ 0x80008000u : finite;
  return product | ((rest & 0xffffu) != 0 ? 0x7fffu : 0u) | (rest >> 16 != 0 ? 0x7fff0000u : 0u);
}

/// A row's log of its sum of exponentials, from its base in units of log2 and its sum of weights; -inf where it has seen nothing.
RAPT_DEVICE float log_of_sum(float base, float sum) {
  const auto x = static_cast<float>(static_cast<double>(base) * 0.69314718055994530942 + simt::log_of(sum));
  return base == -simt::infinity ? base : x != x ? simt::float_of(0x7fc00000u) : x;
}

/// Whether scores are changed beyond the scale.
template <class T, class Out>
constexpr bool changes_scores(const attention_problem<T, Out>& p) {
  return p.softcap > 0 || p.alibi_slopes_log2 != nullptr || p.mask.added != nullptr;
}

/// A query of a sequence, for whom scores are changed.
struct scored_query {
  int head, query;
  index_t position;
};

/// Changes scores and, where some may be, hides them (-inf), by everything that a problem may ask for. for_each(f) calls f(score, row, key) for the
/// thread's scores; query_of(row) is their scored_query.
template <class T, class Out, class ForEach, class QueryOf>
RAPT_DEVICE void finish_scores(const attention_problem<T, Out>& p, const score_constants& c, int sequence_idx, const sequence& s, bool some_hidden,
                               ForEach for_each, QueryOf query_of) {
  if (changes_scores(p)) for_each([&](float& score, int, int) { score *= c.scale; });
  if (p.softcap > 0) for_each([&](float& score, int, int) { score = c.softcap_outer * simt::tanh_approx(score * c.softcap_inner); });
  if (p.alibi_slopes_log2 != nullptr)
    for_each([&](float& score, int row, int key) {
      if (key >= s.kv_len) return;
      const scored_query q = query_of(row);
      const index_t apart = q.position - position_of_key(p, sequence_idx, s, key);
      score = simt::fma(-p.alibi_slopes_log2[q.head], static_cast<float>(apart < 0 ? -apart : apart), score);
    });
  if (p.mask.added != nullptr)
    for_each([&](float& score, int row, int key) {
      const scored_query q = query_of(row);
      if (q.query < s.q_len && key < s.kv_len && key >= s.first_masked_key)
        score = simt::fma(p.mask.added[p.mask.offset(s, q.head, q.query, key)], log2_e, score);
    });
  if (some_hidden)
    for_each([&](float& score, int row, int key) {
      const scored_query q = query_of(row);
      if (!sees(p, sequence_idx, s, q.head, q.query, q.position, key)) score = -simt::infinity;
    });
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
