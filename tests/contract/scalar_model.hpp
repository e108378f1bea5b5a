// The numeric contract "cpu-v1", and "cpu-bf16dot-v1" and "..-3xtf32-v1" where `products` says so, as plain scalar code, one value at a time: what
// every kernel has to reproduce to the last bit. Written from the contract's text and without the kernels; only exp2, tanh, log and sincos are the
// library's own, which tests/math holds to their bounds, and a tensor core's sum of products is the emulator's. A is the accumulator, float or
// double. Compiled with -ffp-contract=off.
#pragma once
#include <contract/storage_model.hpp>
#include <kernels/simt/tensor_core.hpp>
#include <math/elementary.hpp>
#include <rapt/core/index.hpp>

#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <vector>

namespace rapt_test::contract {
using rapt::index_t;

constexpr index_t num_lanes = 16, segment_keys = 512, super_segment_keys = 8192, score_block_dims = 128, projection_block_depth = 256;
constexpr double log2_e = 0x1.71547652b82fep+0, log2_e_low = 0x1.777d0ffda0d24p-56, ln_2 = 0x1.62e42fefa39efp-1;

template <class A>
constexpr A minus_infinity = -std::numeric_limits<A>::infinity();
template <class A>
A canonical(A x) {
  return x != x ? std::numeric_limits<A>::quiet_NaN() : x;
}

/// 16 lanes added as 8 + 8, 4 + 4, 2 + 2, 1 + 1.
template <class A>
A tree_sum(std::array<A, num_lanes> lane) {
  for (std::size_t width = num_lanes / 2; width >= 1; width /= 2)
    for (std::size_t i = 0; i < width; ++i) lane[i] += lane[i + width];
  return lane[0];
}

/// A float without denormals.
template <class A>
A flushed(A x) {
  return std::fabs(x) < static_cast<A>(std::numeric_limits<float>::min()) ? std::copysign(A{0}, x) : x;
}
/// VDPBF16PS on one lane, by Intel's manual: two FMAs to nearest even, the second factors first, denormals read and written as zero.
template <class A>
A add_pair(A acc, A a0, A b0, A a1, A b1) {
  acc = flushed(std::fma(flushed(a1), flushed(b1), acc));
  return flushed(std::fma(flushed(a0), flushed(b0), acc));
}
template <class A>
A as_bf16(A x) {
  std::uint16_t bits = 0;
  store<A>(dtype::bf16, &bits, 0, x);
  return load<A>(dtype::bf16, &bits, 0);
}

/// How products are added: one after the other, two bf16 at once, or eight at once, each factor as two of tf32.
enum class products { fma, bf16_pairs, tf32 };

/// Sums of eight products at once on a tensor core: of first parts, and of a first part and a rest.
struct tf32_sums {
  float big = 0, small = 0;

  /// a * b: the rests of b are multiplied before those of a.
  void add(const std::array<float, 8>& a, const std::array<float, 8>& b) {
    namespace emulator = rapt::simt::emulator;
    emulator::tf32 first_a[8], first_b[8], rest_a[8], rest_b[8];
    for (std::size_t i = 0; i < 8; ++i) split(a[i], first_a[i], rest_a[i]), split(b[i], first_b[i], rest_b[i]);
    small = emulator::add_products(emulator::hopper, first_a, rest_b, 8, small);
    small = emulator::add_products(emulator::hopper, rest_a, first_b, 8, small);
    big = emulator::add_products(emulator::hopper, first_a, first_b, 8, big);
  }
  float total() const { return big + small; }

 private:
  /// The first 11 bits of x, and of what is left as many, rounded. What is not finite counts as NaN.
  static void split(float x, rapt::simt::emulator::tf32& first, rapt::simt::emulator::tf32& rest) {
    first.bits = std::isfinite(x) ? std::bit_cast<std::uint32_t>(x) / 0x2000u * 0x2000u : 0x7fffe000u;
    rest.bits = std::isfinite(x) ? (std::bit_cast<std::uint32_t>(x - std::bit_cast<float>(first.bits)) + 0x1000u) / 0x2000u * 0x2000u : 0u;
  }
};

/// sum of a[i * a_stride] * b[i * b_stride]: one chain from +0 for each block, block sums added ascending.
template <class A>
A blocked_dot(const A* a, index_t a_stride, const A* b, index_t b_stride, index_t count, index_t block, products how = products::fma) {
  A sum = 0;
  for (index_t first = 0; first < count; first += block) {
    A chain = 0;
    const index_t end = first + block < count ? first + block : count;
    if (how == products::tf32) {
      tf32_sums eights;
      for (index_t i = first; i < end; i += 8) {
        std::array<float, 8> of_a{}, of_b{};
        for (index_t j = i; j < end && j < i + 8; ++j)
          of_a[static_cast<std::size_t>(j - i)] = static_cast<float>(a[j * a_stride]),
                                            of_b[static_cast<std::size_t>(j - i)] = static_cast<float>(b[j * b_stride]);
        eights.add(of_a, of_b);
      }
      chain = static_cast<A>(eights.total());
    } else if (how == products::bf16_pairs)
      for (index_t i = first; i < end; i += 2) {
        const bool two = i + 1 < end;
        chain = add_pair(chain, a[i * a_stride], b[i * b_stride], two ? a[(i + 1) * a_stride] : A{0}, two ? b[(i + 1) * b_stride] : A{0});
      }
    else
      for (index_t i = first; i < end; ++i) chain = std::fma(a[i * a_stride], b[i * b_stride], chain);
    sum = first == 0 ? chain : sum + chain;
  }
  return sum;
}

// ---- Projections, norm and rotation

/// One output: products, then bias, then residual. The caller rounds.
template <class A>
A projected(const A* x, const A* column, index_t column_stride, index_t depth, std::optional<A> bias, std::optional<A> residual,
            products how = products::fma) {
  A y = blocked_dot(x, 1, column, column_stride, depth, projection_block_depth, how);
  if (bias) y += *bias;
  if (residual) y = *residual + y;
  return canonical(y);
}

/// RMS norm of one head.
template <class A>
void normalise(std::span<A> x, const A* weight, double eps) {
  std::array<A, num_lanes> lane{};
  for (std::size_t d = 0; d < x.size(); ++d) lane[d % num_lanes] = std::fma(x[d], x[d], lane[d % num_lanes]);
  const A mean = tree_sum(lane) / static_cast<A>(x.size());
  const A inverse = A{1} / std::sqrt(mean + static_cast<A>(eps));
  for (std::size_t d = 0; d < x.size(); ++d) x[d] = x[d] * inverse * weight[d];
}

struct rotation {
  index_t dim = 0;
  bool interleaved = false;
  const double* inverse_frequencies = nullptr;
  double attention_factor = 1;
};
template <class A>
void rotate(std::span<A> x, const rotation& r, index_t position) {
  for (index_t i = 0; i < r.dim / 2; ++i) {
    double s = 0, c = 0;
    rapt::math::sincos(static_cast<double>(position) * r.inverse_frequencies[i], s, c);
    const A cosine = static_cast<A>(c * r.attention_factor), sine = static_cast<A>(s * r.attention_factor);
    A& first = x[static_cast<std::size_t>(r.interleaved ? 2 * i : i)];
    A& second = x[static_cast<std::size_t>(r.interleaved ? 2 * i + 1 : i + r.dim / 2)];
    const A a = first, b = second;
    first = std::fma(a, cosine, -(b * sine));
    second = std::fma(b, cosine, a * sine);
  }
}

// ---- Scores, in units of log2

template <class A>
std::vector<A> scaled_query(const std::vector<A>& q, double softmax_scale, products how = products::fma) {
  const double c = softmax_scale * log2_e;
  const A high = static_cast<A>(c);
  A low = static_cast<A>(c - static_cast<double>(high));
  if constexpr (sizeof(A) == 8) low = std::fma(softmax_scale, log2_e, -high) + softmax_scale * log2_e_low;
  std::vector<A> scaled;
  for (const A x : q) {
    const A y = std::isinf(x) ? std::numeric_limits<A>::quiet_NaN() : std::fma(x, high, x * low);
    scaled.push_back(how == products::bf16_pairs ? as_bf16(y) : y);
  }
  return scaled;
}

/// What acts on the scores of one query head.
struct score_terms {
  double softcap = 0;  ///< 0: none
  std::optional<double> alibi_slope;
};
template <class A>
A biased_score(A u, const score_terms& terms, index_t q_position, index_t k_position, std::optional<A> additive_mask) {
  if (terms.softcap != 0) {
    const A outer = static_cast<A>(terms.softcap * log2_e), inner = static_cast<A>(ln_2 / terms.softcap);
    u = outer * rapt::math::tanh(u * inner);
  }
  if (terms.alibi_slope) {
    const index_t distance = q_position > k_position ? q_position - k_position : k_position - q_position;
    u = std::fma(-static_cast<A>(*terms.alibi_slope * log2_e), static_cast<A>(distance), u);
  }
  if (additive_mask) u = std::fma(*additive_mask, static_cast<A>(log2_e), u);
  return u;
}

// ---- Dropout

/// Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
inline std::array<std::uint32_t, 4> philox4x32_10(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0], b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

struct dropout {
  double p = 0;  ///< 0: none
  std::uint64_t seed = 0, offset_and_sequence = 0;
  index_t head = 0, query = 0;
  bool keeps(index_t key) const {
    const auto low = [](auto x) { return static_cast<std::uint32_t>(x); };
    const std::uint32_t word = philox4x32_10({low(offset_and_sequence), low(head), low(query), low(key)}, {low(seed), low(seed >> 32)})[0];
    return static_cast<double>(word) * 0x1p-32 >= p;
  }
};

// ---- Softmax states

/// m is the largest score seen (-inf: none), l the sum of exp2(u - m), acc the values weighted likewise.
template <class A>
struct state {
  A m = minus_infinity<A>, l = 0;
  std::vector<A> acc;
  bool empty() const { return m == minus_infinity<A>; }
};

/// Keys first .. first + scores.size() of one segment; a hidden key's score is -inf and its value is not read.
/// value(j, d) is dimension d of key j's value.
template <class A, class Value>
state<A> fold_segment(const std::vector<A>& scores, index_t first, index_t value_dim, Value value, const dropout& drop,
                      products how = products::fma) {
  state<A> s;
  s.acc.assign(static_cast<std::size_t>(value_dim), A{0});
  bool any_nan = false;
  for (const A u : scores) {
    any_nan |= u != u;
    if (u > s.m) s.m = u;
  }
  if (any_nan) s.m = std::numeric_limits<A>::quiet_NaN();
  if (s.empty()) return s;
  std::array<A, num_lanes> lane{};
  std::vector<A> probabilities(scores.size() + 1);  // of hidden keys 0
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] == minus_infinity<A>) continue;
    const index_t key = first + static_cast<index_t>(i);
    A p = rapt::math::exp2(scores[i] - s.m);
    lane[static_cast<std::size_t>(key % num_lanes)] += p;
    if (drop.p > 0) p = p * (drop.keeps(key) ? A{1} : A{0}) / static_cast<A>(1 - drop.p);
    probabilities[i] = how == products::bf16_pairs ? as_bf16(p) : p;
    if (how == products::fma)
      for (index_t d = 0; d < value_dim; ++d) s.acc[static_cast<std::size_t>(d)] = std::fma(p, value(key, d), s.acc[static_cast<std::size_t>(d)]);
  }
  const auto seen = [&](std::size_t j) { return j < scores.size() && scores[j] != minus_infinity<A>; };
  if (how == products::tf32)
    for (index_t d = 0; d < value_dim; ++d) {
      tf32_sums eights;
      bool finite = true;
      for (std::size_t i = 0; i < scores.size(); i += 8) {
        // A hidden key's value is not read.
        std::array<float, 8> p{}, v{};
        for (std::size_t j = i; j < i + 8; ++j)
          if (seen(j)) {
            p[j - i] = static_cast<float>(probabilities[j]), v[j - i] = static_cast<float>(value(first + static_cast<index_t>(j), d));
            if (!std::isfinite(v[j - i])) finite = false, v[j - i] = 0;
          }
        eights.add(p, v);
      }
      s.acc[static_cast<std::size_t>(d)] = finite ? static_cast<A>(eights.total() + 0.0f) : std::numeric_limits<A>::quiet_NaN();
    }
  if (how == products::bf16_pairs)
    for (std::size_t i = 0; i < scores.size(); i += 2) {
      // A hidden key's value is not read; a pair of two hidden keys adds nothing.
      if (!seen(i) && !seen(i + 1)) continue;
      for (index_t d = 0; d < value_dim; ++d) {
        const auto read = [&](std::size_t j) { return seen(j) ? value(first + static_cast<index_t>(j), d) : A{0}; };
        A& acc = s.acc[static_cast<std::size_t>(d)];
        acc = add_pair(acc, probabilities[i], read(i), probabilities[i + 1], read(i + 1));
      }
    }
  s.l = tree_sum(lane);
  return s;
}

template <class A>
void merge_into(state<A>& total, const state<A>& next) {
  if (next.empty()) return;
  if (total.empty()) {
    total = next;
    return;
  }
  const bool next_is_larger = next.m > total.m;
  const state<A> low = next_is_larger ? total : next, high = next_is_larger ? next : total;
  const A s = rapt::math::exp2(low.m - high.m);
  total.m = low.m != low.m ? low.m : high.m;
  total.l = std::fma(low.l, s, high.l);
  for (std::size_t d = 0; d < total.acc.size(); ++d) total.acc[d] = std::fma(low.acc[d], s, high.acc[d]);
}

/// Segments ascending into their super-segment, super-segments ascending into the row.
template <class A, class Value>
state<A> fold_row(const std::vector<A>& scores, index_t value_dim, Value value, const dropout& drop, products how = products::fma) {
  const auto num_keys = static_cast<index_t>(scores.size());
  state<A> row;
  for (index_t super = 0; super < num_keys; super += super_segment_keys) {
    state<A> part;
    for (index_t first = super; first < num_keys && first < super + super_segment_keys; first += segment_keys) {
      const index_t end = first + segment_keys < num_keys ? first + segment_keys : num_keys;
      merge_into(part, fold_segment(std::vector<A>(scores.begin() + first, scores.begin() + end), first, value_dim, value, drop, how));
    }
    merge_into(row, part);
  }
  return row;
}

template <class A>
struct attended_row {
  std::vector<A> out;
  A lse = minus_infinity<A>;
};
template <class A>
attended_row<A> finish(state<A> row, index_t value_dim, std::optional<double> sink_logit) {
  attended_row<A> result;
  result.out.assign(static_cast<std::size_t>(value_dim), A{0});
  if (row.empty()) return result;
  result.lse = canonical(static_cast<A>(static_cast<double>(row.m) * ln_2 + rapt::math::log(static_cast<double>(row.l))));
  if (sink_logit) merge_into(row, {static_cast<A>(*sink_logit * log2_e), A{1}, std::vector<A>(row.acc.size(), A{0})});
  const A inverse = A{1} / row.l;
  for (std::size_t d = 0; d < result.out.size(); ++d) result.out[d] = canonical(row.acc[d] * inverse);
  return result;
}

/// Two results over disjoint keys become one. The contract has no order for it; this is the one written down in
/// src/cpu/README.md: states of m = lse, l = 1, acc = out.
template <class A>
attended_row<A> merged(const attended_row<A>& a, const attended_row<A>& b) {
  if (a.lse == minus_infinity<A>) return b;
  if (b.lse == minus_infinity<A>) return a;
  const attended_row<A>&high = b.lse > a.lse ? b : a, &low = b.lse > a.lse ? a : b;
  const A s = rapt::math::exp2(static_cast<A>((static_cast<double>(low.lse) - static_cast<double>(high.lse)) * log2_e));
  const A sum = A{1} + s, inverse = A{1} / sum;
  attended_row<A> result;
  result.lse = canonical(static_cast<A>(static_cast<double>(high.lse) + rapt::math::log(static_cast<double>(sum))));
  for (std::size_t d = 0; d < high.out.size(); ++d) result.out.push_back(canonical(std::fma(low.out[d], s, high.out[d]) * inverse));
  return result;
}

}  // namespace rapt_test::contract
