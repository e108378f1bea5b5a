// What prefill does with 64 keys and values in shared memory: copying them there, scores, weights, and their sums in a warp's rows.
#pragma once
#include <kernels/prefill_rows.hpp>
#include <kernels/simt/cp_async.hpp>
#include <kernels/simt/ldmatrix.hpp>
#include <kernels/simt/math.hpp>
#include <kernels/simt/mma.hpp>
#include <kernels/simt/warp.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// softmax_scale * log2 e as a sum of two floats, so that the product with it is rounded once.
struct split_scale {
  float high, low;
};

/// Where chunk `chunk` (8 elements) of a row lies: permuted within the row, so that 8 rows of one chunk are in 8 different groups of banks.
template <int HeadDim>
RAPT_DEVICE unsigned chunk_offset(unsigned row, unsigned chunk) {
  return row * (HeadDim * 2) + (chunk ^ row % 8) * 16;
}

/// The address of the chunk `chunk` further right in the same row, given that of chunk 0 or 1, for an even `chunk`: one exclusive or, where a sum
/// would keep a register for every chunk.
RAPT_DEVICE std::uint32_t chunk_of(std::uint32_t row_address, int chunk) { return row_address ^ static_cast<unsigned>(chunk * 16); }
template <int HeadDim>
constexpr std::uint32_t row_bytes = HeadDim * 2;

/// Starts copies of the first Rows rows to shared memory; those from `len` on are zeros.
template <int HeadDim, int Rows, class T>
RAPT_DEVICE void load_rows(T* to, const T* from, index_t stride, int len) {
  constexpr int chunks = HeadDim / 8, rows_at_once = prefill_threads / chunks;
  const unsigned thread = simt::recomputed(simt::thread_idx()), row = thread / chunks, chunk = thread % chunks;
  // Rows that a thread copies differ by multiples of 8, so their chunks are permuted alike.
  static_assert(rows_at_once % 8 == 0);
  const std::uint32_t first = simt::shared_address(to) + chunk_offset<HeadDim>(row, chunk);
  from += row * stride + chunk * 8;
  RAPT_UNROLL for (int i = 0; i < Rows; i += rows_at_once)
      simt::copy_async_16(first + static_cast<unsigned>(i * HeadDim * 2), from + i * stride, static_cast<int>(row) + i < len);
}

/// The queries that this thread copied, times the scale, rounded to T: scores come out in units of log2. An infinity becomes NaN.
template <class T, int HeadDim>
RAPT_DEVICE void scale_queries(T* q, split_scale scale) {
  constexpr int chunks = HeadDim / 8;
  const unsigned thread = simt::recomputed(simt::thread_idx());
  const auto scaled = [&](std::uint32_t bits) {
    const float x = simt::widen<T>(static_cast<std::uint16_t>(bits));
    const float y = simt::fma(x, scale.high, x * scale.low);
    return x - x == 0.0f ? y : x - x;
  };
  for (int i = 0; i < prefill_rows * chunks / prefill_threads; ++i) {
    const unsigned row = static_cast<unsigned>(i) * (prefill_threads / chunks) + thread / chunks;
    auto* const words = reinterpret_cast<std::uint32_t*>(q + chunk_offset<HeadDim>(row, thread % chunks) / 2);
    RAPT_UNROLL for (int w = 0; w < 4; ++w) words[w] = simt::round_pair<T>(scaled(words[w] & 0xffff), scaled(words[w] >> 16));
  }
}

/// u [32, 64] = the warp's queries times the tile's keys.
template <class T, int HeadDim>
RAPT_DEVICE void scores(simt::mma_c (&u)[2][prefill_keys / 8], const T* q, const T* k) {
  const unsigned thread = simt::recomputed(simt::thread_idx()), lane = thread % 32, first_row = thread / 32 * 32;
  const std::uint32_t q_row = simt::shared_address(q) + chunk_offset<HeadDim>(first_row + lane % 16, lane / 16);
  const std::uint32_t k_row = simt::shared_address(k) + chunk_offset<HeadDim>(lane % 8 + lane / 16 * 8, lane / 8 % 2);
  RAPT_UNROLL for (int g = 0; g < 2; ++g) RAPT_UNROLL for (int n = 0; n < prefill_keys / 8; ++n) u[g][n] = {};
  RAPT_UNROLL for (int d = 0; d < HeadDim / 16; ++d) {
    simt::mma_a rows[2];
    RAPT_UNROLL for (int g = 0; g < 2; ++g) simt::load_matrices(rows[g].registers, chunk_of(q_row, d * 2) + g * 16 * row_bytes<HeadDim>);
    RAPT_UNROLL for (int n = 0; n < prefill_keys / 8; n += 2) {
      std::uint32_t keys[4];
      simt::load_matrices(keys, chunk_of(k_row, d * 2) + n * 8 * row_bytes<HeadDim>);
      RAPT_UNROLL for (int g = 0; g < 2; ++g) {
        simt::multiply_add<T>(u[g][n], rows[g], {{keys[0], keys[1]}});
        simt::multiply_add<T>(u[g][n + 1], rows[g], {{keys[2], keys[3]}});
      }
    }
  }
}

/// f(element, row, column) for the thread's elements of [32, 8 * N]: the row is one of its four, the column counts from the lane's first.
template <int N, class F>
RAPT_DEVICE void for_each_element(simt::mma_c (&x)[2][N], F f) {
  RAPT_UNROLL for (int g = 0; g < 2; ++g) {
    RAPT_UNROLL for (int n = 0; n < N; ++n) { RAPT_UNROLL for (int e = 0; e < 4; ++e) f(x[g][n].elements[e], g * 2 + e / 2, n * 8 + e % 2); }
  }
}

/// How many of a tile's keys the thread's rows see: row r, 8 further down than row r - 1, up to `step` times 8 more of them, but no more than exist.
struct tile_visibility {
  int of_first_row, step, in_tile;

  RAPT_DEVICE int of_row(int r) const {
    const int n = of_first_row + r * 8 * step;
    return n < in_tile ? n : in_tile;
  }
};

/// Scores of keys that a row does not see become -inf.
RAPT_DEVICE void mask(simt::mma_c (&u)[2][prefill_keys / 8], const tile_visibility& visible) {
  const int first = static_cast<int>(simt::recomputed(simt::lane_idx()) % 4 * 2);
  for_each_element(u, [&](float& score, int row, int column) {
    if (first + column >= visible.of_row(row)) score = -simt::infinity;
  });
}

/// The sum of a tile's weights over the row that this lane keeps: 16 sums by key mod 16, then a tree over halves of the 16, of 8, 4 and 2.
/// A thread has four of the 16 for each of its rows. At every level of the tree two lanes divide their rows, so that no sum is formed twice.
RAPT_DEVICE float sum_of_own_row(const simt::mma_c (&p)[2][prefill_keys / 8]) {
  float sums[4][2];
  RAPT_UNROLL for (int r = 0; r < 4; ++r) RAPT_UNROLL for (int e = 0; e < 2; ++e) {
    const auto weight = [&](int n) { return p[r / 2][n].elements[r % 2 * 2 + e]; };
    float even = weight(0), odd = weight(1);
    RAPT_UNROLL for (int n = 2; n < prefill_keys / 8; n += 2) even += weight(n), odd += weight(n + 1);
    sums[r][e] = even + odd;
  }
  const bool upper = (simt::lane_idx() & 2) != 0, second = (simt::lane_idx() & 1) != 0;
  float pair[2][2], own[2];
  RAPT_UNROLL for (int r = 0; r < 2; ++r) {
    RAPT_UNROLL for (int e = 0; e < 2; ++e) {
      const float low = sums[r][e], high = sums[r + 2][e];
      pair[r][e] = (upper ? high : low) + simt::shuffle_xor(upper ? low : high, 2);
    }
  }
  RAPT_UNROLL for (int e = 0; e < 2; ++e) own[e] = (second ? pair[1][e] : pair[0][e]) + simt::shuffle_xor(second ? pair[0][e] : pair[1][e], 1);
  return own[0] + own[1];
}

/// Scores become weights, relative to the maximum so far, which the rows' sums are brought to. p: the weights, rounded, as fragments of mma.
template <class T, int HeadDim>
RAPT_DEVICE void fold_scores(simt::mma_c (&u)[2][prefill_keys / 8], softmax_rows<HeadDim>& rows, simt::mma_a (&p)[2][prefill_keys / 16]) {
  float max[4], base[4], scale[4];
  RAPT_UNROLL for (int r = 0; r < 4; ++r) {
    const auto score = [&](int n, int e) { return u[r / 2][n].elements[r % 2 * 2 + e]; };
    float left = score(0, 0), right = score(0, 1);
    RAPT_UNROLL for (int n = 1; n < prefill_keys / 8; ++n) left = simt::max_or_nan(left, score(n, 0)), right = simt::max_or_nan(right, score(n, 1));
    max[r] = simt::max_or_nan(left, right);
  }
  RAPT_UNROLL for (unsigned lanes = 1; lanes < 4; lanes *= 2) {
    RAPT_UNROLL for (float& m : max) m = simt::max_or_nan(m, simt::shuffle_xor(m, lanes));
  }
  RAPT_UNROLL for (int r = 0; r < 4; ++r) {
    max[r] = simt::max_or_nan(max[r], rows.max[r]);
    base[r] = base_of(max[r]);
    scale[r] = simt::exp2_approx(rows.max[r] - base[r]);
    rows.max[r] = max[r];
  }
  for_each_element(rows.acc, [&](float& x, int row, int) { x *= scale[row]; });
  const float own_scale = own_row(scale);
  for_each_element(u, [&](float& score, int row, int) { score = simt::exp2_approx(score - base[row]); });
  rows.sum = simt::fma(rows.sum, own_scale, sum_of_own_row(u));
  RAPT_UNROLL for (int g = 0; g < 2; ++g) RAPT_UNROLL for (int k = 0; k < prefill_keys / 16; ++k) RAPT_UNROLL for (int r = 0; r < 4; ++r) {
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
  simt::load_matrices_transposed(values, chunk_of(row, n) + k * 16 * row_bytes<HeadDim>);
}

/// Both halves of a word, or zero for those that are not finite.
template <class T>
RAPT_DEVICE std::uint32_t finite_halves(std::uint32_t word) {
  constexpr std::uint32_t exponent = std::is_same_v<T, f16> ? 0x7c00u : 0x7f80u;
  const bool low = (word & exponent) != exponent, high = (word >> 16 & exponent) != exponent;
  return (low ? word & 0xffffu : 0u) | (high ? word & 0xffff0000u : 0u);
}

/// acc += p v; with OnlyFinite, elements of v that are not finite count as +0.
template <class T, int HeadDim, bool OnlyFinite>
RAPT_DEVICE void add_values(simt::mma_c (&acc)[2][HeadDim / 8], const simt::mma_a (&p)[2][prefill_keys / 16], const T* v) {
  const std::uint32_t row = value_row<HeadDim>(v);
  RAPT_UNROLL for (int k = 0; k < prefill_keys / 16; ++k) RAPT_UNROLL for (int n = 0; n < HeadDim / 8; n += 2) {
    std::uint32_t values[4];
    load_values<HeadDim>(values, row, k, n);
    if constexpr (OnlyFinite)
      for (std::uint32_t& pair : values) pair = finite_halves<T>(pair);
    RAPT_UNROLL for (int g = 0; g < 2; ++g) {
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

/// The first of the tile's keys whose values are not all finite; prefill_keys where there is none.
template <class T, int HeadDim>
RAPT_DEVICE int first_not_finite(const T* v) {
  for (int first = 0; first < prefill_keys; first += 32) {
    const auto* const words = reinterpret_cast<const std::uint32_t*>(v + (first + static_cast<int>(simt::lane_idx())) * HeadDim);
    bool finite = true;
    for (int w = 0; w < HeadDim / 2; ++w) finite = finite && finite_halves<T>(words[w]) == words[w];
    if (const std::uint32_t lanes = simt::ballot(!finite); lanes != 0) return first + simt::first_lane(lanes);
  }
  return prefill_keys;
}

/// What add_values<OnlyFinite> left out, for rows that see the key `first` or later ones: products that are infinite or NaN.
template <class T, int HeadDim>
RAPT_DEVICE void add_values_not_finite(simt::mma_c (&acc)[2][HeadDim / 8], const simt::mma_a (&p)[2][prefill_keys / 16], const T* v, int first,
                                       const tile_visibility& visible) {
  const std::uint32_t row = value_row<HeadDim>(v);
  RAPT_UNROLL for (int n = 0; n < HeadDim / 8; n += 2) RAPT_UNROLL for (int g = 0; g < 2; ++g) {
    simt::mma_c sums[2] = {};
    RAPT_UNROLL for (int k = 0; k < prefill_keys / 16; ++k) {
      std::uint32_t values[4];
      load_values<HeadDim>(values, row, k, n);
      for (std::uint32_t& pair : values) pair ^= finite_halves<T>(pair);
      simt::multiply_add<T>(sums[0], p[g][k], {{values[0], values[1]}});
      simt::multiply_add<T>(sums[1], p[g][k], {{values[2], values[3]}});
    }
    RAPT_UNROLL for (int half = 0; half < 2; ++half) RAPT_UNROLL for (int e = 0; e < 4; ++e) {
      const float sum = sums[half].elements[e];
      if (visible.of_row(g * 2 + e / 2) > first && sum != 0.0f) acc[g][n + half].elements[e] += sum;
    }
  }
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
