// Projections in the CPU's order, with the CPU's bits (docs/numerics.md, cpu-v1), for float and double accumulators and any mixture of element types.
// Plain arithmetic; the order of an output: exact_project_problem.hpp.
//
// Up to 32 rows: exact_project_few_rows.hpp. Else a block has a tile of 64 rows and 64 outputs, a thread 8 by 4 of them: chains and sums in
// registers. Inputs and weights come through shared memory as accumulators, transposed, a few inputs at a time. Bound: FMA. Test:
// tests/kernels/exact_project_test.cpp.
#pragma once
#include <kernels/exact_project_few_rows.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int exact_project_threads = 128, exact_project_tile = 64;
constexpr int exact_project_rows = 8, exact_project_columns = 4;  ///< of a thread

template <class A>
struct alignas(16) exact_project_storage {
  static constexpr int inputs = 64 / static_cast<int>(sizeof(A));  ///< at once
  static constexpr int stride = exact_project_tile + 4;
  A x[inputs * stride], w[inputs * stride];
};
template <class A, int N>
struct alignas(16) exact_some {
  A of[N];
};

/// grid: tiles of columns, tiles of rows, all in x.
template <class A>
RAPT_KERNEL(exact_project_threads, 2)
exact_project_tiles(exact_projection<A> p, int column_tiles, bool by_four) {
  using storage = exact_project_storage<A>;
  auto& s = simt::shared<storage>();
  const int thread = static_cast<int>(simt::thread_idx());
  const int first_column = static_cast<int>(simt::block_idx().x % static_cast<unsigned>(column_tiles)) * exact_project_tile;
  const index_t first_row = index_t{simt::block_idx().x / static_cast<unsigned>(column_tiles)} * exact_project_tile;
  const index_t rows_left = p.x.rows() - first_row;
  const int num_rows = rows_left < exact_project_tile ? static_cast<int>(rows_left) : exact_project_tile;
  const int in = p.in(), num_columns = p.out() - first_column;  // of the tile, and beyond
  const int row = thread / 16 * exact_project_rows, column = thread % 16 * exact_project_columns;

  const auto stage = [&](int first, int count) {
    with_element_type(p.x.type, [&](auto t) {
      const auto* const data = static_cast<const decltype(t)*>(p.x.data);
      for (int i = thread; i < exact_project_tile * storage::inputs; i += exact_project_threads) {
        const int r = i / storage::inputs, k = i % storage::inputs;
        s.x[k * storage::stride + r] = r < num_rows && k < count ? widened<A>(data[column_offset(p.x, first_row + r, first + k)]) : A{0};
      }
    });
    with_element_type(p.w_type, [&](auto t) {
      using T = decltype(t);
      constexpr int quads = storage::inputs / 4;
      const T* const data = static_cast<const T*>(p.w) + first_column * p.w_stride + first;
      RAPT_UNROLL for (int i = thread; i < exact_project_tile * quads; i += exact_project_threads) {
        const int c = i / quads, k = i % quads * 4;
        const four_elements<T> four = load_four(data + c * p.w_stride, k, c < num_columns ? count : 0, 1, by_four);
        RAPT_UNROLL for (int e = 0; e < 4; ++e) s.w[(k + e) * storage::stride + c] = widened<A>(four.x[e]);
      }
    });
  };

  A sum[exact_project_rows][exact_project_columns] = {};
  for (int block = 0; block < in; block += exact_inputs) {
    A chain[exact_project_rows][exact_project_columns] = {};
    const int end = in - block < exact_inputs ? in : block + exact_inputs;
    for (int first = block; first < end; first += storage::inputs) {
      const int count = end - first < storage::inputs ? end - first : storage::inputs;
      simt::sync_threads();
      stage(first, count);
      simt::sync_threads();
      // Exactly the inputs that there are: one more product of zeros would make +0 of a sum that is -0.
      for (int k = 0; k < count; ++k) {
        const auto x = *reinterpret_cast<const exact_some<A, exact_project_rows>*>(s.x + k * storage::stride + row);
        const auto w = *reinterpret_cast<const exact_some<A, exact_project_columns>*>(s.w + k * storage::stride + column);
        RAPT_UNROLL for (int r = 0; r < exact_project_rows; ++r) RAPT_UNROLL for (int c = 0; c < exact_project_columns; ++c) chain[r][c] =
            simt::fma(x.of[r], w.of[c], chain[r][c]);
      }
    }
    RAPT_UNROLL for (int r = 0; r < exact_project_rows; ++r) RAPT_UNROLL for (int c = 0; c < exact_project_columns; ++c) sum[r][c] =
        block == 0 ? chain[r][c] : sum[r][c] + chain[r][c];
  }
  RAPT_UNROLL for (int r = 0; r < exact_project_rows; ++r)
      RAPT_UNROLL for (int c = 0; c < exact_project_columns; ++c) if (row + r < num_rows && column + c < num_columns)
          finish_output(p, first_row + row + r, first_column + column + c, sum[r][c]);
}

enum class exact_project_kernel { one_row, few_rows, tiles };
/// The fastest one; no bit depends on it.
template <class A>
exact_project_kernel exact_project_kernel_for(const exact_projection<A>& p) {
  const index_t rows = p.x.rows();
  return rows == 1 ? exact_project_kernel::one_row : rows <= 32 ? exact_project_kernel::few_rows : exact_project_kernel::tiles;
}

/// project_exact with this kernel.
template <class A>
void project_exact_with(exact_project_kernel kernel, exact_projection<A> p, simt::stream stream) {
  raise_if(check_exact_projection(p));
  // Heads that lie side by side are one.
  for (operand* o : {&p.x, &p.y, &p.residual})
    if (o->head_stride == o->dim * o->dim_stride) o->dim *= o->heads, o->heads = 1;
  const index_t rows = p.x.rows(), out = p.y.heads * p.y.dim;
  if (rows == 0 || out == 0) return;
  const bool by_four = is_by_four(p.w, p.w_type, p.x.heads * p.x.dim, 1, {p.w_stride});
  const auto grid_of = [&](index_t tile_rows, index_t columns) -> simt::index3 {
    const index_t blocks = ceil_div(out, columns) * ceil_div(rows, tile_rows);
    constexpr index_t max_blocks = 2147483647;
    if (blocks > max_blocks)
      raise(errc::shape, "project_exact: " + std::to_string(blocks) + " blocks; " + std::to_string(max_blocks) + " is possible");
    return {static_cast<unsigned>(blocks)};
  };
  const auto with_few_rows = [&]<int Rows>(std::integral_constant<int, Rows>) {
    using storage = exact_few_storage<A, Rows>;
    simt::launch<storage>(exact_project_few_rows<Rows, A>, grid_of(Rows, exact_few_columns), 32 * storage::warps, stream, p,
                          static_cast<int>(ceil_div(out, exact_few_columns)), by_four);
  };
  switch (kernel) {
    case exact_project_kernel::one_row:
      return with_few_rows(std::integral_constant<int, 1>{});
    case exact_project_kernel::few_rows:
      return with_few_rows(std::integral_constant<int, 8>{});
    case exact_project_kernel::tiles:
      simt::launch<exact_project_storage<A>>(exact_project_tiles<A>, grid_of(exact_project_tile, exact_project_tile), exact_project_threads, stream,
                                             p, static_cast<int>(ceil_div(out, exact_project_tile)), by_four);
  }
}

/// y = x w^T (+ bias) (+ residual). Throws shape_error before anything is launched.
template <class A>
void project_exact(const exact_projection<A>& p, simt::stream stream) {
  project_exact_with(exact_project_kernel_for(p), p, stream);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
