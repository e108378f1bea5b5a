// Projections of many rows: a block for a tile of outputs, a part of it for each warp, operands through shared memory.
//
//   shared      stages of 32 or 64 k of x and w, filled by cp.async num_stages - 1 ahead, and the sums that find no room in registers
//   registers   of each warp's part the sums of the block of 256 k, and what they are added to: two floats an output; the operands of 16 k
//
// Operands are read from shared memory while others are multiplied: columns a pair of groups ahead, a group of rows as soon as its last product of
// these 16 k is on its way. So a warp waits for no ldmatrix, and the one barrier of a stage lies where all of it has been read, before the last
// products.
//
// An output is the sum of chains of 256, so it needs a second accumulator. Parts of 64 x 64 are what shared memory asks for (a k of 16 costs 8
// ldmatrix and 32 mma; 64 x 32 cost 6 and 16), and their 256 floats a thread are more than there are registers: the sums of some columns lie in
// shared memory and are touched once in 256 k. Two blocks of 4 such warps wait at different times; one of 8, of 256 x 128, loads a quarter less
// and was slower (416 us against 382 to 395 for 4096 x 4096 x 4096 on an H200), with a barrier in 64 k instead of 32 too (391 to 410). Tiles are
// numbered down groups of rows, so that those that run together share operands. mma.sync alone reaches 604 TFLOP/s there.
//
// Bound: 2 * rows * in * out flops. Test: tests/kernels/project_test.cpp. Bench: bench/gpu/run.sh. Figures: docs/kernels.md.
#pragma once
#include <kernels/project_problem.hpp>
#include <kernels/simt/cp_async.hpp>
#include <kernels/simt/ldmatrix.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Outputs of a block and of a warp, how many of a warp's columns have their sums in shared memory, k of a stage, blocks
/// at once on a multiprocessor.
struct large_tile {
  static constexpr int rows = 128, columns = 128, warp_rows = 64, warp_columns = 64, stored_columns = 40, step = 32, num_stages = 4, blocks = 2;
};
/// For outputs of which there are too few large tiles to keep all multiprocessors busy, and so on.
struct medium_tile {
  static constexpr int rows = 128, columns = 128, warp_rows = 64, warp_columns = 32, stored_columns = 0, step = 32, num_stages = 4, blocks = 1;
};
struct small_tile {
  static constexpr int rows = 64, columns = 64, warp_rows = 32, warp_columns = 32, stored_columns = 0, step = 64, num_stages = 4, blocks = 2;
};
struct narrow_tile {
  static constexpr int rows = 64, columns = 32, warp_rows = 32, warp_columns = 16, stored_columns = 0, step = 64, num_stages = 8, blocks = 2;
};

template <class Tile>
constexpr int tile_row_bytes = 2 * Tile::step;  // of an operand's row in a stage
template <class Tile>
constexpr int tile_threads = 32 * (Tile::rows / Tile::warp_rows) * (Tile::columns / Tile::warp_columns);

template <class T, class Tile>
struct tile_storage {
  static constexpr int num_stored = Tile::warp_rows / 16 * Tile::stored_columns / 8;
  struct alignas(16) four {
    float x[4];
  };
  alignas(128) T x[Tile::num_stages][Tile::rows * Tile::step];
  alignas(128) T w[Tile::num_stages][Tile::columns * Tile::step];
  four sums[num_stored == 0 ? 1 : num_stored][num_stored == 0 ? 1 : tile_threads<Tile>];
};

/// The rows of an operand whose chunk `chunk` (8 elements of a step) this thread copies: `row`, and every rows_at_once further on in the tile.
template <class T, int Rows, int Threads, int Step>
struct operand_copies {
  static constexpr unsigned chunks = Step / 8, rows_at_once = Threads / chunks, num_rows = Rows / rows_at_once;
  // Rows that a thread copies differ by multiples of 8, so their chunks are permuted alike.
  static_assert(rows_at_once % 8 == 0 && num_rows * rows_at_once == Rows);

  const T* source;  ///< of the first row, step 0
  unsigned exist;   ///< a bit for each row

  RAPT_DEVICE operand_copies(const T* from, index_t stride, int first_row, int end_row) : exist(0) {
    const unsigned row = simt::thread_idx() / chunks, chunk = simt::thread_idx() % chunks;
    source = from + (first_row + static_cast<int>(row)) * stride + chunk * 8;
    RAPT_UNROLL for (unsigned i = 0; i < num_rows; ++i) exist |= first_row + static_cast<int>(row + i * rows_at_once) < end_row ? 1u << i : 0u;
  }

  /// Part `part` of `num_parts` of k [first_k, + Step) on its way to a stage; what does not exist is zeros. Not aligned: element by element.
  template <bool Aligned>
  RAPT_DEVICE void start(T* stage, index_t stride, int first_k, int in, unsigned part, unsigned num_parts) const {
    const unsigned row = simt::thread_idx() / chunks, chunk = simt::thread_idx() % chunks;
    const int k = first_k + static_cast<int>(chunk * 8);
    T* const to = stage + project_chunk_offset<2 * Step>(row, chunk) / 2;
    const unsigned there = k < in ? exist : 0;
    RAPT_UNROLL for (unsigned i = part * num_rows / num_parts; i < (part + 1) * num_rows / num_parts; ++i) {
      const T* const from = source + static_cast<int>(i * rows_at_once) * stride + first_k;
      T* const chunk_to = to + i * rows_at_once * Step;
      if constexpr (Aligned) {
        simt::copy_async_16(simt::shared_address(chunk_to), from, (there >> i & 1) != 0);
      } else {
        for (int e = 0; e < 8; ++e) chunk_to[e] = (there >> i & 1) != 0 && k + e < in ? from[e] : T();
      }
    }
  }
};

/// What a thread copies of a tile's operands at every step.
template <class T, class Tile>
struct tile_copies {
  operand_copies<T, Tile::rows, tile_threads<Tile>, Tile::step> x;
  operand_copies<T, Tile::columns, tile_threads<Tile>, Tile::step> w;

  /// Part `part` of `num_parts` of step `step`, to the stage that it takes; beyond the last step, zeros.
  template <bool Aligned, class Out>
  RAPT_DEVICE void start(tile_storage<T, Tile>& s, const projection<T, Out>& p, int step, unsigned part = 0, unsigned num_parts = 1) const {
    const int stage = step % Tile::num_stages, first_k = step * Tile::step;
    x.template start<Aligned>(s.x[stage], p.x_stride, first_k, p.in, part, num_parts);
    w.template start<Aligned>(s.w[stage], p.w_stride, first_k, p.in, part, num_parts);
    if (part + 1 == num_parts) simt::commit_copies();
  }
};

/// The warp's part of a tile, as mma leaves it.
template <class Tile>
struct warp_part {
  static constexpr int row_groups = Tile::warp_rows / 16, column_groups = Tile::warp_columns / 8;
  static constexpr int kept_groups = column_groups - Tile::stored_columns / 8;  // whose sums are kept in registers

  simt::mma_c block[row_groups][column_groups];  // of this block of k
  simt::mma_c sums[row_groups][kept_groups];     // of those before

  static RAPT_DEVICE int first_row() { return static_cast<int>(simt::warp_idx()) / (Tile::columns / Tile::warp_columns) * Tile::warp_rows; }
  static RAPT_DEVICE int first_column() { return static_cast<int>(simt::warp_idx()) % (Tile::columns / Tile::warp_columns) * Tile::warp_columns; }
};

/// f(element of the block, sum) for all of the warp's outputs.
template <class T, class Tile, class F>
RAPT_DEVICE void for_each_sum(tile_storage<T, Tile>& s, warp_part<Tile>& part, F f) {
  using shape = warp_part<Tile>;
  const unsigned thread = simt::recomputed(simt::thread_idx());
  RAPT_UNROLL for (int m = 0; m < shape::row_groups; ++m) {
    RAPT_UNROLL for (int n = 0; n < shape::kept_groups; ++n) {
      RAPT_UNROLL for (int e = 0; e < 4; ++e) f(part.block[m][n].elements[e], part.sums[m][n].elements[e]);
    }
    RAPT_UNROLL for (int n = shape::kept_groups; n < shape::column_groups; ++n) {
      auto& stored = s.sums[m * (shape::column_groups - shape::kept_groups) + n - shape::kept_groups][thread];
      auto sums = stored;
      RAPT_UNROLL for (int e = 0; e < 4; ++e) f(part.block[m][n].elements[e], sums.x[e]);
      stored = sums;
    }
  }
}

/// The sums of a block of k, added to those before it.
template <class T, class Tile>
RAPT_DEVICE void add_block(tile_storage<T, Tile>& s, warp_part<Tile>& part) {
  for_each_sum(s, part, [](float& of_block, float& sum) {
    sum = sum + of_block;
    of_block = 0;
  });
}

/// A warp's operands: 16 k of all its rows, and of two pairs of groups of 8 columns, those that are multiplied and the next.
template <class T, class Tile>
struct operand_window {
  using shape = warp_part<Tile>;
  static constexpr int row_bytes = tile_row_bytes<Tile>;

  simt::mma_a rows[shape::row_groups];
  std::uint32_t columns[2][4];
  std::uint32_t x, w;  ///< where this lane's rows lie in stage 0

  RAPT_DEVICE explicit operand_window(const tile_storage<T, Tile>& s) {
    const unsigned lane = simt::lane_idx();
    x = simt::shared_address(s.x) + static_cast<unsigned>(shape::first_row() * row_bytes) + project_chunk_offset<row_bytes>(lane % 16, lane / 16);
    w = simt::shared_address(s.w) + static_cast<unsigned>(shape::first_column() * row_bytes) +
        project_chunk_offset<row_bytes>(lane % 8 + lane / 16 * 8, lane / 8 % 2);
  }

  /// k [16 * part, + 16) of a stage: 16 rows.
  RAPT_DEVICE void load_rows(int group, int stage, unsigned part) {
    const std::uint32_t at = (x + static_cast<unsigned>(stage * Tile::rows * row_bytes)) ^ part * 32;
    simt::load_matrices(rows[group].registers, at + static_cast<unsigned>(group * 16 * row_bytes));
  }
  /// And 16 columns, to a place of the window.
  RAPT_DEVICE void load_columns(unsigned to, int pair, int stage, unsigned part) {
    const std::uint32_t at = (w + static_cast<unsigned>(stage * Tile::columns * row_bytes)) ^ part * 32;
    simt::load_matrices(columns[to], at + static_cast<unsigned>(pair * 16 * row_bytes));
  }
};

/// One block for a tile.
template <class T, class Out, class Tile, bool Aligned>
RAPT_KERNEL(tile_threads<Tile>, Tile::blocks)
project_tiles(projection<T, Out> p) {
  auto& s = simt::shared<tile_storage<T, Tile>>();
  using shape = warp_part<Tile>;
  constexpr int ahead = Tile::num_stages - 1, block_steps = project_block_len / Tile::step;
  constexpr unsigned pairs = shape::column_groups / 2, parts = Tile::step / 16;
  static_assert(parts >= 2 && parts * pairs % 2 == 0 && block_steps * Tile::step == project_block_len);
  const tile_place place = place_of_tile<Tile>(static_cast<int>(simt::block_idx().x), p.rows, p.out);
  const int num_steps = p.in == 0 ? 1 : (p.in - 1) / Tile::step + 1;
  const tile_copies<T, Tile> copies{{p.x, p.x_stride, place.first_row, p.rows}, {p.w, p.w_stride, place.first_column, p.out}};
  for (int step = 0; step < ahead; ++step) copies.template start<Aligned>(s, p, step);
  shape part;
  for_each_sum(s, part, [](float& of_block, float& sum) { of_block = sum = 0; });

  operand_window<T, Tile> window(s);
  simt::wait_for_copies<ahead - 1>();
  simt::sync_threads();
  RAPT_UNROLL for (int m = 0; m < shape::row_groups; ++m) window.load_rows(m, 0, 0);
  window.load_columns(0, 0, 0, 0);
  for (int step = 0; step < num_steps; ++step) {
    const int stage = step % Tile::num_stages, next_stage = (step + 1) % Tile::num_stages;
    RAPT_UNROLL for (unsigned k = 0; k < parts; ++k) {
      const bool last_part = k + 1 == parts;
      const unsigned next_part = last_part ? 0 : k + 1;
      const int next_part_stage = last_part ? next_stage : stage;
      RAPT_UNROLL for (unsigned n = 0; n < pairs; ++n) {
        const unsigned now = (k * pairs + n) % 2;
        const bool last_pair = n + 1 == pairs;
        if (last_part && last_pair) {
          // All have read this stage; the next has landed.
          simt::wait_for_copies<ahead - 1>();
          simt::sync_threads();
        }
        if (last_pair)
          window.load_columns(1 - now, 0, next_part_stage, next_part);
        else
          window.load_columns(1 - now, static_cast<int>(n + 1), stage, k);
        RAPT_UNROLL for (int m = 0; m < shape::row_groups; ++m) {
          const std::uint32_t(&columns)[4] = window.columns[now];
          simt::multiply_add<T>(part.block[m][n * 2], window.rows[m], {{columns[0], columns[1]}});
          simt::multiply_add<T>(part.block[m][n * 2 + 1], window.rows[m], {{columns[2], columns[3]}});
          if (last_pair) window.load_rows(m, next_part_stage, next_part);
        }
        if (k == 0) copies.template start<Aligned>(s, p, step + ahead, n, pairs);
      }
    }
    if ((step + 1) % block_steps == 0 || step + 1 == num_steps) add_block(s, part);
  }

  const unsigned lane = simt::recomputed(simt::lane_idx());
  const int row = place.first_row + shape::first_row() + static_cast<int>(lane / 4);
  const int column = place.first_column + shape::first_column() + static_cast<int>(lane % 4 * 2);
  for_each_sum(s, part, [](float& of_block, float& sum) { of_block = sum; });
  RAPT_UNROLL for (int n = 0; n < shape::column_groups; ++n) RAPT_UNROLL for (int m = 0; m < shape::row_groups; ++m) {
    const float(&x)[4] = part.block[m][n].elements;
    RAPT_UNROLL for (int i = 0; i < 2; ++i) write_pair(p, row + m * 16 + i * 8, column + n * 8, x[i * 2], x[i * 2 + 1]);
  }
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
