// What decode does with 16 query rows and 64 keys: copying 16 keys or values, scores of 16 keys, a tile's weights and their sums, weighted values.
#pragma once
#include <kernels/elements.hpp>
#include <kernels/prefill_copy.hpp>
#include <kernels/simt/ldmatrix.hpp>
#include <kernels/simt/math.hpp>
#include <kernels/simt/mma.hpp>
#include <kernels/simt/warp.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int decode_warps = 4, decode_threads = decode_warps * 32, decode_rows = 16, decode_keys = 64, decode_copied_rows = 16;
constexpr int decode_segment_tiles = segment_len / decode_keys, segments_of_super = super_segment_len / segment_len;
static_assert(decode_segment_tiles == 2 * decode_warps);

/// u [16, 16] = the queries times 16 keys.
template <class T, int Dim>
RAPT_DEVICE void decode_scores(simt::mma_c& left, simt::mma_c& right, const T* q, const T* k) {
  const unsigned lane = simt::lane_idx();
  const std::uint32_t queries = simt::shared_address(q), keys = simt::shared_address(k);
  left = {}, right = {};
  RAPT_UNROLL for (unsigned d = 0; d < Dim / 16; ++d) {
    simt::mma_a rows;
    std::uint32_t columns[4];
    simt::load_matrices(rows.registers, queries + chunk_offset<Dim>(lane % 16, d * 2 + lane / 16));
    simt::load_matrices(columns, keys + chunk_offset<Dim>(lane % 8 + lane / 16 * 8, d * 2 + lane / 8 % 2));
    simt::multiply_add<T>(left, rows, {{columns[0], columns[1]}});
    simt::multiply_add<T>(right, rows, {{columns[2], columns[3]}});
  }
}

/// The largest score of row lane / 4 + i * 8, the same in the four lanes that share it.
RAPT_DEVICE float max_of_row(const simt::mma_c (&u)[decode_keys / 8], int i) {
  float max = -simt::infinity;
  RAPT_UNROLL for (const simt::mma_c& x : u) max = simt::max_or_nan(max, simt::max_or_nan(x.elements[i * 2], x.elements[i * 2 + 1]));
  RAPT_UNROLL for (unsigned lanes = 1; lanes < 4; lanes *= 2) max = simt::max_or_nan(max, simt::shuffle_xor(max, lanes));
  return max;
}

/// The sum of a row's weights: 16 sums by key mod 16, then a tree over halves of the 16, of 8, 4 and 2. A thread has four of the 16.
RAPT_DEVICE float sum_of_row(const simt::mma_c (&p)[decode_keys / 8], int i) {
  float sums[2];
  RAPT_UNROLL for (int e = 0; e < 2; ++e) {
    float even = p[0].elements[i * 2 + e], odd = p[1].elements[i * 2 + e];
    RAPT_UNROLL for (int n = 2; n < decode_keys / 8; n += 2) even += p[n].elements[i * 2 + e], odd += p[n + 1].elements[i * 2 + e];
    sums[e] = even + odd;
    sums[e] += simt::shuffle_xor(sums[e], 2);
    sums[e] += simt::shuffle_xor(sums[e], 1);
  }
  return sums[0] + sums[1];
}

/// Weights of row lane / 4 + i * 8, rounded, to their place in [16, 64].
template <class T>
RAPT_DEVICE void store_weights(T* to, const simt::mma_c (&p)[decode_keys / 8], int i) {
  const unsigned lane = simt::lane_idx();
  RAPT_UNROLL for (unsigned n = 0; n < decode_keys / 8; ++n) *
      reinterpret_cast<std::uint32_t*>(to + chunk_offset<decode_keys>(lane / 4 + static_cast<unsigned>(i) * 8, n) / 2 + lane % 4 * 2) =
      simt::round_pair<T>(p[n].elements[i * 2], p[n].elements[i * 2 + 1]);
}

/// Where a tile's values lie in shared memory: bytes to a chunk of 8 columns of a key. By rows of Dim columns;
template <int Dim>
struct value_rows {
  static RAPT_DEVICE unsigned offset(unsigned key, unsigned chunk) { return chunk_offset<Dim>(key, chunk); }
};
/// by chunks, each of all keys of a segment.
struct value_columns {
  static RAPT_DEVICE unsigned offset(unsigned key, unsigned chunk) { return (chunk * static_cast<unsigned>(segment_len) + key) * 16; }
};

/// acc [16, 8 * N] += p [16, 64] times columns of v [64, ..], from chunk `first_chunk` on. With OnlyFinite, elements of v that are not finite count
/// as +0.
template <class T, class Place, bool OnlyFinite, int N>
RAPT_DEVICE void decode_values(simt::mma_c (&acc)[N], const T* p, const T* v, unsigned first_chunk) {
  const unsigned lane = simt::lane_idx();
  const std::uint32_t weights = simt::shared_address(p), values = simt::shared_address(v);
  RAPT_UNROLL for (unsigned half = 0; half < 2; ++half) {
    simt::mma_a rows[2];
    RAPT_UNROLL for (unsigned k = 0; k < 2; ++k)
        simt::load_matrices(rows[k].registers, weights + chunk_offset<decode_keys>(lane % 16, (half * 2 + k) * 2 + lane / 16));
    std::uint32_t columns[N][4];
    RAPT_UNROLL for (unsigned n = 0; n < N; ++n) {
      simt::load_matrices_transposed(columns[n], values + Place::offset(half * 32 + lane, first_chunk + n));
      if constexpr (OnlyFinite)
        for (std::uint32_t& pair : columns[n]) pair = finite_halves<T>(pair);
    }
    RAPT_UNROLL for (int k = 0; k < 2; ++k) RAPT_UNROLL for (int n = 0; n < N; ++n)
        simt::multiply_add<T>(acc[n], rows[k], {{columns[n][k * 2], columns[n][k * 2 + 1]}});
  }
}

/// Whether all values of these columns are finite, found by the tensor cores: 0 times anything else is NaN.
template <class T, class Place, int N>
RAPT_DEVICE bool all_values_finite(const T* v, unsigned first_chunk) {
  const std::uint32_t values = simt::shared_address(v);
  simt::mma_c sums{};
  for (unsigned half = 0; half < 2; ++half)
    for (unsigned n = 0; n < N; ++n) {
      std::uint32_t columns[4];
      simt::load_matrices_transposed(columns, values + Place::offset(half * 32 + simt::lane_idx(), first_chunk + n));
      simt::multiply_add<T>(sums, {}, {{columns[0], columns[1]}});
      simt::multiply_add<T>(sums, {}, {{columns[2], columns[3]}});
    }
  return simt::ballot(sums.elements[0] + sums.elements[1] != 0.0f) == 0;
}

/// What decode_values<OnlyFinite> left out: values that are infinite or NaN, one by one, for the rows that see their keys: sees(row, key).
template <class T, class Place, int N, class Sees>
RAPT_DEVICE void add_values_not_finite(simt::mma_c (&acc)[N], const T* p, const T* v, unsigned first_chunk, Sees sees) {
  const unsigned lane = simt::lane_idx();
  RAPT_NO_UNROLL for (unsigned key = 0; key < decode_keys; ++key) {
    RAPT_UNROLL for (unsigned i = 0; i < 2; ++i) {
      if (!sees(static_cast<int>(lane / 4 + i * 8), static_cast<int>(key))) continue;
      const std::uint16_t weight = p[chunk_offset<decode_keys>(lane / 4 + i * 8, key / 8) / 2 + key % 8].bits;
      RAPT_UNROLL for (unsigned n = 0; n < N; ++n) RAPT_UNROLL for (unsigned e = 0; e < 2; ++e) {
        const std::uint16_t value = v[Place::offset(key, first_chunk + n) / 2 + lane % 4 * 2 + e].bits;
        if (finite_halves<T>(value) != value) acc[n].elements[i * 2 + e] += simt::widen<T>(weight) * simt::widen<T>(value);
      }
    }
  }
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
