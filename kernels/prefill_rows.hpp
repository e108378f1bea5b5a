// What prefill keeps of its rows: bases of exponents, sums of weights, weighted sums of values; how two such states are merged.
#pragma once
#include <kernels/simt/math.hpp>
#include <kernels/simt/mma.hpp>
#include <kernels/simt/warp.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int prefill_rows = 128, prefill_keys = 64;

/// Threads of a block whose warps have `Groups` times 16 of its rows each.
template <int Groups>
constexpr int prefill_threads = prefill_rows / (16 * Groups) * 32;

/// Sums of 2 * Groups rows a thread, as they lie in registers: of a segment, or read from the workspace.
template <int HeadDim, int Groups>
struct softmax_rows {
  float max[2 * Groups];  // in units of log2; row 2 * g + i: lane / 4 + i * 8 + g * 16 of the warp's
  float sum;              // of row lane % (2 * Groups) of these; the lanes beside it keep the others
  simt::mma_c acc[Groups][HeadDim / 8];
};

/// A state of the workspace, laid out so that the threads of a block read 16 bytes each from consecutive addresses.
template <int HeadDim, int Groups>
struct stored_rows {
  struct alignas(Groups * 8) rows_of_thread {
    float x[2 * Groups];
  };
  struct alignas(16) four {
    float x[4];
  };
  rows_of_thread max[prefill_threads<Groups>];
  float sum[prefill_threads<Groups>];
  four acc[Groups][HeadDim / 8][prefill_threads<Groups>];
};

/// What exponents are taken relative to. A row that has seen nothing has -inf, and -inf - -inf would be NaN.
RAPT_DEVICE float base_of(float max) { return max == -simt::infinity ? 0.0f : max; }

/// Of the rows' numbers, that of the row whose sum this lane keeps.
template <int Rows>
RAPT_DEVICE float own_row(const float (&x)[Rows]) {
  const unsigned lane = simt::lane_idx();
  const float low = (lane & 1) != 0 ? x[1] : x[0];
  if constexpr (Rows == 2) return low;
  const float high = (lane & 1) != 0 ? x[Rows - 1] : x[Rows - 2];
  return (lane & 2) != 0 ? high : low;
}

template <int HeadDim, int Groups>
RAPT_DEVICE void clear(softmax_rows<HeadDim, Groups>& rows) {
  RAPT_UNROLL for (float& max : rows.max) max = -simt::infinity;
  rows.sum = 0;
  RAPT_UNROLL for (int g = 0; g < Groups; ++g) RAPT_UNROLL for (int n = 0; n < HeadDim / 8; ++n) rows.acc[g][n] = {};
}

template <int HeadDim, int Groups>
RAPT_DEVICE void store(stored_rows<HeadDim, Groups>& to, const softmax_rows<HeadDim, Groups>& from) {
  const unsigned t = simt::thread_idx();
  RAPT_UNROLL for (int r = 0; r < 2 * Groups; ++r) to.max[t].x[r] = from.max[r];
  to.sum[t] = from.sum;
  RAPT_UNROLL for (int g = 0; g < Groups; ++g) RAPT_UNROLL for (int n = 0; n < HeadDim / 8; ++n) {
    const float(&x)[4] = from.acc[g][n].elements;
    to.acc[g][n][t] = {x[0], x[1], x[2], x[3]};
  }
}

/// `rows` becomes the merge of an earlier state with it.
template <int HeadDim, int Groups>
RAPT_DEVICE void merge(const stored_rows<HeadDim, Groups>& earlier, softmax_rows<HeadDim, Groups>& rows) {
  const unsigned t = simt::thread_idx();
  const auto max = earlier.max[t];
  const float sum = earlier.sum[t];
  // The side with the larger maximum has scale 1 and is added to. An empty side has scale 0 and sums 0.
  float scale_earlier[2 * Groups], scale_rows[2 * Groups];
  RAPT_UNROLL for (int r = 0; r < 2 * Groups; ++r) {
    const float high = simt::max_or_nan(max.x[r], rows.max[r]), base = base_of(high);
    scale_earlier[r] = simt::exp2_approx(max.x[r] - base);
    scale_rows[r] = simt::exp2_approx(rows.max[r] - base);
    rows.max[r] = high;
  }
  const auto merged = [](float x, float scale_x, float y, float scale_y) {
    return scale_x < 1.0f ? simt::fma(x, scale_x, y) : simt::fma(y, scale_y, x);
  };
  rows.sum = merged(sum, own_row(scale_earlier), rows.sum, own_row(scale_rows));
  RAPT_UNROLL for (int g = 0; g < Groups; ++g) RAPT_UNROLL for (int n = 0; n < HeadDim / 8; ++n) {
    const auto acc = earlier.acc[g][n][t];
    RAPT_UNROLL for (int e = 0; e < 4; ++e) {
      const int r = g * 2 + e / 2;
      float& x = rows.acc[g][n].elements[e];
      x = merged(acc.x[e], scale_earlier[r], x, scale_rows[r]);
    }
  }
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
