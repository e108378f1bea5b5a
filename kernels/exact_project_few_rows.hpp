// Exact projections of few rows: what counts is that many weights are on their way. The chain of each block of 256 inputs is a warp's, so that the
// blocks of one output are summed side by side, and then added ascending.
//
// A block of threads has 32 outputs and up to Rows rows, a lane one output. Weights come through shared memory, 32 inputs at a time, of which the
// next are on their way while these are multiplied. Bound: bytes of the weights. Test: tests/kernels/exact_project_test.cpp.
#pragma once
#include <kernels/exact_project_problem.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int exact_few_columns = 32, exact_few_inputs = 32;

template <class A, int Rows>
struct alignas(16) exact_few_storage {
  static constexpr int warps = 32 / static_cast<int>(sizeof(A));
  A x[warps][Rows][exact_inputs];
  A w[warps][exact_few_columns][exact_few_inputs + 1];  // a lane's inputs are in a bank of its own
  A chains[warps][Rows][exact_few_columns];
};

/// grid: 32 columns, groups of Rows rows, the first fastest, all in x.
template <int Rows, class A>
RAPT_KERNEL(1024 / sizeof(A), 1)
exact_project_few_rows(exact_projection<A> p, int column_blocks, bool by_four) {
  using storage = exact_few_storage<A, Rows>;
  constexpr int warps = storage::warps, own_rows = (Rows + warps - 1) / warps;
  auto& s = simt::shared<storage>();
  const int warp = static_cast<int>(simt::warp_idx()), lane = static_cast<int>(simt::lane_idx()), in = p.in();
  const int first_column = static_cast<int>(simt::block_idx().x % static_cast<unsigned>(column_blocks)) * exact_few_columns;
  const index_t first_row = index_t{simt::block_idx().x / static_cast<unsigned>(column_blocks)} * Rows;
  const index_t rows_left = p.x.rows() - first_row;
  const int num_rows = rows_left < Rows ? static_cast<int>(rows_left) : Rows, num_columns = p.out() - first_column;

  const auto sum_block = [&](int block, int count) {
    for (int r = 0; r < num_rows; ++r)
      with_element_type(p.x.type, [&](auto t) {
        const auto* const data = static_cast<const decltype(t)*>(p.x.data);
        for (int k = lane; k < count; k += 32) s.x[warp][r][k] = widened<A>(data[column_offset(p.x, first_row + r, block + k)]);
      });
    A chain[Rows] = {};
    with_element_type(p.w_type, [&](auto t) {
      using T = decltype(t);
      constexpr int quads = exact_few_inputs / 4, columns_at_once = 32 / quads, loads = exact_few_columns / columns_at_once;
      const T* const data = static_cast<const T*>(p.w) + first_column * p.w_stride + block;
      const int quad = lane % quads, column = lane / quads;
      four_elements<T> next[loads];
      const auto load = [&](int first) {
        RAPT_UNROLL for (int i = 0; i < loads; ++i) {
          const int c = column + i * columns_at_once;
          next[i] = load_four(data + c * p.w_stride, first + quad * 4, c < num_columns ? count : 0, 1, by_four);
        }
      };
      load(0);
      for (int first = 0; first < count; first += exact_few_inputs) {
        simt::sync_warp();
        RAPT_UNROLL for (int i = 0; i < loads; ++i) RAPT_UNROLL for (int e = 0; e < 4; ++e) s.w[warp][column + i * columns_at_once][quad * 4 + e] =
            widened<A>(next[i].x[e]);
        simt::sync_warp();
        load(first + exact_few_inputs);
        const int end = count - first < exact_few_inputs ? count - first : exact_few_inputs;
        for (int k = 0; k < end; ++k) {
          const A weight = s.w[warp][lane][k];
          RAPT_UNROLL for (int r = 0; r < Rows; ++r) chain[r] = simt::fma(s.x[warp][r][first + k], weight, chain[r]);
        }
      }
    });
    RAPT_UNROLL for (int r = 0; r < Rows; ++r) s.chains[warp][r][lane] = chain[r];
  };

  A sum[own_rows] = {};
  for (int round = 0; round < in; round += warps * exact_inputs) {
    if (const int block = round + warp * exact_inputs; block < in) sum_block(block, in - block < exact_inputs ? in - block : exact_inputs);
    simt::sync_threads();
    RAPT_UNROLL for (int i = 0; i < own_rows; ++i) if (const int r = warp + i * warps;
                                                       r < num_rows) for (int w = 0; w < warps && round + w * exact_inputs < in; ++w) sum[i] =
        round + w == 0 ? s.chains[0][r][lane] : sum[i] + s.chains[w][r][lane];
    simt::sync_threads();
  }
  RAPT_UNROLL for (int i = 0; i < own_rows; ++i) if (const int r = warp + i * warps; r < num_rows && lane < num_columns)
      finish_output(p, first_row + r, first_column + lane, sum[i]);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
