// What blocks of prefill work on: tiles of so many queries of a head, drawn by number.
//
// Lengths lie in device memory, so a number is found among the sequences by a warp: a prefix sum over their tiles, 32 sequences at a time.
#pragma once
#include <kernels/prefill_rows.hpp>
#include <kernels/simt/atomic.hpp>
#include <kernels/visibility.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// It lies in shared memory and is read where it is needed, because registers are what prefill is short of.
struct query_tile {
  int sequence_idx;  ///< one beyond the last: there is nothing left
  int head, kv_head;
  int first_query;            ///< of the sequence
  int first_tile, last_tile;  ///< tiles of keys that some query may see: [first, last)
  sequence s;
  row_ranges ranges;
};

/// Tiles of keys, for the rows of a warp: some row may see some key of tiles [seen_first, seen_last), each row sees each key of [whole_first,
/// whole_last).
struct tile_limits {
  int seen_first, seen_last, whole_first, whole_last;
};
RAPT_DEVICE tile_limits limits_of(const row_ranges& ranges, int first_row, int num_rows, bool ranges_decide) {
  const key_range of_first = ranges.of(first_row), of_last = ranges.of(first_row + num_rows - 1);
  const auto up = [](int key) { return (key + prefill_keys - 1) / prefill_keys; };
  return {of_first.first / prefill_keys, up(of_last.last), up(of_last.first), ranges_decide ? of_first.last / prefill_keys : 0};
}

/// Query tiles of sequence `idx`, for one head; 0 beyond the last.
template <int Rows, class T>
RAPT_DEVICE int row_tiles(const attention_problem<T>& p, int idx) {
  return idx < p.num_sequences ? (p.sequences[idx].q_len + Rows - 1) / Rows : 0;
}

/// The sum over lanes up to this one. The whole warp calls it.
RAPT_DEVICE int sum_up_to_lane(int x) {
  RAPT_UNROLL for (unsigned apart = 1; apart < 32; apart *= 2) {
    const int left = simt::shuffle(x, (simt::lane_idx() - apart) % 32);
    if (simt::lane_idx() >= apart) x += left;
  }
  return x;
}

/// Query tiles of the launch. The whole warp calls it.
template <int Rows = prefill_rows, class T>
RAPT_DEVICE int num_query_tiles(const attention_problem<T>& p) {
  int total = 0;
  for (int first = 0; first < p.num_sequences; first += 32)
    total += simt::shuffle(sum_up_to_lane(row_tiles<Rows>(p, first + static_cast<int>(simt::lane_idx()))), 31);
  return total * p.num_heads;
}

/// Tile `number` of a sequence. Causal attention takes the longest tiles of all heads first: else a block that begins the longest one of the last
/// head is still at it when the others have run out of work. Otherwise the tiles of a head come together: its keys then stay in the second-level
/// cache.
template <int Rows, class T>
RAPT_DEVICE query_tile query_tile_of(const attention_problem<T>& p, int sequence_idx, int number) {
  query_tile tile;
  tile.sequence_idx = sequence_idx;
  tile.s = p.sequences[sequence_idx];
  const int tiles = row_tiles<Rows>(p, sequence_idx);
  const bool causal = p.window_right != no_window;
  const int row_tile = causal ? tiles - 1 - number / p.num_heads : number % tiles;
  tile.head = causal ? number % p.num_heads : number / tiles;
  tile.kv_head = p.kv_head_of(tile.head);
  tile.first_query = row_tile * Rows;
  tile.ranges = ranges_of(p, tile.s, tile.first_query);
  const int rows = tile.s.q_len - tile.first_query < Rows ? tile.s.q_len - tile.first_query : Rows;
  tile.first_tile = tile.ranges.of(0).first / prefill_keys;
  tile.last_tile = (tile.ranges.of(rows - 1).last + prefill_keys - 1) / prefill_keys;
  return tile;
}

/// Draws the next number and writes its tile. The whole warp calls it.
template <int Rows = prefill_rows, class T>
RAPT_DEVICE void draw(const attention_problem<T>& p, unsigned* counter, int num_tiles, query_tile& tile) {
  const auto lane = static_cast<int>(simt::lane_idx());
  int number = 0;
  if (lane == 0) {
    number = static_cast<int>(simt::fetch_add(counter, 1));
    // Every block draws one number in vain. The last of these is the last of the launch, and the next launch begins anew.
    if (number == num_tiles + static_cast<int>(simt::grid_extent().x) - 1) *counter = 0;
  }
  number = simt::shuffle(number, 0);
  if (number >= num_tiles) {
    if (lane == 0) tile.sequence_idx = p.num_sequences;
    return;
  }
  for (int first = 0;; first += 32) {
    const int tiles = row_tiles<Rows>(p, first + lane) * p.num_heads, end = sum_up_to_lane(tiles);
    if (const std::uint32_t lanes = simt::ballot(number < end); lanes != 0) {
      if (lane == simt::first_lane(lanes)) tile = query_tile_of<Rows>(p, first + lane, number - (end - tiles));
      return;
    }
    number -= simt::shuffle(end, 31);
  }
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
