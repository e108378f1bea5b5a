// Projections of at most 16 rows, bound by reading w once: a block of 4 or 8 warps for some columns, its blocks of 256 k divided among the warps.
//
//   warp        its blocks of k: number w, w + warps, ...; pieces of w on their way by cp.async, each warp waiting for its own alone
//   shared      the pieces; the warps' sums of a block each, which are then added ascending, an output a thread
//
// x is small and read straight from the first-level cache, as fragments, a piece ahead. Blocks of 8 columns and 4 warps for up to 8 rows, of which
// many run at once (with 8 warps 1 row of 4096 x 4096 took 13.8 us on an H200, with 4 12.4); of 32 columns and 8 warps for up to 16, where x would
// else be read too often.
//
// In flight on a multiprocessor: 128 KB of w, as 16 warps with 2 pieces of 4 KB, or 8 warps with 4.
//
// Bound: bytes of w, at the device's read rate. Test: tests/kernels/project_test.cpp. Bench: bench/gpu/run.sh. Figures: docs/kernels.md.
#pragma once
#include <kernels/project_problem.hpp>
#include <kernels/simt/cp_async.hpp>
#include <kernels/simt/ldmatrix.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int piece_elements = 2048;  // 4 KiB: for each lane 8 copies

template <int Columns>
struct few_rows_shape {
  static constexpr int max_rows = Columns == 8 ? 8 : 16;
  static constexpr int piece_len = piece_elements / Columns, num_stages = Columns == 8 ? 2 : 4, block_pieces = project_block_len / piece_len;
  static constexpr int row_bytes = 2 * piece_len;
};

template <class T, int Columns, int Warps>
struct few_rows_storage {
  alignas(128) T w[Warps][few_rows_shape<Columns>::num_stages][piece_elements];
  float sums[2][Warps][few_rows_shape<Columns>::max_rows * Columns];
};

/// Columns [first_column, + Columns) and k [first_k, + piece_len) of w, on their way to a stage of the warp's.
template <int Columns, class T>
RAPT_DEVICE void load_piece(T* to, const T* w, index_t stride, int first_column, int out, int first_k, int in) {
  constexpr unsigned chunks = few_rows_shape<Columns>::piece_len / 8, columns_at_once = 32 / chunks;
  const unsigned lane = simt::lane_idx(), chunk = lane % chunks;
  const int k = first_k + static_cast<int>(chunk * 8);
  RAPT_UNROLL for (unsigned i = 0; i < Columns; i += columns_at_once) {
    const unsigned in_piece = lane / chunks + i;
    const int column = first_column + static_cast<int>(in_piece);
    simt::copy_async_16(simt::shared_address(to) + project_chunk_offset<few_rows_shape<Columns>::row_bytes>(in_piece, chunk), w + column * stride + k,
                        column < out && k < in);
  }
}

/// This lane's part of the rows of x that belong to a piece: k [first_k, + piece_len), zeros past the end.
template <int Columns>
struct x_fragments {
  using shape = few_rows_shape<Columns>;
  simt::mma_a rows[shape::piece_len / 16];

  /// x: the lane's rows, null where there is none.
  template <class T>
  RAPT_DEVICE void load(const T* const (&x)[2], int first_k, int in) {
    const int k = first_k + static_cast<int>(simt::lane_idx() % 4 * 2);
    RAPT_UNROLL for (int step = 0; step < shape::piece_len / 16; ++step) RAPT_UNROLL for (int i = 0; i < 4; ++i) {
      const int at = k + step * 16 + i / 2 * 8;
      const T* const row = x[i % 2];
      rows[step].registers[i] = i % 2 * 8 < shape::max_rows && row != nullptr && at < in ? *reinterpret_cast<const std::uint32_t*>(row + at) : 0u;
    }
  }
};

/// A piece into the sums of its block of k.
template <int Columns, class T>
RAPT_DEVICE void multiply_piece(simt::mma_c (&sums)[Columns / 8], const T* w, const x_fragments<Columns>& x) {
  using shape = few_rows_shape<Columns>;
  const unsigned lane = simt::lane_idx();
  RAPT_UNROLL for (unsigned step = 0; step < shape::piece_len / 16; step += 2) RAPT_UNROLL for (unsigned n = 0; n < Columns / 8; ++n) {
    std::uint32_t columns[4];
    simt::load_matrices(columns, simt::shared_address(w) + project_chunk_offset<shape::row_bytes>(n * 8 + lane % 8, step * 2 + lane / 8));
    simt::multiply_add<T>(sums[n], x.rows[step], {{columns[0], columns[1]}});
    simt::multiply_add<T>(sums[n], x.rows[step + 1], {{columns[2], columns[3]}});
  }
}

/// Where a warp's sum lies in shared memory: four rows of 32 columns in different banks.
template <int Columns>
constexpr int place_of_sum(int row, int column) {
  return row * Columns + (Columns == 32 ? column ^ row % 4 * 8 : column);
}

/// One block for `Columns` columns of one projection. Addresses, strides and rows of x and w are multiples of 16 bytes.
template <class T, class Out, int Columns, int Warps>
RAPT_KERNEL(32 * Warps, (Columns == 32 ? 1 : 16 / Warps))
project_few_rows(projections<T, Out> all) {
  auto& s = simt::shared<few_rows_storage<T, Columns, Warps>>();
  using shape = few_rows_shape<Columns>;
  int block = static_cast<int>(simt::block_idx().x);
  projection<T, Out> p = all.of[0];
  RAPT_UNROLL for (int i = 1; i < max_projections; ++i) {
    const int blocks = (p.out - 1) / Columns + 1;
    if (i < all.count && block >= blocks) block -= blocks, p = all.of[i];
  }
  const int first_column = block * Columns, warp = static_cast<int>(simt::warp_idx());
  const int lane = static_cast<int>(simt::lane_idx()), num_blocks = num_project_blocks(p.in);
  const auto first_k_of = [&](int piece) {
    return (warp + piece / shape::block_pieces * Warps) * project_block_len + piece % shape::block_pieces * shape::piece_len;
  };
  const auto load = [&](int piece) {
    if (const int k = first_k_of(piece); k < p.in)
      load_piece<Columns>(s.w[warp][piece % shape::num_stages], p.w, p.w_stride, first_column, p.out, k, p.in);
    simt::commit_copies();
  };
  for (int piece = 0; piece < shape::num_stages; ++piece) load(piece);

  const T* const x_rows[2] = {lane / 4 < p.rows ? p.x + lane / 4 * p.x_stride : nullptr,
                              lane / 4 + 8 < p.rows ? p.x + (lane / 4 + 8) * p.x_stride : nullptr};
  constexpr int outputs = shape::max_rows * Columns, pairs = outputs / 2, threads = 32 * Warps, thread_pairs = (pairs + threads - 1) / threads;
  float totals[thread_pairs][2];
  RAPT_UNROLL for (auto& total : totals) total[0] = total[1] = 0;
  const auto for_each_pair = [&](auto f) {  // of the outputs that this thread finishes
    RAPT_UNROLL for (int i = 0; i < thread_pairs; ++i) {
      const int pair = static_cast<int>(simt::thread_idx()) + i * threads;
      if (pair < pairs && pair * 2 / Columns < p.rows) f(totals[i], pair * 2);
    }
  };
  int piece = 0;
  x_fragments<Columns> x, next_x;
  x.load(x_rows, first_k_of(0), p.in);
  for (int round = 0; round * Warps < num_blocks; ++round) {
    simt::mma_c sums[Columns / 8] = {};
    for (int i = 0; i < shape::block_pieces; ++i, ++piece) {
      const int first_k = first_k_of(piece);
      next_x.load(x_rows, first_k_of(piece + 1), p.in);
      simt::wait_for_copies<shape::num_stages - 1>();
      simt::sync_warp();
      // All lanes have read the piece after its last ldmatrix, so the next may be copied there.
      if (first_k < p.in) multiply_piece(sums, s.w[warp][piece % shape::num_stages], x);
      load(piece + shape::num_stages);
      x = next_x;
    }
    auto& of_warps = s.sums[round % 2];
    RAPT_UNROLL for (int n = 0; n < Columns / 8; ++n) RAPT_UNROLL for (int e = 0; e < shape::max_rows / 4; ++e)
        of_warps[warp][place_of_sum<Columns>(lane / 4 + e / 2 * 8, n * 8 + lane % 4 * 2) + e % 2] = sums[n].elements[e];
    simt::sync_threads();
    const int left = num_blocks - round * Warps, blocks = left < Warps ? left : Warps;
    for_each_pair([&](float(&total)[2], int output) {
      const int place = place_of_sum<Columns>(output / Columns, output % Columns);
      for (int b = 0; b < blocks; ++b) RAPT_UNROLL for (int e = 0; e < 2; ++e) total[e] = total[e] + of_warps[b][place + e];
    });
  }
  for_each_pair([&](float(&total)[2], int output) { write_pair(p, output / Columns, first_column + output % Columns, total[0], total[1]); });
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
