// The two warps of the Hopper kernel that work ahead: one draws tiles of queries, the other has all tiles copied, as far ahead as there are stages.
#pragma once
#include <kernels/hopper_tile.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Starts the copies of a tile of keys or values, once its stage is empty: a run of rows and 64 columns each, where the run lies.
template <class Shape, class T>
RAPT_DEVICE void load_tile(typename hopper_storage<Shape>::key_tile& to, const attention_problem<T>& p, const heads_view<const T>& view,
                           const simt::tensor_map& from, int run_len, simt::phase_barrier& full, simt::phase_barrier& empty, unsigned parity,
                           const query_tile& work, int tile) {
  simt::wait(empty, parity ^ 1);
  simt::arrive_expecting(full, sizeof to);
  RAPT_NO_UNROLL for (int first = 0; first < Shape::keys; first += run_len) {
    const int key = tile * Shape::keys + first;
    // A run behind the last key has no page: before the first one lie zeros.
    key_place place{-1, 0};
    if (p.page_table == nullptr || key < work.s.kv_len) place = place_of(p, view.outer_stride == 0 ? 0 : work.sequence_idx, work.s, key);
    RAPT_UNROLL for (int box = 0; box < Shape::boxes; ++box)
        simt::copy_tile(to.boxes[box] + first * 64, from, full, box * 64, place.row, work.kv_head, place.outer);
  }
}

/// All copies for one tile of queries, the `turn`-th. `n`: tiles of keys that have been copied before. One thread calls it.
template <class Shape, class T>
RAPT_DEVICE void load_all(hopper_storage<Shape>& s, const attention_problem<T>& p, const simt::tensor_map& q, const simt::tensor_map& k,
                          const simt::tensor_map& v, int run_len, const query_tile& work, unsigned n, unsigned turn) {
  const ring_place<Shape::query_stages> queries(turn);
  simt::wait(s.q_empty[queries.stage], queries.parity ^ 1);
  simt::arrive_expecting(s.q_full[queries.stage], sizeof s.q[0]);
  RAPT_UNROLL for (int group = 0; group < Shape::groups; ++group) RAPT_UNROLL for (int box = 0; box < Shape::boxes; ++box)
      simt::copy_tile(s.q[queries.stage][group].boxes[box], q, s.q_full[queries.stage], box * 64, work.s.first_row + work.first_query + group * 64,
                      work.head, p.q.outer_stride == 0 ? 0 : work.sequence_idx);
  const key_tiles tiles = key_tiles_of<Shape>(work);
  const auto load_values = [&](int tile, unsigned number) {
    const ring_place<Shape::stages> at(number);
    load_tile<Shape>(s.v[at.stage], p, p.v, v, run_len, s.v_full[at.stage], s.v_empty[at.stage], at.parity, work, tile);
  };
  if (tiles.first >= tiles.last) simt::arrive(s.work_wanted);
  RAPT_NO_UNROLL for (int tile = tiles.first; tile < tiles.last; ++tile, ++n) {
    // Drawn any sooner, work would wait for this block while others have none.
    if (tile + 1 == tiles.last) simt::arrive(s.work_wanted);
    const ring_place<Shape::stages> at(n);
    load_tile<Shape>(s.k[at.stage], p, p.k, k, run_len, s.k_full[at.stage], s.k_empty[at.stage], at.parity, work, tile);
    if (tile > tiles.first) load_values(tile - 1, n - 1);
  }
  if (tiles.first < tiles.last) load_values(tiles.last - 1, n - 1);
}

/// Draws until no tile of queries is left, which the others are told last: whenever the last keys of a tile are to be copied. A warp calls it.
template <class Shape, class T>
RAPT_DEVICE void draw_all(hopper_storage<Shape>& s, const attention_problem<T>& p, unsigned* counter) {
  const int num_tiles = num_query_tiles<Shape::rows>(p);
  RAPT_NO_UNROLL for (unsigned turn = 0;; ++turn) {
    const ring_place<2> at(turn);
    if (turn > 0) simt::wait(s.work_wanted, (turn - 1) % 2);
    simt::wait(s.work_empty[at.stage], at.parity ^ 1);
    draw<Shape::rows>(p, counter, num_tiles, s.work[at.stage]);
    simt::sync_warp();
    const bool is_last = s.work[at.stage].sequence_idx >= p.num_sequences;
    simt::sync_warp();
    if (simt::lane_idx() == 0) simt::arrive(s.work_full[at.stage]);
    if (is_last) return;
  }
}

/// Copies for all that is drawn. One thread calls it.
template <class Shape, class T>
RAPT_DEVICE void copy_all(hopper_storage<Shape>& s, const attention_problem<T>& p, const simt::tensor_map& q, const simt::tensor_map& k,
                          const simt::tensor_map& v, int run_len) {
  unsigned n = 0;
  RAPT_NO_UNROLL for (unsigned turn = 0;; ++turn) {
    const ring_place<2> at(turn);
    simt::wait(s.work_full[at.stage], at.parity);
    const query_tile& work = s.work[at.stage];
    if (work.sequence_idx >= p.num_sequences) return;
    load_all(s, p, q, k, v, run_len, work, n, turn);
    const key_tiles tiles = key_tiles_of<Shape>(work);
    if (tiles.first < tiles.last) n += static_cast<unsigned>(tiles.last - tiles.first);
    simt::arrive(s.work_empty[at.stage]);
  }
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
