// Attention of many queries on tensor cores (mma.sync, sm_80 and later), in the order of the contract's ids sm80-mma16816-k64-v1 and
// sm90-mma16816-k64-v1.
//
// out = softmax(q k^T) v, a block for 128 queries of one head. With head_dim and value_dim up to 128 it has 4 warps of 32 queries each: a warp
// multiplies two mma rows with every fragment of keys and values that it loads, because with one, shared memory is the limit, at 40% of what mma.sync
// can do. Wider heads have no registers for that: 8 warps of 16 queries.
//   shared      the queries, two stages of 64 keys, and two of 64 values (one for 256 wide heads), filled by cp.async one tile ahead
//   registers   the segment's sums [queries, value_dim], the tile's scores [queries, 64], which become the weights' fragments
//   workspace   the states of the super-segment and of the row (each thread its own part, so without barriers), touched once in 512 keys
// Bits do not depend on the grid: tiles are 64 keys, segments 512 and super-segments 8192 by absolute index, merged ascending; a row's own sums are
// never mixed with another's. A tile that a row does not see changes nothing in the row but the sign of a zero, which the output does not keep.
// Dimensions are padded to HeadDim with zeros, which change no sum. Blocks draw tiles of queries from a counter, so that none waits for another.
// The plain kernel knows ranges of keys (causal, window, lengths) and rows of whole 16 bytes; all else is General, which looks at every score.
// Drawing: prefill_work.hpp. Copies: prefill_copy.hpp. What a warp does with a tile: prefill_tile.hpp; the states it keeps: prefill_rows.hpp.
// Bound: 2 * (head_dim + value_dim) flops for each visible score. Test: tests/kernels/prefill_test.cpp. Bench: bench/gpu/run.sh. Figures:
// docs/kernels.md.
#pragma once
#include <kernels/prefill_tile.hpp>
#include <kernels/prefill_work.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Of one launch: `states` [2 * number of blocks], and a counter that is 0 between launches.
template <int HeadDim, int Groups>
struct prefill_workspace {
  stored_rows<HeadDim, Groups>* states = nullptr;
  unsigned* counter = nullptr;

  /// The block's own: 0 of a super-segment, 1 of the rows.
  RAPT_DEVICE stored_rows<HeadDim, Groups>& state(int level) const { return states[simt::block_idx().x * 2 + static_cast<unsigned>(level)]; }
};

/// What a launch knows beside the problem.
struct prefill_options {
  score_constants scores;
  bool q_by_chunks = true, k_by_chunks = true, v_by_chunks = true, out_by_chunks = true;  ///< pointers, strides and dims are multiples of 8 elements
};

constexpr int segment_tiles = segment_len / prefill_keys;
template <int HeadDim>
constexpr int value_stages = HeadDim > 192 ? 1 : 2;

template <class T, int HeadDim>
struct prefill_storage {
  static constexpr int runs = prefill_keys / 16, located_tiles = 2 * segment_tiles;
  // Aligned for chunk_of.
  alignas(128) T q[prefill_rows * HeadDim];
  alignas(128) T k[2][prefill_keys * HeadDim];
  alignas(128) T v[value_stages<HeadDim>][prefill_keys * HeadDim];
  alignas(16) const T* run_starts[located_tiles][2][runs];  // of tile number % located_tiles: where runs of 16 keys, and of 16 values, begin
  alignas(16) tile_limits limits[8];                        // of each warp
  query_tile work, next;
  int num_tiles;
};

/// Where the runs of NumTiles tiles begin, one a thread.
template <int NumTiles, class T, int HeadDim>
RAPT_DEVICE void locate(prefill_storage<T, HeadDim>& s, const attention_problem<T>& p, int first_tile) {
  constexpr int runs = prefill_storage<T, HeadDim>::runs;
  const auto thread = static_cast<int>(simt::recomputed(simt::thread_idx()));
  const int run = thread % runs, of_values = thread / runs % 2, tile = first_tile + thread / (2 * runs), key = tile * prefill_keys + run * 16;
  if (thread >= 2 * runs * NumTiles) return;
  // Runs beyond the last key are not read, but stepped from.
  const key_place place = key < s.work.s.kv_len ? place_of(p, s.work.sequence_idx, s.work.s, key) : key_place{};
  const heads_view<const T>& from = of_values != 0 ? p.v : p.k;
  s.run_starts[tile % s.located_tiles][of_values][run] = from.at(place.outer, place.row, s.work.kv_head);
}

template <int Threads, bool General, class T, int HeadDim>
RAPT_DEVICE void load_keys(prefill_storage<T, HeadDim>& s, const attention_problem<T>& p, const prefill_options& options, int tile) {
  const row_source from{p.k.row_stride, s.work.s.kv_len - tile * prefill_keys, p.head_dim, options.k_by_chunks};
  load_rows<HeadDim, prefill_keys, Threads, General>(s.k[tile % 2], from, [&](int run) { return s.run_starts[tile % s.located_tiles][0][run]; });
}
template <int Threads, bool General, class T, int HeadDim>
RAPT_DEVICE void load_values(prefill_storage<T, HeadDim>& s, const attention_problem<T>& p, const prefill_options& options, int tile) {
  const row_source from{p.v.row_stride, s.work.s.kv_len - tile * prefill_keys, p.value_dim, options.v_by_chunks};
  load_rows<HeadDim, prefill_keys, Threads, General>(s.v[tile % value_stages<HeadDim>], from,
                                                     [&](int run) { return s.run_starts[tile % s.located_tiles][1][run]; });
}

/// One tile of keys and values into the rows' sums. Keys are there; values are, or will be after the barrier.
template <bool General, class T, int HeadDim, int Groups>
RAPT_DEVICE void fold_tile(prefill_storage<T, HeadDim>& s, const attention_problem<T>& p, const prefill_options& options, int tile,
                           softmax_rows<HeadDim, Groups>& rows) {
  const unsigned thread = simt::recomputed(simt::thread_idx());
  const int first_key = tile * prefill_keys;
  const auto row_of = [](unsigned t) { return static_cast<int>(t / 32 * (16 * Groups) + t % 32 / 4); };
  const int kept_row = row_of(thread);
  // The general kernel has no register to keep it in.
  const auto own_row = [&] { return General ? row_of(simt::recomputed(simt::thread_idx())) : kept_row; };
  const tile_limits limits = s.limits[thread / 32];
  const bool some_seen = tile >= limits.seen_first && tile < limits.seen_last, whole = tile >= limits.whole_first && tile < limits.whole_last;
  const auto query_of = [&](int r) {
    const int query = s.work.first_query + own_row() + 8 * r;
    return scored_query{s.work.head, query, query < s.work.s.q_len ? position_of_query(p, s.work.sequence_idx, s.work.s, query) : 0};
  };

  simt::mma_a weights[Groups][prefill_keys / 16];
  if (some_seen) {
    simt::mma_c u[Groups][prefill_keys / 8];
    scores<T, HeadDim>(u, s.q, s.k[tile % 2]);
    float c = options.scores.scale;
    if constexpr (General) {
      const int lane_key = first_key + static_cast<int>(simt::recomputed(simt::lane_idx()) % 4 * 2);
      finish_scores(
          p, options.scores, s.work.sequence_idx, s.work.s, !whole,
          [&](auto f) { for_each_element(u, [&](float& score, int row, int column) { f(score, row, lane_key + column); }); }, query_of);
      if (changes_scores(p)) c = 1;
    } else if (!whole) {
      mask(u, s.work.ranges, own_row(), first_key);
    }
    fold_scores<T>(u, c, rows, weights);
  }
  if constexpr (value_stages<HeadDim> == 1) {
    simt::wait_for_copies<1>();
    simt::sync_threads();
  }
  if (!some_seen) return;
  const T* const v = s.v[tile % value_stages<HeadDim>];
  if (whole || all_finite<T, HeadDim>(v)) {
    add_values<T, HeadDim, false>(rows.acc, weights, v);
  } else {
    // 0 * NaN is NaN on a tensor core, so a row that does not see such a key must not meet it.
    add_values<T, HeadDim, true>(rows.acc, weights, v);
    add_values_not_finite<T, HeadDim>(rows.acc, weights, v, [&](int r, int key) {
      if constexpr (General) {
        const scored_query q = query_of(r);
        return sees(p, s.work.sequence_idx, s.work.s, q.head, q.query, q.position, first_key + key);
      } else {
        const key_range range = s.work.ranges.of(own_row() + 8 * r);
        return first_key + key >= range.first && first_key + key < range.last;
      }
    });
  }
}

/// A sink joins the sum of weights. What it leaves of the row's sums is in scale.
template <int Rows>
RAPT_DEVICE void add_sink(float sink, const float (&max)[Rows], float (&scale)[Rows], float& sum) {
  float scale_sink[Rows];
  RAPT_UNROLL for (int r = 0; r < Rows; ++r) {
    const float base = simt::max_or_nan(max[r], sink);
    scale[r] = simt::exp2_approx(max[r] - base), scale_sink[r] = simt::exp2_approx(sink - base);
  }
  const float own_scale = own_row(scale), own_sink = own_row(scale_sink);
  sum = own_scale < 1.0f ? simt::fma(sum, own_scale, 1.0f) : sum + own_sink;
}

/// The rows that exist, divided by their sums: through shared memory, where the queries were, in 16 bytes a thread.
template <bool General, class T, int HeadDim, int Groups>
RAPT_DEVICE void write_out(prefill_storage<T, HeadDim>& s, const attention_problem<T>& p, const prefill_options& options,
                           softmax_rows<HeadDim, Groups>& rows) {
  const unsigned thread = simt::recomputed(simt::thread_idx()), lane = thread % 32, warp_row = thread / 32 * (16 * Groups);
  const auto query_of = [&](unsigned row) { return s.work.first_query + static_cast<int>(row); };
  if (p.lse.data != nullptr) {
    const unsigned r = lane % (2 * Groups);
    const int query = query_of(warp_row + r / 2 * 16 + r % 2 * 8 + lane / 4);
    if (lane % 4 < 2 * Groups && query < s.work.s.q_len)
      *p.lse.at(s.work.sequence_idx, s.work.s.first_row + query, s.work.head) = log_of_sum(own_row(rows.max), rows.sum);
  }
  float scale[2 * Groups];
  RAPT_UNROLL for (float& x : scale) x = 1;
  if constexpr (General)
    if (p.sink_logits_log2 != nullptr) add_sink(p.sink_logits_log2[s.work.head], rows.max, scale, rows.sum);
  const float own_inverse = simt::reciprocal(rows.sum);
  simt::sync_warp();
  RAPT_UNROLL for (int g = 0; g < Groups; ++g) RAPT_UNROLL for (int i = 0; i < 2; ++i) {
    const int r = g * 2 + i;
    const unsigned row = warp_row + static_cast<unsigned>(g * 16 + i * 8) + lane / 4;
    const float inverse = simt::shuffle(own_inverse, lane / 4 * 4 + static_cast<unsigned>(r));
    const bool empty = rows.max[r] == -simt::infinity;
    RAPT_UNROLL for (int n = 0; n < HeadDim / 8; ++n) {
      const auto finished = [&](int e) {
        const float acc = rows.acc[g][n].elements[i * 2 + e], x = (General ? acc * scale[r] : acc) * inverse + 0.0f;
        return empty ? 0.0f : x;
      };
      *reinterpret_cast<std::uint32_t*>(s.q + chunk_offset<HeadDim>(row, static_cast<unsigned>(n)) / 2 + lane % 4 * 2) =
          finished_pair<T>(finished(0), finished(1));
    }
  }
  simt::sync_warp();
  constexpr unsigned chunks = HeadDim / 8;
  for (unsigned i = lane; i < 16 * Groups * chunks; i += 32) {
    const unsigned row = warp_row + i / chunks, chunk = i % chunks;
    const int query = query_of(row), column = static_cast<int>(chunk) * 8;
    if (query >= s.work.s.q_len || column >= p.value_dim) continue;
    T* const to = p.out.at(s.work.sequence_idx, s.work.s.first_row + query, s.work.head) + column;
    const T* const from = s.q + chunk_offset<HeadDim>(row, chunk) / 2;
    if (!General || options.out_by_chunks)
      *reinterpret_cast<eight_elements*>(to) = *reinterpret_cast<const eight_elements*>(from);
    else
      for (int e = 0; e < 8 && column + e < p.value_dim; ++e) to[e] = from[e];
  }
}

/// Segment after segment, merged into super-segments and these into the rows.
template <bool General, class T, int HeadDim, int Groups>
RAPT_DEVICE void attend_rows(prefill_storage<T, HeadDim>& s, const attention_problem<T>& p, const prefill_options& options,
                             const prefill_workspace<HeadDim, Groups>& workspace) {
  constexpr int threads = prefill_threads<Groups>;
  constexpr bool values_ahead = value_stages<HeadDim> == 2;
  const row_source queries{p.q.row_stride, s.work.s.q_len - s.work.first_query, p.head_dim, options.q_by_chunks};
  const T* const first_query = p.q.at(s.work.sequence_idx, s.work.s.first_row + s.work.first_query, s.work.head);
  load_rows<HeadDim, prefill_rows, threads, General>(s.q, queries, [&](int run) { return first_query + run * 16 * p.q.row_stride; });
  if (s.work.first_tile < s.work.last_tile) {
    load_keys<threads, General>(s, p, options, s.work.first_tile);
    if (values_ahead) load_values<threads, General>(s, p, options, s.work.first_tile);
  }
  simt::commit_copies();
  if (simt::recomputed(simt::thread_idx()) < 32) draw(p, workspace.counter, s.num_tiles, s.next);
  simt::wait_for_copies<0>();
  simt::sync_threads();
  prepare_queries<T, HeadDim, threads>(s.q, options.scores.query_factor);

  softmax_rows<HeadDim, Groups> rows;
  clear(rows);
  constexpr int super_segment_tiles = super_segment_len / prefill_keys;
  for (int tile = s.work.first_tile; tile < s.work.last_tile;) {
    simt::wait_for_copies<0>();
    simt::sync_threads();
    if constexpr (!values_ahead) {
      load_values<threads, General>(s, p, options, tile);
      simt::commit_copies();
    }
    if (tile + 1 < s.work.last_tile) {
      load_keys<threads, General>(s, p, options, tile + 1);
      if (values_ahead) load_values<threads, General>(s, p, options, tile + 1);
    }
    simt::commit_copies();
    if (tile % segment_tiles == 0) locate<segment_tiles>(s, p, tile + segment_tiles);
    fold_tile<General>(s, p, options, tile, rows);
    ++tile;
    const bool last = tile == s.work.last_tile;
    if (tile % segment_tiles != 0 && !last) continue;
    // Earlier segments that this block has seen: of the same super-segment, and of earlier ones.
    const int first = (tile - 1) / segment_tiles * segment_tiles, begun = s.work.first_tile / segment_tiles * segment_tiles;
    const int super_segment = first / super_segment_tiles * super_segment_tiles;
    const bool super_segment_ends = tile % super_segment_tiles == 0 || last;
    if (first > super_segment && first > begun) merge(workspace.state(0), rows);
    if (super_segment_ends && super_segment > begun) merge(workspace.state(1), rows);
    if (last) break;
    store(workspace.state(super_segment_ends ? 1 : 0), rows);
    clear(rows);
  }
  simt::sync_threads();
  write_out<General>(s, p, options, rows);
}

/// Blocks that fit a multiprocessor at once, by registers: as many as hide each other's latencies.
template <int HeadDim, int Groups, bool General>
constexpr int prefill_blocks = Groups == 1                 ? 1
                               : HeadDim == 64 && !General ? 3
                                                           : 2;

template <bool General, class T, int HeadDim, int Groups>
RAPT_KERNEL(prefill_threads<Groups>, (prefill_blocks<HeadDim, Groups, General>))
prefill(attention_problem<T> p, prefill_options options, prefill_workspace<HeadDim, Groups> workspace) {
  auto& s = simt::shared<prefill_storage<T, HeadDim>>();
  if (simt::thread_idx() < 32) {
    const int num_tiles = num_query_tiles(p);
    if (simt::thread_idx() == 0) s.num_tiles = num_tiles;
    draw(p, workspace.counter, num_tiles, s.next);
  }
  for (;;) {
    simt::sync_threads();
    if (simt::recomputed(simt::thread_idx()) == 0) s.work = s.next;
    simt::sync_threads();
    if (s.work.sequence_idx >= p.num_sequences) return;
    locate<2 * segment_tiles>(s, p, s.work.first_tile / segment_tiles * segment_tiles);
    if (const unsigned thread = simt::recomputed(simt::thread_idx()); thread % 32 == 0)
      s.limits[thread / 32] = limits_of(s.work.ranges, static_cast<int>(thread / 32 * (16 * Groups)), 16 * Groups, !General || ranges_decide(p));
    simt::sync_threads();
    attend_rows<General>(s, p, options, workspace);
  }
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
