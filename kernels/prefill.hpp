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
// What a warp does with a tile: prefill_tile.hpp; the states it keeps: prefill_rows.hpp.
// Bound: 4 * head_dim flops for each visible score. Test: tests/kernels/prefill_test.cpp. Bench: bench/gpu/run.sh. Figures: docs/kernels.md.
#pragma once
#include <kernels/attention_problem.hpp>
#include <kernels/prefill_tile.hpp>
#include <kernels/simt/atomic.hpp>
#include <kernels/simt/math.hpp>
#include <kernels/simt/warp.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

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
