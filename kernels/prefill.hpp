// Attention of many queries on tensor cores (mma.sync, sm_80 and later), in the order of the contract's id mma16816-k64-v1.
//
// out = softmax(q k^T) v, a block of 4 warps for 128 queries of one head, 32 queries a warp. A warp multiplies two mma rows with every fragment of
// keys and values that it loads: with one, shared memory would be the limit, at 40% of what mma.sync can do.
//   shared      the queries (scaled, rounded to T), and two stages of 64 keys and 64 values, filled by cp.async one tile ahead
//   registers   the segment's sums [32, head_dim], the tile's scores [32, 64], which become the weights' fragments
//   workspace   the states of the super-segment and of the row (each thread its own part, so without barriers), touched once in 512 keys
// Bits do not depend on the grid: tiles are 64 keys, segments 512 and super-segments 8192 by absolute index, merged ascending; a row's own sums are
// never mixed with another's. A tile that a row does not see changes nothing in the row but the sign of a zero, which the output does not keep.
// Blocks draw tiles of queries from a counter, so that none waits for another.
// Bound: 4 * head_dim flops for each visible score. Test: tests/kernels/prefill_test.cpp. Bench: bench/gpu/run.sh. Figures: docs/kernels.md.
#pragma once
#include <kernels/attention_problem.hpp>
#include <kernels/simt/atomic.hpp>
#include <kernels/simt/cp_async.hpp>
#include <kernels/simt/ldmatrix.hpp>
#include <kernels/simt/math.hpp>
#include <kernels/simt/mma.hpp>
#include <kernels/simt/warp.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int prefill_threads = 128, prefill_rows = 128, prefill_keys = 64;

/// Sums of four rows a thread, as they lie in registers: of a segment, or read from the workspace.
template <int HeadDim>
struct softmax_rows {
  float max[4];  // row 2 * g + i: lane / 4 + i * 8 + g * 16 of the warp's
  float sum;     // of row lane % 4 of these; the three lanes beside it keep the others
  simt::mma_c acc[2][HeadDim / 8];
};

/// A state of the workspace, laid out so that the threads of a block read 16 bytes each from consecutive addresses.
template <int HeadDim>
struct stored_rows {
  struct alignas(16) four {
    float x[4];
  };
  four max[prefill_threads];
  float sum[prefill_threads];
  four acc[2][HeadDim / 8][prefill_threads];
};

/// Of one launch: `states` [2 * number of blocks], and a counter that is 0 between launches.
template <int HeadDim>
struct prefill_workspace {
  stored_rows<HeadDim>* states = nullptr;
  unsigned* counter = nullptr;

  /// The block's own: 0 of a super-segment, 1 of the rows.
  RAPT_DEVICE stored_rows<HeadDim>& state(int level) const { return states[simt::block_idx().x * 2 + static_cast<unsigned>(level)]; }
};

/// What a block works on: 128 queries of one head. It lies in shared memory and is read where it is needed, because registers are what this kernel is
/// short of.
template <class T>
struct query_tile {
  const T* k;  // of the KV head
  const T* v;
  int batch, head, first_row, num_key_tiles;
};

template <class T, int HeadDim>
struct prefill_storage {
  // Aligned to the longest row, for chunk_of.
  alignas(256) T q[prefill_rows * HeadDim];
  alignas(256) T k[2][prefill_keys * HeadDim];
  alignas(256) T v[2][prefill_keys * HeadDim];
  query_tile<T> work;
  int drawn;  // number of the next
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

/// softmax_scale * log2 e as a sum of two floats, so that the product with it is rounded once.
struct split_scale {
  float high, low;
};

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

/// What exponents are taken relative to. A row that has seen nothing has -inf, and -inf - -inf would be NaN.
RAPT_DEVICE float base_of(float max) { return max == -simt::infinity ? 0.0f : max; }

/// Of four rows' numbers, that of the row whose sum this lane keeps.
RAPT_DEVICE float own_row(const float (&x)[4]) {
  const unsigned lane = simt::lane_idx();
  const float low = (lane & 1) != 0 ? x[1] : x[0], high = (lane & 1) != 0 ? x[3] : x[2];
  return (lane & 2) != 0 ? high : low;
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

template <int HeadDim>
RAPT_DEVICE void clear(softmax_rows<HeadDim>& rows) {
  RAPT_UNROLL for (float& max : rows.max) max = -simt::infinity;
  rows.sum = 0;
  RAPT_UNROLL for (int g = 0; g < 2; ++g) RAPT_UNROLL for (int n = 0; n < HeadDim / 8; ++n) rows.acc[g][n] = {};
}

template <int HeadDim>
RAPT_DEVICE void store(stored_rows<HeadDim>& to, const softmax_rows<HeadDim>& from) {
  const unsigned t = simt::thread_idx();
  to.max[t] = {from.max[0], from.max[1], from.max[2], from.max[3]};
  to.sum[t] = from.sum;
  RAPT_UNROLL for (int g = 0; g < 2; ++g) RAPT_UNROLL for (int n = 0; n < HeadDim / 8; ++n) {
    const float(&x)[4] = from.acc[g][n].elements;
    to.acc[g][n][t] = {x[0], x[1], x[2], x[3]};
  }
}

/// `rows` becomes the merge of an earlier state with it.
template <int HeadDim>
RAPT_DEVICE void merge(const stored_rows<HeadDim>& earlier, softmax_rows<HeadDim>& rows) {
  const unsigned t = simt::thread_idx();
  const auto max = earlier.max[t];
  const float sum = earlier.sum[t];
  // The side with the larger maximum has scale 1 and is added to. An empty side has scale 0 and sums 0.
  float scale_earlier[4], scale_rows[4];
  RAPT_UNROLL for (int r = 0; r < 4; ++r) {
    const float high = simt::max_or_nan(max.x[r], rows.max[r]), base = base_of(high);
    scale_earlier[r] = simt::exp2_approx(max.x[r] - base);
    scale_rows[r] = simt::exp2_approx(rows.max[r] - base);
    rows.max[r] = high;
  }
  const auto merged = [](float x, float scale_x, float y, float scale_y) {
    return scale_x < 1.0f ? simt::fma(x, scale_x, y) : simt::fma(y, scale_y, x);
  };
  rows.sum = merged(sum, own_row(scale_earlier), rows.sum, own_row(scale_rows));
  RAPT_UNROLL for (int g = 0; g < 2; ++g) RAPT_UNROLL for (int n = 0; n < HeadDim / 8; ++n) {
    const auto acc = earlier.acc[g][n][t];
    RAPT_UNROLL for (int e = 0; e < 4; ++e) {
      const int r = g * 2 + e / 2;
      float& x = rows.acc[g][n].elements[e];
      x = merged(acc.x[e], scale_earlier[r], x, scale_rows[r]);
    }
  }
}

/// The rows that exist, divided by their sums: through shared memory, where the queries were, in 16 bytes a thread.
template <class T, int HeadDim>
RAPT_DEVICE void write_out(const softmax_rows<HeadDim>& rows, T* staging, const heads_view<T>& out, int batch, int head, int first_row, int q_len) {
  const unsigned thread = simt::recomputed(simt::thread_idx()), lane = thread % 32, warp_row = thread / 32 * 32;
  constexpr std::uint32_t nan = std::is_same_v<T, f16> ? 0x7e00u : 0x7fc0u;
  const float own_inverse = simt::reciprocal(rows.sum);
  simt::sync_warp();
  RAPT_UNROLL for (int g = 0; g < 2; ++g) RAPT_UNROLL for (int i = 0; i < 2; ++i) {
    const int r = g * 2 + i;
    const unsigned row = warp_row + static_cast<unsigned>(g * 16 + i * 8) + lane / 4;
    const float inverse = simt::shuffle(own_inverse, lane / 4 * 4 + static_cast<unsigned>(r));
    const bool empty = rows.max[r] == -simt::infinity;
    RAPT_UNROLL for (int n = 0; n < HeadDim / 8; ++n) {
      const auto finished = [&](int e) {
        const float x = rows.acc[g][n].elements[i * 2 + e] * inverse + 0.0f;
        return empty ? 0.0f : x;
      };
      const float left = finished(0), right = finished(1);
      std::uint32_t pair = simt::round_pair<T>(left, right);
      if (left != left) pair = (pair & 0xffff0000u) | nan;
      if (right != right) pair = (pair & 0xffffu) | nan << 16;
      *reinterpret_cast<std::uint32_t*>(staging + chunk_offset<HeadDim>(row, static_cast<unsigned>(n)) / 2 + lane % 4 * 2) = pair;
    }
  }
  simt::sync_warp();
  constexpr unsigned chunks = HeadDim / 8;
  struct alignas(16) eight {
    std::uint32_t words[4];
  };
  for (unsigned i = lane; i < 32 * chunks; i += 32) {
    const unsigned row = warp_row + i / chunks, chunk = i % chunks;
    const int query = first_row + static_cast<int>(row);
    if (query < q_len)
      *reinterpret_cast<eight*>(out.at(batch, query, head) + chunk * 8) =
          *reinterpret_cast<const eight*>(staging + chunk_offset<HeadDim>(row, chunk) / 2);
  }
}

template <class T>
RAPT_DEVICE int row_tiles(const attention_problem<T>& p) {
  return (p.q_len + prefill_rows - 1) / prefill_rows;
}
template <class T>
RAPT_DEVICE int num_query_tiles(const attention_problem<T>& p) {
  return row_tiles(p) * p.num_heads * p.batch;
}
/// The query tile of this number; a number beyond the last has a batch beyond the last.
/// Full attention takes the tiles of a head together, whose keys then stay in the second-level cache. Causal attention takes the longest tiles of all
/// heads first: else a block that begins the longest one of the last head is still at it when the others have run out of work.
template <class T>
RAPT_DEVICE query_tile<T> query_tile_of(const attention_problem<T>& p, int number) {
  const int tiles = row_tiles(p), heads = p.num_heads * p.batch;
  const int row_tile = p.causal ? tiles - 1 - number / heads : number % tiles, head_of_batches = p.causal ? number % heads : number / tiles;
  const int head = head_of_batches % p.num_heads, batch = number < tiles * heads ? head_of_batches / p.num_heads : p.batch;
  const int first_row = row_tile * prefill_rows, kv_head = p.kv_head_of(head);
  const int end_row = first_row + prefill_rows < p.q_len ? first_row + prefill_rows : p.q_len;
  return {
      p.k.at(batch, 0, kv_head), p.v.at(batch, 0, kv_head), batch, head, first_row, (p.visible_keys(end_row - 1) + prefill_keys - 1) / prefill_keys};
}

/// The next number of a query tile, or one beyond the last.
RAPT_DEVICE int draw(unsigned* counter, int num_tiles) {
  const auto drawn = static_cast<int>(simt::fetch_add(counter, 1));
  // Every block draws one number in vain. The last of these is the last of the launch, and the next launch begins anew.
  if (drawn == num_tiles + static_cast<int>(simt::grid_extent().x) - 1) *counter = 0;
  return drawn;
}

/// Tiles of keys and values with this number, on their way to the stage that it takes.
template <class T, int HeadDim>
RAPT_DEVICE void load_keys_and_values(prefill_storage<T, HeadDim>& s, const attention_problem<T>& p, int tile) {
  const int first_key = tile * prefill_keys;
  load_rows<HeadDim, prefill_keys>(s.k[tile % 2], s.work.k + first_key * p.k.token_stride, p.k.token_stride, p.kv_len - first_key);
  load_rows<HeadDim, prefill_keys>(s.v[tile % 2], s.work.v + first_key * p.v.token_stride, p.v.token_stride, p.kv_len - first_key);
  simt::commit_copies();
}

/// One tile of keys and values into the rows' sums.
template <class T, int HeadDim>
RAPT_DEVICE void fold_tile(prefill_storage<T, HeadDim>& s, const attention_problem<T>& p, int tile, softmax_rows<HeadDim>& rows) {
  const unsigned thread = simt::recomputed(simt::thread_idx());
  const int first_key = tile * prefill_keys, warp_row = s.work.first_row + static_cast<int>(thread / 32 * 32);
  if (first_key >= p.visible_keys(warp_row + 31)) return;
  const bool whole = first_key + prefill_keys <= p.visible_keys(warp_row), finite = whole || all_finite<T, HeadDim>(s.v[tile % 2]);
  simt::mma_c u[2][prefill_keys / 8];
  scores<T, HeadDim>(u, s.q, s.k[tile % 2]);
  const tile_visibility visible{p.causal ? p.kv_len - p.q_len + warp_row + static_cast<int>(thread % 32 / 4) + 1 - first_key : prefill_keys,
                                p.causal ? 1 : 0, p.kv_len - first_key};
  if (!whole) mask(u, visible);
  simt::mma_a weights[2][prefill_keys / 16];
  fold_scores<T>(u, rows, weights);
  if (finite) {
    add_values<T, HeadDim, false>(rows.acc, weights, s.v[tile % 2]);
  } else {
    // 0 * NaN is NaN on a tensor core, so a row that does not see such a key must not meet it.
    add_values<T, HeadDim, true>(rows.acc, weights, s.v[tile % 2]);
    add_values_not_finite<T, HeadDim>(rows.acc, weights, s.v[tile % 2], first_not_finite<T, HeadDim>(s.v[tile % 2]), visible);
  }
}

/// Segment after segment, merged into super-segments and these into the rows.
template <class T, int HeadDim>
RAPT_DEVICE void attend_rows(prefill_storage<T, HeadDim>& s, const attention_problem<T>& p, split_scale scale,
                             const prefill_workspace<HeadDim>& workspace) {
  load_rows<HeadDim, prefill_rows>(s.q, p.q.at(s.work.batch, s.work.first_row, s.work.head), p.q.token_stride, p.q_len - s.work.first_row);
  load_keys_and_values(s, p, 0);
  if (simt::recomputed(simt::thread_idx()) == 0) s.drawn = draw(workspace.counter, num_query_tiles(p));
  simt::wait_for_copies<0>();
  scale_queries<T, HeadDim>(s.q, scale);

  softmax_rows<HeadDim> rows;
  clear(rows);
  constexpr int segment_tiles = segment_len / prefill_keys, super_segment_tiles = super_segment_len / prefill_keys;
  for (int tile = 0; tile < s.work.num_key_tiles;) {
    simt::wait_for_copies<0>();
    simt::sync_threads();
    if (tile + 1 < s.work.num_key_tiles) load_keys_and_values(s, p, tile + 1);
    fold_tile(s, p, tile, rows);
    ++tile;
    const bool last = tile == s.work.num_key_tiles;
    if (tile % segment_tiles != 0 && !last) continue;
    const int first = (tile - 1) / segment_tiles * segment_tiles;
    const bool super_segment_ends = tile % super_segment_tiles == 0 || last;
    if (first % super_segment_tiles != 0) merge(workspace.state(0), rows);
    if (super_segment_ends && first >= super_segment_tiles) merge(workspace.state(1), rows);
    if (last) break;
    store(workspace.state(super_segment_ends ? 1 : 0), rows);
    clear(rows);
  }
  simt::sync_threads();
  write_out(rows, s.q, p.out, s.work.batch, s.work.head, s.work.first_row, p.q_len);
}

/// Blocks that fit a multiprocessor at once, by registers: as many as hide each other's latencies.
constexpr int prefill_blocks(int head_dim) { return head_dim == 64 ? 3 : 2; }

template <class T, int HeadDim>
RAPT_KERNEL(prefill_threads, prefill_blocks(HeadDim))
prefill(attention_problem<T> p, split_scale scale, prefill_workspace<HeadDim> workspace) {
  auto& s = simt::shared<prefill_storage<T, HeadDim>>();
  if (simt::thread_idx() == 0) s.drawn = draw(workspace.counter, num_query_tiles(p));
  for (;;) {
    if (simt::recomputed(simt::thread_idx()) == 0) s.work = query_tile_of(p, s.drawn);
    simt::sync_threads();
    if (s.work.batch >= p.batch) return;
    attend_rows(s, p, scale, workspace);
    simt::sync_threads();
  }
}

/// Runs `num_blocks` blocks: prefill_blocks for each multiprocessor are best. Pointers and strides are multiples of 16 bytes.
template <int HeadDim, class T>
void attend_prefill(const attention_problem<T>& p, const prefill_workspace<HeadDim>& workspace, unsigned num_blocks, simt::stream stream) {
  static_assert(HeadDim % 64 == 0);
  constexpr double log2_e = 1.4426950408889634074;
  const double c = p.softmax_scale * log2_e;
  const auto high = static_cast<float>(c);
  const split_scale scale{high, static_cast<float>(c - static_cast<double>(high))};
  simt::launch<prefill_storage<T, HeadDim>>(prefill<T, HeadDim>, {num_blocks}, prefill_threads, stream, p, scale, workspace);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
