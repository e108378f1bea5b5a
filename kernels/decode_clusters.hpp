// Decode of few keys (decode.hpp) by clusters: one token against a thousand keys is too little for a block a segment, each of which then takes all
// the time in which one multiprocessor reads 256 KiB. Here 8 blocks, a cluster, share a segment: each has one of its 8 tiles of keys, and then an
// eighth of the columns of all its values, so that no key and no value is read twice. They tell each other through shared memory
//   maxima     of each block's tile, so that every block knows the running maximum before and after its own
//   weights    of each block's tile, with their sums
// and the operations and their order are decode's. All copies begin at once: values are on their way while scores are computed. Between segments
// blocks of the same columns meet in the workspace as decode's do. Bound: latency. Test: tests/kernels/decode_clusters_test.cpp.
#pragma once
#include <kernels/decode.hpp>
#include <kernels/simt/cluster.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int cluster_blocks = decode_segment_tiles;

/// Chunks of 8 columns that a block has of Dim. The last blocks may have fewer, or none.
template <int Dim>
constexpr int cluster_chunks = (Dim / 8 + cluster_blocks - 1) / cluster_blocks;
static_assert(cluster_chunks<256> <= decode_warps, "a warp has one at the most");

template <class T, int Dim>
struct cluster_storage {
  decode_segment<T, Dim> segment;
  alignas(256) T keys[decode_keys * Dim];
  alignas(256) T values[cluster_chunks<Dim> * segment_len * 8];  // value_columns
  alignas(16) simt::mma_c scores[decode_keys / 8][32];           // of the block's tile, a lane's beside those of the next one
  unsigned arrived;
};

/// The copies of a block of rank `rank`: its tile of keys, and its columns of the segment's values.
template <class T, int Dim>
struct cluster_copies {
  const attention_problem<T>& p;
  const sequence& seq;
  const decode_work& w;
  int rank;

  static constexpr int chunks = Dim / 8, own_chunks = cluster_chunks<Dim>;
  static constexpr int of_keys = decode_keys * chunks / decode_threads;  // of a thread
  static constexpr int of_values = static_cast<int>(segment_len) * own_chunks / decode_threads;

  RAPT_DEVICE void start(cluster_storage<T, Dim>& s) const {
    const int thread = static_cast<int>(simt::thread_idx());
    // Each lane asks once where 16 keys of the segment are, which lie in one page.
    static_assert(32 * 16 == segment_len);
    const int first_of_lane = first_of_segment() + static_cast<int>(simt::lane_idx()) * 16;
    const key_place run = exists(first_of_lane) ? place_of(p, w.sequence_idx, seq, first_of_lane) : key_place{0, 0};
    RAPT_UNROLL for (int i = 0; i < of_keys; ++i) {
      const int place = thread + i * decode_threads, key = place / chunks, chunk = place % chunks;
      copy(s.keys + chunk_offset<Dim>(static_cast<unsigned>(key), static_cast<unsigned>(chunk)) / 2, p.k, run, rank * decode_keys + key, chunk,
           p.head_dim);
    }
    simt::commit_copies();
    RAPT_UNROLL for (int i = 0; i < of_values; ++i) {
      const int place = thread + i * decode_threads, key = place / own_chunks, chunk = place % own_chunks;
      copy(s.values + value_columns::offset(static_cast<unsigned>(key), static_cast<unsigned>(chunk)) / 2, p.v, run, key, rank * own_chunks + chunk,
           p.value_dim);
    }
    simt::commit_copies();
  }

 private:
  RAPT_DEVICE int first_of_segment() const { return w.segment * static_cast<int>(segment_len); }
  RAPT_DEVICE bool exists(int key) const { return key < seq.kv_len; }
  /// A chunk of the segment's key `key`, or zeros beyond the keys and columns that exist; nothing of a tile that no row sees. All lanes call it.
  RAPT_DEVICE void copy(T* to, const heads_view<const T>& view, const key_place& run, int key, int chunk, int dim) const {
    const auto of_run = [&](int x) { return simt::shuffle(x, static_cast<unsigned>(key) / 16); };
    const T* const row = view.at(of_run(run.outer), of_run(run.row) + key % 16, w.kv_head);
    const int key_of_sequence = first_of_segment() + key;
    if (w.has_tile(key_of_sequence / decode_keys))
      simt::copy_async_16(simt::shared_address(to), row + chunk * 8, exists(key_of_sequence) && chunk * 8 < dim);
  }
};

/// grid: ranks, then as decode's. Whatever decode's plain instantiation serves.
template <class T, int Dim>
RAPT_KERNEL(decode_threads, 2)
decode_by_clusters(attention_problem<T> p, decode_options o, decode_workspace workspace) {
  auto& s = simt::shared<cluster_storage<T, Dim>>();
  const simt::index3 block = simt::block_idx();
  const int rank = static_cast<int>(simt::cluster_rank()), warp = static_cast<int>(simt::warp_idx()), lane = static_cast<int>(simt::lane_idx());
  const int tile_of_rows = static_cast<int>(block.x) / cluster_blocks;
  const sequence seq = p.sequences[block.z];
  const decode_work w = decode_work_of(p, seq, static_cast<int>(block.z), tile_of_rows, static_cast<int>(block.y));
  if (w.segment >= w.first_segment + w.num_segments || w.num_rows <= 0) return;  // so do all blocks of the cluster
  simt::arrive_cluster_begun();
  start_queries<false, T, Dim>(s.segment.q, p, o, seq, w);
  cluster_copies<T, Dim>{p, seq, w, rank}.start(s);

  const int first_tile = w.segment * decode_segment_tiles;
  const bool has_keys = w.has_tile(first_tile + rank);
  simt::wait_for_copies<1>();
  simt::sync_threads();
  enter_queries<T, Dim>(s.segment.q, o.scores.query_factor);
  simt::sync_threads();
  // Each warp has the scores of 16 keys; then all have those of the tile, and each tells two blocks what becomes of them.
  if (has_keys) {
    simt::mma_c left, right;
    decode_scores<T, Dim>(left, right, s.segment.q, s.keys + warp * decode_copied_rows * Dim);
    s.scores[warp * 2][lane] = left, s.scores[warp * 2 + 1][lane] = right;
  }
  simt::sync_threads();
  simt::mma_c u[decode_keys / 8];
  const auto to = [&](const auto& f) {
    RAPT_UNROLL for (unsigned i = 0; i < 2; ++i) f(simt::of_block(s.segment, static_cast<unsigned>(warp) * 2 + i));
  };
  simt::wait_cluster();
  if (has_keys) {
    RAPT_UNROLL for (int n = 0; n < decode_keys / 8; ++n) u[n] = s.scores[n][lane];
    show_maxima<false>(u, p, o.scores, seq, w, rank, to);
  }
  simt::sync_cluster();
  if (has_keys) show_weights(s.segment, u, o.scores.scale, w, rank, to);
  simt::wait_for_copies<0>();
  simt::sync_cluster();

  decode_state<1> state;
  const int first_chunk = rank * cluster_chunks<Dim> + warp;
  const bool has_chunk = warp < cluster_chunks<Dim> && first_chunk < Dim / 8;
  if (has_chunk)
    for (int tile = 0; tile < decode_segment_tiles; ++tile)
      if (w.has_tile(first_tile + tile))
        fold_values<false, value_columns>(s.segment, state, s.values + tile * decode_keys * 8, static_cast<unsigned>(warp), p, seq, w, tile);
  const decode_parts<Dim, 1> parts{
      workspace, index_t{block.z} * (simt::grid_extent().x / cluster_blocks) + tile_of_rows, w.num_rows, rank, first_chunk, has_chunk};
  if (parts.combine_splits(s.arrived, state, w.first_segment, w.num_segments, w.segment) && has_chunk)
    write_rows<false>(p, o, seq, w, first_chunk, state);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
