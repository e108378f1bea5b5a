// What the block of exact attention has in shared memory: a tile of rows, their scores of one segment, and the keys or values at hand.
#pragma once
#include <kernels/exact_problem.hpp>
#include <kernels/exact_state.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int exact_rows = 8, exact_threads = 128, exact_warps = exact_threads / 32, exact_segment = static_cast<int>(segment_len);
constexpr int exact_keys_of_thread = exact_segment / exact_threads, exact_rows_of_warp = exact_rows / exact_warps;
constexpr int exact_block = 128;    ///< dimensions of one chain of a score
constexpr int exact_columns = 128;  ///< of values at once
constexpr int exact_quad = 4;       ///< elements that a thread reads at once

/// How products are added. tf32: of float accumulators alone.
enum class exact_products { fma, tf32 };

template <class A>
struct alignas(16) exact_four {
  A x[exact_quad];
};

/// One row of a tile.
template <class A>
struct exact_row {
  index_t position;
  int query, head;
  int first, last;        ///< keys that windows and lengths let it see, where keys have no explicit positions
  exact_sums<A> segment;  ///< of the segment at hand,
  exact_sums<A> state;    ///< of what it is merged into,
  exact_sums<A> whole;    ///< and of what this is merged into, where a part has two states
  exact_merge<A> merge;
};

template <class A, exact_products Products>
struct alignas(16) exact_storage {
  static constexpr bool by_tf32 = Products == exact_products::tf32;
  static constexpr int dims = 64 / static_cast<int>(sizeof(A));      ///< of keys at once
  static constexpr int keys = 64 * 4 / static_cast<int>(sizeof(A));  ///< whose values are there at once
  // Lanes of two rows in different banks; by tf32 four elements of each of eight.
  static constexpr int score_stride = exact_segment + (by_tf32 ? 4 : 16), query_stride = exact_block + (by_tf32 ? 4 : 0);
  static constexpr int column_stride = exact_columns + (by_tf32 ? 8 : 0);  // eight columns of each of four keys
  static constexpr int key_tile_len = dims * exact_segment, value_tile_len = keys * column_stride;
  /// Where a dimension of a key lies in the tile. Of 8 keys, four dimensions that follow each other, or every fourth of 16, are in different banks.
  static RAPT_DEVICE constexpr int place_of_key(int dim, int key) { return dim * exact_segment + (key ^ (dim + dim / 4) % 4 * 8); }
  static_assert(exact_block % dims == 0 && dims % (by_tf32 ? 8 : exact_quad) == 0 && keys % 8 == 0);

  A scores[exact_rows * score_stride];  ///< then weights
  A queries[exact_rows * query_stride];
  A tile[std::max(key_tile_len, value_tile_len)];
  key_place places[exact_segment];
  exact_row<A> rows[exact_rows];
};

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
