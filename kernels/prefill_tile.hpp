// What prefill does with 64 keys and values in shared memory: scores, weights, and their sums in a warp's rows.
#pragma once
#include <kernels/prefill_copy.hpp>
#include <kernels/scores.hpp>
#include <kernels/simt/ldmatrix.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// The queries in shared memory become what enters an mma.
template <class T, int HeadDim, int Threads>
RAPT_DEVICE void prepare_queries(T* q, int query_factor) {
  auto* const words = reinterpret_cast<std::uint32_t*>(q);
  for (unsigned i = simt::recomputed(simt::thread_idx()); i < prefill_rows * HeadDim / 2; i += Threads)
    words[i] = entering_query<T>(words[i], query_factor);
}

/// u [16 * Groups, 64] = the warp's queries times the tile's keys.
template <class T, int HeadDim, int Groups>
RAPT_DEVICE void scores(simt::mma_c (&u)[Groups][prefill_keys / 8], const T* q, const T* k) {
  const unsigned thread = simt::recomputed(simt::thread_idx()), lane = thread % 32, first_row = thread / 32 * (16 * Groups);
  const std::uint32_t q_row = simt::shared_address(q) + chunk_offset<HeadDim>(first_row + lane % 16, lane / 16);
  const std::uint32_t k_row = simt::shared_address(k) + chunk_offset<HeadDim>(lane % 8 + lane / 16 * 8, lane / 8 % 2);
  RAPT_UNROLL for (int g = 0; g < Groups; ++g) RAPT_UNROLL for (int n = 0; n < prefill_keys / 8; ++n) u[g][n] = {};
  RAPT_UNROLL for (int d = 0; d < HeadDim / 16; ++d) {
    simt::mma_a rows[Groups];
    RAPT_UNROLL for (int g = 0; g < Groups; ++g)
        simt::load_matrices(rows[g].registers, chunk_of<HeadDim>(q_row, d * 2) + g * 16 * row_bytes<HeadDim>);
    RAPT_UNROLL for (int n = 0; n < prefill_keys / 8; n += 2) {
      std::uint32_t keys[4];
      simt::load_matrices(keys, chunk_of<HeadDim>(k_row, d * 2) + n * 8 * row_bytes<HeadDim>);
      RAPT_UNROLL for (int g = 0; g < Groups; ++g) {
        simt::multiply_add<T>(u[g][n], rows[g], {{keys[0], keys[1]}});
        simt::multiply_add<T>(u[g][n + 1], rows[g], {{keys[2], keys[3]}});
      }
    }
  }
}

/// f(element, row, column) for the thread's elements of [16 * Groups, 8 * N]: the row is one of its own, the column counts from the lane's first.
template <int N, int Groups, class F>
RAPT_DEVICE void for_each_element(simt::mma_c (&x)[Groups][N], F f) {
  RAPT_UNROLL for (int g = 0; g < Groups; ++g) {
    RAPT_UNROLL for (int n = 0; n < N; ++n) { RAPT_UNROLL for (int e = 0; e < 4; ++e) f(x[g][n].elements[e], g * 2 + e / 2, n * 8 + e % 2); }
  }
}

/// Scores of keys that a row does not see become -inf. Row r of the thread's is row first_row + 8 * r of the ranges.
template <int Groups>
RAPT_DEVICE void mask(simt::mma_c (&u)[Groups][prefill_keys / 8], const row_ranges& ranges, int first_row, int first_key) {
  const int lane_key = first_key + static_cast<int>(simt::recomputed(simt::lane_idx()) % 4 * 2);
  int first[2 * Groups], last[2 * Groups];  // columns of the lane's
  RAPT_UNROLL for (int r = 0; r < 2 * Groups; ++r) {
    const key_range range = ranges.of(first_row + 8 * r);
    first[r] = range.first - lane_key, last[r] = range.last - lane_key;
  }
  for_each_element(u, [&](float& score, int row, int column) {
    if (column >= last[row]) score = -simt::infinity;
  });
  if (first_key >= ranges.of(first_row + 16 * Groups - 1).first) return;
  for_each_element(u, [&](float& score, int row, int column) {
    if (column < first[row]) score = -simt::infinity;
  });
}

/// The sum of a tile's weights over the row that this lane keeps: 16 sums by key mod 16, then a tree over halves of the 16, of 8, 4 and 2.
/// A thread has four of the 16 for each of its rows. At levels of the tree two lanes divide their rows, so that no sum is formed twice, while they
/// have two.
template <int Groups>
RAPT_DEVICE float sum_of_own_row(const simt::mma_c (&p)[Groups][prefill_keys / 8]) {
  float sums[2 * Groups][2];
  RAPT_UNROLL for (int r = 0; r < 2 * Groups; ++r) RAPT_UNROLL for (int e = 0; e < 2; ++e) {
    const auto weight = [&](int n) { return p[r / 2][n].elements[r % 2 * 2 + e]; };
    float even = weight(0), odd = weight(1);
    RAPT_UNROLL for (int n = 2; n < prefill_keys / 8; n += 2) even += weight(n), odd += weight(n + 1);
    sums[r][e] = even + odd;
  }
  const bool upper = (simt::lane_idx() & 2) != 0, second = (simt::lane_idx() & 1) != 0;
  float pair[2][2], own[2];
  RAPT_UNROLL for (int r = 0; r < 2; ++r) {
    RAPT_UNROLL for (int e = 0; e < 2; ++e) {
      if constexpr (Groups == 2) {
        const float low = sums[r][e], high = sums[r + 2][e];
        pair[r][e] = (upper ? high : low) + simt::shuffle_xor(upper ? low : high, 2);
      } else {
        pair[r][e] = sums[r][e] + simt::shuffle_xor(sums[r][e], 2);
      }
    }
  }
  RAPT_UNROLL for (int e = 0; e < 2; ++e) own[e] = (second ? pair[1][e] : pair[0][e]) + simt::shuffle_xor(second ? pair[0][e] : pair[1][e], 1);
  return own[0] + own[1];
}

/// Scores times c become weights, relative to the maximum so far, which the rows' sums are brought to. p: the weights, rounded, as fragments of mma.
template <class T, int HeadDim, int Groups>
RAPT_DEVICE void fold_scores(simt::mma_c (&u)[Groups][prefill_keys / 8], float c, softmax_rows<HeadDim, Groups>& rows,
                             simt::mma_a (&p)[Groups][prefill_keys / 16]) {
  float max[2 * Groups], base[2 * Groups], scale[2 * Groups];
  RAPT_UNROLL for (int r = 0; r < 2 * Groups; ++r) {
    const auto score = [&](int n, int e) { return u[r / 2][n].elements[r % 2 * 2 + e]; };
    float left = score(0, 0), right = score(0, 1);
    RAPT_UNROLL for (int n = 1; n < prefill_keys / 8; ++n) left = simt::max_or_nan(left, score(n, 0)), right = simt::max_or_nan(right, score(n, 1));
    max[r] = simt::max_or_nan(left, right);
  }
  RAPT_UNROLL for (unsigned lanes = 1; lanes < 4; lanes *= 2) {
    RAPT_UNROLL for (float& m : max) m = simt::max_or_nan(m, simt::shuffle_xor(m, lanes));
  }
  RAPT_UNROLL for (int r = 0; r < 2 * Groups; ++r) {
    max[r] = simt::max_or_nan(max[r] * c, rows.max[r]);
    base[r] = base_of(max[r]);
    scale[r] = simt::exp2_approx(rows.max[r] - base[r]);
    rows.max[r] = max[r];
  }
  for_each_element(rows.acc, [&](float& x, int row, int) { x *= scale[row]; });
  const float own_scale = own_row(scale);
  // Of a hidden score, -inf, this is exactly 0: a row whose base is not finite is NaN anyway.
  for_each_element(u, [&](float& score, int row, int) { score = simt::exp2_approx(simt::fma(score, c, -base[row])); });
  rows.sum = simt::fma(rows.sum, own_scale, sum_of_own_row(u));
  RAPT_UNROLL for (int g = 0; g < Groups; ++g) RAPT_UNROLL for (int k = 0; k < prefill_keys / 16; ++k) RAPT_UNROLL for (int r = 0; r < 4; ++r) {
    const float(&pair)[4] = u[g][k * 2 + r / 2].elements;
    p[g][k].registers[r] = simt::round_pair<T>(pair[r % 2 * 2], pair[r % 2 * 2 + 1]);
  }
}

/// Where this lane's row of values begins, for load_values.
template <int HeadDim, class T>
RAPT_DEVICE std::uint32_t value_row(const T* v) {
  const unsigned lane = simt::recomputed(simt::lane_idx());
  return simt::shared_address(v) + chunk_offset<HeadDim>(lane % 16, lane / 16);
}
/// Fragments of 16 values (from k * 16 on) and 16 columns (from n * 8 on).
template <int HeadDim>
RAPT_DEVICE void load_values(std::uint32_t (&values)[4], std::uint32_t row, int k, int n) {
  simt::load_matrices_transposed(values, chunk_of<HeadDim>(row, n) + k * 16 * row_bytes<HeadDim>);
}

/// acc += p v; with OnlyFinite, elements of v that are not finite count as +0.
template <class T, int HeadDim, bool OnlyFinite, int Groups>
RAPT_DEVICE void add_values(simt::mma_c (&acc)[Groups][HeadDim / 8], const simt::mma_a (&p)[Groups][prefill_keys / 16], const T* v) {
  const std::uint32_t row = value_row<HeadDim>(v);
  RAPT_UNROLL for (int k = 0; k < prefill_keys / 16; ++k) RAPT_UNROLL for (int n = 0; n < HeadDim / 8; n += 2) {
    std::uint32_t values[4];
    load_values<HeadDim>(values, row, k, n);
    if constexpr (OnlyFinite)
      for (std::uint32_t& pair : values) pair = finite_halves<T>(pair);
    RAPT_UNROLL for (int g = 0; g < Groups; ++g) {
      simt::multiply_add<T>(acc[g][n], p[g][k], {{values[0], values[1]}});
      simt::multiply_add<T>(acc[g][n + 1], p[g][k], {{values[2], values[3]}});
    }
  }
}

/// Whether each of the tile's values is finite, found by the tensor cores: 0 times anything else is NaN.
template <class T, int HeadDim>
RAPT_DEVICE bool all_finite(const T* v) {
  const std::uint32_t row = value_row<HeadDim>(v);
  simt::mma_c sums[4] = {};
  RAPT_UNROLL for (int k = 0; k < prefill_keys / 16; ++k) RAPT_UNROLL for (int n = 0; n < HeadDim / 8; n += 2) {
    std::uint32_t values[4];
    load_values<HeadDim>(values, row, k, n);
    simt::multiply_add<T>(sums[n % 4], {}, {{values[0], values[1]}});
    simt::multiply_add<T>(sums[n % 4 + 1], {}, {{values[2], values[3]}});
  }
  float sum = 0;
  for (const simt::mma_c& s : sums) sum += s.elements[0] + s.elements[1];
  return simt::ballot(sum != 0.0f) == 0;
}

/// Bit j of word i: not all values of key 32 * i + j are finite.
template <class T, int HeadDim>
RAPT_DEVICE void find_not_finite(std::uint32_t (&keys)[2], const T* v) {
  for (int i = 0; i < 2; ++i) {
    const auto* const words = reinterpret_cast<const std::uint32_t*>(v + (i * 32 + static_cast<int>(simt::lane_idx())) * HeadDim);
    bool finite = true;
    for (int w = 0; w < HeadDim / 2; ++w) finite = finite && finite_halves<T>(words[w]) == words[w];
    keys[i] = simt::ballot(!finite);
  }
}

/// What add_values<OnlyFinite> left out, key by key: products that are infinite or NaN, for rows that see the key. sees(row, key): of the thread's
/// rows.
template <class T, int HeadDim, int Groups, class Sees>
RAPT_DEVICE void add_values_not_finite(simt::mma_c (&acc)[Groups][HeadDim / 8], const simt::mma_a (&p)[Groups][prefill_keys / 16], const T* v,
                                       Sees sees) {
  std::uint32_t keys[2];
  find_not_finite<T, HeadDim>(keys, v);
  RAPT_UNROLL for (int k = 0; k < prefill_keys / 16; ++k) for (std::uint32_t left = keys[k / 2] >> k % 2 * 16 & 0xffffu; left != 0;
                                                               left &= left - 1) {
    const std::uint32_t row = value_row<HeadDim>(v);
    const int key = simt::first_lane(left);
    bool seen[2 * Groups];
    RAPT_UNROLL for (int r = 0; r < 2 * Groups; ++r) seen[r] = sees(r, k * 16 + key);
    // Where a fragment of 16 values has this key: in one half of one register, in a quarter of the lanes.
    const bool own_lane = static_cast<int>(simt::lane_idx() % 4) == key % 8 / 2;
    const std::uint32_t half = own_lane ? 0xffffu << key % 2 * 16 : 0u, kept[2] = {key < 8 ? half : 0u, key < 8 ? 0u : half};
    RAPT_UNROLL for (int n = 0; n < HeadDim / 8; n += 2) {
      // Else values of many columns are loaded ahead, for which no registers are left.
      simt::sync_warp();
      std::uint32_t values[4];
      load_values<HeadDim>(values, row, k, n);
      RAPT_UNROLL for (int i = 0; i < 4; ++i) values[i] = (values[i] ^ finite_halves<T>(values[i])) & kept[i % 2];
      RAPT_UNROLL for (int g = 0; g < Groups; ++g) RAPT_UNROLL for (int i = 0; i < 2; ++i) {
        simt::mma_c sum = {};
        simt::multiply_add<T>(sum, p[g][k], {{values[i * 2], values[i * 2 + 1]}});
        RAPT_UNROLL for (int e = 0; e < 4; ++e) if (seen[g * 2 + e / 2] && sum.elements[e] != 0.0f) acc[g][n + i].elements[e] += sum.elements[e];
      }
    }
  }
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
