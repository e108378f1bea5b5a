// Attention of few queries against many keys on tensor cores (mma.sync), in the order of the ids sm80- and sm90-mma16816-k64-v1.
//
// An mma has 16 rows: (query, head) pairs that share a KV head fill them, so that keys and values are read once for all heads of a group. A block of
// 4 warps takes one segment of 512 keys for 16 such rows. The running maximum makes a segment's tiles of 64 keys a chain, but not all of it:
//   scores     each warp computes those of two tiles by itself, from keys that it copied itself, 16 at a time: no barrier
//   weights    one barrier shows all tiles' maxima to all warps; each then knows the running maximum before and after its tiles
//   values     each warp takes a quarter of the columns through all tiles in order, a barrier a tile, its sums in head_dim / 8 registers
// All copies go through one ring of stages, 16 keys or values a warp and stage, so that values are on their way while scores are computed. Where a
// row has more than one segment, states meet in the workspace: decode_splits.hpp. Tiles that no row sees are neither read nor computed. Bound: the
// bytes of keys and values over the device's copy rate. Test: tests/kernels/decode_test.cpp. Bench: bench/gpu/run.sh. Figures: docs/kernels.md.
#pragma once
#include <kernels/decode_copies.hpp>
#include <kernels/decode_splits.hpp>
#include <kernels/decode_tile.hpp>
#include <kernels/scores.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// What warps, or blocks, that share a segment tell each other.
template <class T, int Dim>
struct decode_segment {
  alignas(256) T q[decode_rows * Dim];
  alignas(256) T weights[decode_segment_tiles][decode_rows * decode_keys];
  float max[decode_segment_tiles][decode_rows];    // of the tile's scores, times the scale
  float base[decode_segment_tiles][decode_rows];   // the largest so far
  float scale[decode_segment_tiles][decode_rows];  // from the base before to this one
  float sum[decode_segment_tiles][decode_rows];    // of the tile's weights
  bool hides[decode_segment_tiles];                // whether some row does not see some key
};
template <class T, int Dim, bool Deep>
struct decode_storage {
  decode_stages_of<T, Dim, Deep> stages;
  decode_segment<T, Dim> segment;
  unsigned arrived;
};

/// Queries become what enters an mma.
template <class T, int Dim>
RAPT_DEVICE void enter_queries(T* q, int query_factor) {
  auto* const words = reinterpret_cast<std::uint32_t*>(q);
  for (unsigned i = simt::thread_idx(); i < decode_rows * Dim / 2; i += decode_threads) words[i] = entering_query<T>(words[i], query_factor);
}

/// Hides what a tile's rows do not see and shows its maxima: to(f) calls f with each segment that is to know. General: whatever else changes or
/// hides scores, too.
template <bool General, class T, class To>
RAPT_DEVICE void show_maxima(simt::mma_c (&u)[decode_keys / 8], const attention_problem<T>& p, const score_constants& c, const sequence& seq,
                             const decode_work& w, int tile, const To& to) {
  const int lane = static_cast<int>(simt::lane_idx()), first_key = (w.segment * decode_segment_tiles + tile) * decode_keys;
  const auto row_of = [&](int i) { return lane / 4 + i / 2 % 2 * 8; };
  const auto key_of = [&](int i) { return first_key + i / 4 * 8 + lane % 4 * 2 + i % 2; };
  if constexpr (General) {
    // In a loop that is not unrolled, because this is much code.
    float scores[decode_keys / 2];
    RAPT_UNROLL for (int i = 0; i < decode_keys / 2; ++i) scores[i] = u[i / 4].elements[i % 4];
    finish_scores(
        p, c, w.sequence_idx, seq, true, [&](auto f) { RAPT_NO_UNROLL for (int i = 0; i < decode_keys / 2; ++i) f(scores[i], row_of(i), key_of(i)); },
        [&](int row) {
          const int query = w.query(row);
          return scored_query{w.head(row), query, position_of_query(p, w.sequence_idx, seq, query)};
        });
    RAPT_UNROLL for (int i = 0; i < decode_keys / 2; ++i) u[i / 4].elements[i % 4] = scores[i];
  } else {
    const key_range seen[2] = {keys_of_row(p, seq, w, lane / 4), keys_of_row(p, seq, w, lane / 4 + 8)};
    RAPT_UNROLL for (int i = 0; i < decode_keys / 2; ++i) {
      const key_range& range = seen[i / 2 % 2];
      if (key_of(i) < range.first || key_of(i) >= range.last) u[i / 4].elements[i % 4] = -simt::infinity;
    }
  }
  bool hidden = false;
  for (const simt::mma_c& x : u)
    for (const float score : x.elements) hidden = hidden || score == -simt::infinity;
  const bool any_hidden = simt::ballot(hidden) != 0;
  if (lane == 0) to([&](auto& s) { s.hides[tile] = any_hidden; });
  const float scale = General && changes_scores(p) ? 1.0f : c.scale;
  RAPT_UNROLL for (int i = 0; i < 2; ++i) {
    const float max = max_of_row(u, i);
    if (lane % 4 == 0) to([&](auto& s) { s.max[tile][lane / 4 + i * 8] = max * scale; });
  }
}

/// A tile's scores become weights, relative to the largest score up to it; shows them, their sum, and the factor for the sums before it, as
/// show_maxima does.
template <class T, int Dim, class To>
RAPT_DEVICE void show_weights(const decode_segment<T, Dim>& own, const simt::mma_c (&u)[decode_keys / 8], float scale, const decode_work& w, int tile,
                              const To& to) {
  const unsigned lane = simt::lane_idx();
  simt::mma_c weights[decode_keys / 8];
  RAPT_UNROLL for (int i = 0; i < 2; ++i) {
    const unsigned row = lane / 4 + static_cast<unsigned>(i) * 8;
    float before = -simt::infinity;
    for (int t = 0; t < tile; ++t)
      if (w.has_tile(w.segment * decode_segment_tiles + t)) before = simt::max_or_nan(before, own.max[t][row]);
    const float max = simt::max_or_nan(before, own.max[tile][row]), base = base_of(max);
    RAPT_UNROLL for (int n = 0; n < decode_keys / 8; ++n) {
      RAPT_UNROLL for (int e = i * 2; e < i * 2 + 2; ++e) weights[n].elements[e] = simt::exp2_approx(simt::fma(u[n].elements[e], scale, -base));
    }
    const float sum = sum_of_row(weights, i);
    const float factor = simt::exp2_approx(before - base);
    if (static_cast<int>(row) >= w.num_rows) continue;  // nobody writes what becomes of it
    to([&](auto& s) {
      if (lane % 4 == 0) s.base[tile][row] = max, s.scale[tile][row] = factor, s.sum[tile][row] = sum;
      store_weights(s.weights[tile], weights, i);
    });
  }
}

/// A tile's weighted values into the state: N chunks of columns from the one that is chunk `first_chunk` of `values`.
template <bool General, class Place, class T, int Dim, int N>
RAPT_DEVICE void fold_values(const decode_segment<T, Dim>& s, decode_state<N>& state, const T* values, unsigned first_chunk,
                             const attention_problem<T>& p, const sequence& seq, const decode_work& w, int tile) {
  const unsigned lane = simt::lane_idx();
  RAPT_UNROLL for (int i = 0; i < 2; ++i) {
    const unsigned row = lane / 4 + static_cast<unsigned>(i) * 8;
    const float scale = s.scale[tile][row];
    state.max[i] = s.base[tile][row];
    state.sum[i] = simt::fma(state.sum[i], scale, s.sum[tile][row]);
    RAPT_UNROLL for (simt::mma_c& x : state.acc) x.elements[i * 2] *= scale, x.elements[i * 2 + 1] *= scale;
  }
  if (!s.hides[tile] || all_values_finite<T, Place, N>(values, first_chunk))
    return decode_values<T, Place, false>(state.acc, s.weights[tile], values, first_chunk);
  // 0 * NaN is NaN on a tensor core, so a row that does not see such a key must not meet it.
  decode_values<T, Place, true>(state.acc, s.weights[tile], values, first_chunk);
  add_values_not_finite<T, Place>(state.acc, s.weights[tile], values, first_chunk, [&](int row, int key_of_tile) {
    const int key = (w.segment * decode_segment_tiles + tile) * decode_keys + key_of_tile;
    if constexpr (General) {
      const int query = w.query(row);
      return sees(p, w.sequence_idx, seq, w.head(row), query, position_of_query(p, w.sequence_idx, seq, query), key);
    } else {
      const key_range range = keys_of_row(p, seq, w, row);
      return key >= range.first && key < range.last;
    }
  });
}

/// The state of the block's segment.
template <bool General, int N, class T, int Dim, bool Deep>
RAPT_DEVICE decode_state<N> attend_segment(decode_storage<T, Dim, Deep>& storage, const attention_problem<T>& p, const decode_options& o,
                                           const sequence& seq, const decode_work& w) {
  using copies = decode_copies<General, T, Dim, Deep>;
  decode_segment<T, Dim>& s = storage.segment;
  const auto own = [&](const auto& f) { f(s); };
  const copies ring(storage.stages, p, o, seq, w);
  const int first_tile = w.segment * decode_segment_tiles;
  start_queries<General, T, Dim>(s.q, p, o, seq, w);
  for (int step = 0; step < copies::stages - 1; ++step) ring.start(step);

  simt::mma_c u[2][decode_keys / 8];
  RAPT_UNROLL for (int step = 0; step < copies::score_steps; ++step) {
    ring.wait();
    if (step == 0) {
      simt::sync_threads();
      enter_queries<T, Dim>(s.q, o.scores.query_factor);
      simt::sync_threads();
    } else {
      simt::sync_warp();
    }
    ring.start(step + copies::stages - 1);
    if (w.has_tile(first_tile + ring.own_tile(step)))
      decode_scores<T, Dim>(u[step / 4][step % 4 * 2], u[step / 4][step % 4 * 2 + 1], s.q, ring.keys(step));
  }
  RAPT_UNROLL for (int t = 0; t < 2; ++t) {
    const int tile = ring.own_tile(t * 4);
    if (w.has_tile(first_tile + tile)) show_maxima<General>(u[t], p, o.scores, seq, w, tile, own);
  }
  simt::sync_threads();
  RAPT_UNROLL for (int t = 0; t < 2; ++t) {
    const int tile = ring.own_tile(t * 4);
    if (w.has_tile(first_tile + tile)) show_weights(s, u[t], General && changes_scores(p) ? 1.0f : o.scores.scale, w, tile, own);
  }
  decode_state<N> state;
  for (int tile = 0; tile < decode_segment_tiles; ++tile) {
    const int step = copies::score_steps + tile;
    ring.wait();
    simt::sync_threads();
    ring.start(step + copies::stages - 1);
    if (w.has_tile(first_tile + tile)) fold_values<General, value_rows<Dim>>(s, state, ring.values(step), simt::warp_idx() * N, p, seq, w, tile);
  }
  return state;
}

/// A sink is merged, sums are divided, the rows that exist are written: N chunks of columns from `first_chunk` on.
template <bool General, class T, int N>
RAPT_DEVICE void write_rows(const attention_problem<T>& p, const decode_options& o, const sequence& s, const decode_work& w, int first_chunk,
                            const decode_state<N>& state) {
  const int lane = static_cast<int>(simt::lane_idx());
  RAPT_UNROLL for (int i = 0; i < 2; ++i) {
    const int row = lane / 4 + i * 8;
    if (row >= w.num_rows) continue;
    const int query = s.first_row + w.query(row), head = w.head(row);
    const float max = state.max[i];
    if (p.lse.data != nullptr && first_chunk == 0 && lane % 4 == 0) *p.lse.at(w.sequence_idx, query, head) = log_of_sum(max, state.sum[i]);
    float scale = 1, sum = state.sum[i];
    if (General && p.sink_logits_log2 != nullptr) {
      const float sink = p.sink_logits_log2[head], high = simt::max_or_nan(max, sink);
      scale = simt::exp2_approx(max - high);
      sum = scale < 1.0f ? simt::fma(sum, scale, 1.0f) : simt::fma(1.0f, simt::exp2_approx(sink - high), sum);
    }
    const float inverse = simt::reciprocal(sum);
    T* const out = p.out.at(w.sequence_idx, query, head);
    RAPT_UNROLL for (int n = 0; n < N; ++n) {
      const int column = (first_chunk + n) * 8 + lane % 4 * 2;
      const auto finished = [&](int e) { return max == -simt::infinity ? 0.0f : state.acc[n].elements[i * 2 + e] * scale * inverse + 0.0f; };
      const std::uint32_t pair = finished_pair<T>(finished(0), finished(1));
      if (!General || o.out_by_pairs) {
        if (column < p.value_dim) *reinterpret_cast<std::uint32_t*>(out + column) = pair;
      } else {
        if (column < p.value_dim) out[column].bits = static_cast<std::uint16_t>(pair);
        if (column + 1 < p.value_dim) out[column + 1].bits = static_cast<std::uint16_t>(pair >> 16);
      }
    }
  }
}

/// grid: KV heads * tiles of rows, splits, sequences. Neighbours read the same keys, or those beside them.
template <bool General, class T, int Dim, bool Deep>
RAPT_KERNEL(decode_threads, (General ? 2 : decode_blocks<Dim, Deep>))
decode(attention_problem<T> p, decode_options o, decode_workspace workspace) {
  auto& s = simt::shared<decode_storage<T, Dim, Deep>>();
  const simt::index3 block = simt::block_idx();
  const sequence seq = p.sequences[block.z];
  const decode_work w = decode_work_of(p, seq, static_cast<int>(block.z), static_cast<int>(block.x), static_cast<int>(block.y));
  if (w.segment >= w.first_segment + w.num_segments || w.num_rows <= 0) return;
  constexpr int own_chunks = Dim / 8 / decode_warps;
  auto state = attend_segment<General, own_chunks>(s, p, o, seq, w);

  const int first_chunk = static_cast<int>(simt::warp_idx()) * own_chunks;
  const decode_parts<Dim, own_chunks> parts{workspace, index_t{block.z} * simt::grid_extent().x + block.x, w.num_rows, 0, first_chunk, true};
  if (parts.combine_splits(s.arrived, state, w.first_segment, w.num_segments, w.segment)) write_rows<General>(p, o, seq, w, first_chunk, state);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
