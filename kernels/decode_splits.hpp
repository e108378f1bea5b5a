// What a block of decode knows of its rows, what it leaves in the workspace for others, and how such parts become rows.
//
// A row's keys are cut at multiples of 512: a split is one segment. A block leaves its segment's state (largest score, sum of weights, weighted sums)
// in the workspace and counts itself in. The last of a super-segment's blocks merges its segments, ascending, and leaves the super-segment's state;
// the last of those merges the super-segments. So bits do not depend on which block is last, and no block waits.
#pragma once
#include <kernels/decode_tile.hpp>
#include <kernels/simt/atomic.hpp>
#include <rapt/core/index.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// The sums of a thread: rows lane / 4 and lane / 4 + 8, N * 8 columns of the warp's own.
template <int N>
struct decode_state {
  float max[2] = {-simt::infinity, -simt::infinity};
  float sum[2] = {};
  simt::mma_c acc[N] = {};
};

/// Parts of a launch: for each tile of rows (sequence, KV head, 16 rows) its segments, then its super-segments. A function of shapes.
struct decode_workspace {
  float* acc = nullptr;          ///< [tiles, splits, tile_rows, Dim]
  float* max_and_sum = nullptr;  ///< [tiles, column_parts, splits, tile_rows, 2]
  unsigned* counters = nullptr;  ///< [tiles, column_parts, 1 + max_super_segments]; 0 between launches
  int tile_rows = 0, max_segments = 0, max_super_segments = 0;
  int column_parts = 1;  ///< blocks that share a segment, and then its columns

  RAPT_DEVICE index_t splits() const { return max_segments + max_super_segments; }
};

/// `into`, then `next`, as one state. The side with the larger maximum has scale 1 and is added to; an empty side has scale 0 and sums 0.
template <int N>
RAPT_DEVICE void merge_next(decode_state<N>& into, const decode_state<N>& next) {
  RAPT_UNROLL for (int i = 0; i < 2; ++i) {
    const float high = simt::max_or_nan(into.max[i], next.max[i]), base = base_of(high);
    const float scale_into = simt::exp2_approx(into.max[i] - base), scale_next = simt::exp2_approx(next.max[i] - base);
    const auto merged = [&](float x, float y) { return scale_into < 1.0f ? simt::fma(x, scale_into, y) : simt::fma(y, scale_next, x); };
    into.max[i] = high;
    into.sum[i] = merged(into.sum[i], next.sum[i]);
    RAPT_UNROLL for (int n = 0; n < N; ++n) RAPT_UNROLL for (int e = i * 2; e < i * 2 + 2; ++e) into.acc[n].elements[e] =
        merged(into.acc[n].elements[e], next.acc[n].elements[e]);
  }
}

/// The part of the workspace that belongs to a block's tile of rows and, where blocks share its columns, to the block's columns. A warp has
/// N chunks of 8 columns.
template <int Dim, int N>
struct decode_parts {
  const decode_workspace& workspace;
  index_t tile;     ///< number of the tile of rows
  int num_rows;     ///< of the tile's rows those that exist
  int part;         ///< of the columns
  int first_chunk;  ///< the warp's first
  bool has_chunks;  ///< whether the warp has any

  using state = decode_state<N>;

  struct alignas(8) pair {
    float x, y;
  };
  RAPT_DEVICE pair* sums(index_t split, int row, int n) const {
    const int column = (first_chunk + n) * 8 + static_cast<int>(simt::lane_idx() % 4) * 2;
    return reinterpret_cast<pair*>(workspace.acc + ((tile * workspace.splits() + split) * workspace.tile_rows + row) * Dim + column);
  }
  RAPT_DEVICE index_t of_part() const { return tile * workspace.column_parts + part; }
  RAPT_DEVICE pair* max_and_sum(index_t split, int row) const {
    return reinterpret_cast<pair*>(workspace.max_and_sum) + (of_part() * workspace.splits() + split) * workspace.tile_rows + row;
  }

  RAPT_DEVICE void store(index_t split, const state& s) const {
    if (!has_chunks) return;
    RAPT_UNROLL for (int i = 0; i < 2; ++i) {
      const int row = static_cast<int>(simt::lane_idx() / 4) + i * 8;
      if (row >= num_rows) continue;
      if (simt::thread_idx() < 32 && simt::lane_idx() % 4 == 0) *max_and_sum(split, row) = {s.max[i], s.sum[i]};
      RAPT_UNROLL for (int n = 0; n < N; ++n) * sums(split, row, n) = {s.acc[n].elements[i * 2], s.acc[n].elements[i * 2 + 1]};
    }
  }
  RAPT_DEVICE void load(index_t split, state& s) const {
    if (!has_chunks) return;
    RAPT_UNROLL for (int i = 0; i < 2; ++i) {
      const int row = static_cast<int>(simt::lane_idx() / 4) + i * 8;
      if (row >= num_rows) continue;
      const pair m = *max_and_sum(split, row);
      s.max[i] = m.x, s.sum[i] = m.y;
      RAPT_UNROLL for (int n = 0; n < N; ++n) {
        const pair x = *sums(split, row, n);
        s.acc[n].elements[i * 2] = x.x, s.acc[n].elements[i * 2 + 1] = x.y;
      }
    }
  }

  /// Counts this block in; whether it is the last of `count`, which then sees what all have stored. The counter is 0 again after the last one.
  RAPT_DEVICE bool is_last(unsigned& shared, int counter, int count) const {
    unsigned* const word = workspace.counters + of_part() * (1 + workspace.max_super_segments) + counter;
    simt::fence_device();
    simt::sync_threads();
    if (simt::thread_idx() == 0) {
      shared = simt::fetch_add(word, 1);
      if (shared + 1 == static_cast<unsigned>(count)) *word = 0;
    }
    simt::sync_threads();
    simt::fence_device();
    return shared + 1 == static_cast<unsigned>(count);
  }

  /// `s` is the state of split `own`, one of `count` from `first` on. Whether it has become the state of all of them: else another block, or a later
  /// one, does that.
  RAPT_DEVICE bool combine(unsigned& shared, state& s, int own, int first, int count, int counter) const {
    if (count == 1) return true;
    store(own, s);
    if (!is_last(shared, counter, count)) return false;
    s = {};
    // Loads of some splits at once, because each takes as long as a hundred sums.
    constexpr int at_once = N <= 4 ? 4 : 2;
    for (int i = 0; i < count; i += at_once) {
      state next[at_once];
      RAPT_UNROLL for (int j = 0; j < at_once; ++j) if (i + j < count) load(first + i + j, next[j]);
      RAPT_UNROLL for (int j = 0; j < at_once; ++j) merge_next(s, next[j]);
    }
    return true;
  }
  /// The same of the segments that the rows see, by super-segments. `s` is the state of one of them, `segment`.
  RAPT_DEVICE bool combine_splits(unsigned& shared, state& s, int first_segment, int num_segments, int segment) const {
    const int end = first_segment + num_segments, super = segment / segments_of_super;
    const int first_super = first_segment / segments_of_super, num_supers = (end - 1) / segments_of_super - first_super + 1;
    const int first = super * segments_of_super > first_segment ? super * segments_of_super : first_segment;
    const int last = (super + 1) * segments_of_super < end ? (super + 1) * segments_of_super : end;
    return combine(shared, s, segment - first_segment, first - first_segment, last - first, 1 + super - first_super) &&
           combine(shared, s, workspace.max_segments + super - first_super, workspace.max_segments, num_supers, 0);
  }
};

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
