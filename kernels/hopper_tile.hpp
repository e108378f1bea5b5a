// What the parts of the Hopper kernel have in common: the shapes of its tiles, its shared memory, and which tiles of keys a tile of queries needs.
#pragma once
#include <kernels/prefill_work.hpp>
#include <kernels/ring_place.hpp>
#include <kernels/scores.hpp>
#include <kernels/simt/wgmma.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// For heads up to HeadDim: Groups warpgroups of 64 queries each, tiles of Keys keys. As large as registers allow: the sums, scores and weights of a
/// warpgroup are HeadDim / 2 + Keys / 2 + Keys / 4 a thread, of 232.
template <class Element, int HeadDim_>
struct hopper_shape {
  using element = Element;
  static constexpr int head_dim = HeadDim_;
  static constexpr int groups = 2, keys = head_dim <= 128 ? 128 : head_dim == 192 ? 112 : 80;
  static constexpr int rows = groups * 64, threads = (groups + 1) * 128, consumers = groups * 128;
  static constexpr int stages = 2, query_stages = head_dim <= 128 ? 2 : 1;
  static constexpr int boxes = (head_dim + 63) / 64;  ///< of 64 elements, which a line of shared memory has
  static constexpr int producer_registers = 40, consumer_registers = 232;
};

template <class Shape>
struct hopper_storage {
  using element = typename Shape::element;
  struct alignas(simt::swizzle_bytes) key_tile {
    element boxes[Shape::boxes][Shape::keys * 64];
  };
  struct alignas(simt::swizzle_bytes) query_rows {
    element boxes[Shape::boxes][64 * 64];
  };
  query_rows q[Shape::query_stages][Shape::groups];
  key_tile k[Shape::stages], v[Shape::stages];
  // Full: the tile is there. Empty: every warp that reads it is done.
  simt::phase_barrier q_full[Shape::query_stages], q_empty[Shape::query_stages], k_full[Shape::stages], k_empty[Shape::stages], v_full[Shape::stages],
      v_empty[Shape::stages];
  simt::phase_barrier work_full[2], work_empty[2], work_wanted;
  query_tile work[2];
};

/// Tiles of keys for a tile of queries: [first, last) are seen by some row, each row sees each key of [whole_first, whole_last).
struct key_tiles {
  int first, last, whole_first, whole_last;

  RAPT_DEVICE bool is_whole(int tile) const { return tile >= whole_first && tile < whole_last; }
};
template <class Shape>
RAPT_DEVICE key_tiles key_tiles_of(const query_tile& work) {
  constexpr int keys = Shape::keys;
  const int left = work.s.q_len - work.first_query, rows = left < Shape::rows ? left : Shape::rows;
  const key_range of_first = work.ranges.of(0), of_last = work.ranges.of(rows - 1);
  return {of_first.first / keys, (of_last.last + keys - 1) / keys, (of_last.first + keys - 1) / keys, of_first.last / keys};
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
