// Projections of many rows on Hopper's tensor cores (wgmma, sm_90a), in the order of project_problem.hpp.
//
// wgmma sums as mma.sync does, 16 products and the addend at a time (seen on an H200: docs/kernels.md), so an output has the bits of every other
// kernel, and which one runs is a matter of speed alone. A block on each multiprocessor takes tiles of 128 rows, one after the other:
//   a thread      has the copy engine bring 64 k of x and of w, as many stages ahead as there are, also those of the next tile
//   2 warpgroups  of 64 rows each multiply out of shared memory; one adds its block of 256 k to its sums while the other multiplies
//   registers     of the warpgroup's outputs the sums of this block of k, and of those before
// Serves rows of whole 16 bytes. Bound: 2 * rows * in * out flops. Test: tests/kernels/project_hopper_test.cpp. Bench: bench/gpu/run.sh.
#pragma once
#include <kernels/project.hpp>
#include <kernels/ring_place.hpp>
#include <kernels/simt/warp.hpp>
#include <kernels/simt/wgmma.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {
namespace kernels {

template <class Element, int Columns>
struct hopper_projection_shape {
  using element = Element;
  static constexpr int groups = 2, rows = groups * 64, columns = Columns, step = 64;
  static constexpr int stages = 192 * 1024 / (2 * step * (rows + columns));
  static constexpr int threads = (groups + 1) * 128;
  static constexpr int producer_registers = 40, consumer_registers = 232;
};

template <class Shape>
struct hopper_projection_storage {
  using element = typename Shape::element;
  struct alignas(simt::swizzle_bytes) operands {
    element x[Shape::rows * Shape::step], w[Shape::columns * Shape::step];
  };
  operands stages[Shape::stages];
  // Full: a stage's operands are there. Empty: every warp that reads them is done.
  simt::phase_barrier full[Shape::stages], empty[Shape::stages];
};

/// f(first row and column) for each tile of this block, in the same order for all of its threads.
template <class Shape, class T, class Out, class F>
RAPT_DEVICE void for_each_own_tile(const projection<T, Out>& p, F f) {
  const int num_tiles = ((p.rows - 1) / Shape::rows + 1) * ((p.out - 1) / Shape::columns + 1);
  const auto stride = static_cast<int>(simt::grid_extent().x);
  RAPT_NO_UNROLL for (int tile = static_cast<int>(simt::block_idx().x); tile < num_tiles; tile += stride)
      f(place_of_tile<Shape>(tile, p.rows, p.out));
}
template <class Shape, class T, class Out>
RAPT_DEVICE int num_steps_of(const projection<T, Out>& p) {
  return (p.in - 1) / Shape::step + 1;
}

/// Operands of all steps of all tiles. One thread calls it.
template <class Shape, class T, class Out>
RAPT_DEVICE void copy_operands(hopper_projection_storage<Shape>& s, const projection<T, Out>& p, const simt::tensor_map& x,
                               const simt::tensor_map& w) {
  unsigned n = 0;
  for_each_own_tile<Shape>(p, [&](tile_place place) {
    RAPT_NO_UNROLL for (int step = 0; step < num_steps_of<Shape>(p); ++step) {
      const ring_place<Shape::stages> at(n++);
      auto& to = s.stages[at.stage];
      simt::wait(s.empty[at.stage], at.parity ^ 1);
      simt::arrive_expecting(s.full[at.stage], sizeof to);
      simt::copy_tile(to.x, x, s.full[at.stage], step * Shape::step, place.first_row);
      simt::copy_tile(to.w, w, s.full[at.stage], step * Shape::step, place.first_column);
    }
  });
}

/// Of the four words of each lane, the i-th goes to the i-th of its four lanes, which has one of each of them then, in their order.
RAPT_DEVICE void exchange_in_fours(std::uint32_t (&words)[4]) {
  const bool second = (simt::lane_idx() & 1) != 0, upper = (simt::lane_idx() & 2) != 0;
  std::uint32_t pairs[2][2];  // for this lane, or the one two further: from the lanes of its pair
  RAPT_UNROLL for (int i = 0; i < 2; ++i) {
    const std::uint32_t even = words[i * 2], odd = words[i * 2 + 1], own = second ? odd : even;
    const std::uint32_t other = simt::shuffle_xor(second ? even : odd, 1);
    pairs[i][0] = second ? other : own, pairs[i][1] = second ? own : other;
  }
  RAPT_UNROLL for (int e = 0; e < 2; ++e) {
    const std::uint32_t own = upper ? pairs[1][e] : pairs[0][e], other = simt::shuffle_xor(upper ? pairs[0][e] : pairs[1][e], 2);
    words[e] = upper ? other : own, words[2 + e] = upper ? own : other;
  }
}

/// A thread's outputs of a tile, given their sums; `row` and `column`: of the tile's, the first of them.
template <class Shape, class T, class Out>
RAPT_DEVICE void write_sums(const projection<T, Out>& p, tile_place place, int row, int column, const float (&sums)[Shape::columns / 2]) {
  const auto row_of = [&](int r) { return place.first_row + row + r * 8; };
  const auto column_of = [&](int n) { return place.first_column + column + n * 8; };
  if constexpr (std::is_same_v<T, Out>) {
    const bool whole = place.first_row + Shape::rows <= p.rows && place.first_column + Shape::columns <= p.out;
    if (whole && p.y_stride % 8 == 0 && reinterpret_cast<std::uintptr_t>(p.y) % 16 == 0) {
      // Four lanes have 32 columns of a row, in pairs: exchanged, each has 8 side by side.
      RAPT_UNROLL for (int n = 0; n < Shape::columns / 8; n += 4) RAPT_UNROLL for (int r = 0; r < 2; ++r) {
        eight_elements eight;
        RAPT_UNROLL for (int i = 0; i < 4; ++i) {
          const auto finished = [&](int e) { return finished_sum(p, row_of(r), column_of(n + i) + e, sums[(n + i) * 4 + r * 2 + e]); };
          eight.words[i] = finished_pair<T>(finished(0), finished(1));
        }
        exchange_in_fours(eight.words);
        *reinterpret_cast<eight_elements*>(p.y + row_of(r) * p.y_stride + column_of(n) + column * 3) = eight;
      }
      return;
    }
  }
  RAPT_UNROLL for (int n = 0; n < Shape::columns / 8; ++n) RAPT_UNROLL for (int r = 0; r < 2; ++r)
      write_pair(p, row_of(r), column_of(n), sums[n * 4 + r * 2], sums[n * 4 + r * 2 + 1]);
}

/// A warpgroup's 64 rows of all tiles.
template <class Shape, class T, class Out>
RAPT_DEVICE void multiply_operands(hopper_projection_storage<Shape>& s, const projection<T, Out>& p, int group) {
  constexpr int block_steps = project_block_len / Shape::step, count = Shape::columns / 2;
  const unsigned lane = simt::lane_idx();
  const int row = static_cast<int>((simt::thread_idx() - 128) / 32 * 16 + lane / 4), column = static_cast<int>(lane % 4 * 2);
  const auto done_with = [&](unsigned number) {
    if (lane == 0) simt::arrive(s.empty[ring_place<Shape::stages>(number).stage]);
  };
  unsigned n = 0;
  for_each_own_tile<Shape>(p, [&](tile_place place) {
    float of_block[count], sums[count];
    RAPT_UNROLL for (int i = 0; i < count; ++i) of_block[i] = sums[i] = 0;
    RAPT_NO_UNROLL for (int left = num_steps_of<Shape>(p); left > 0; left -= block_steps) {
      const int steps = left < block_steps ? left : block_steps;
      RAPT_NO_UNROLL for (int step = 0; step < steps; ++step, ++n) {
        const ring_place<Shape::stages> at(n);
        const auto& operands = s.stages[at.stage];
        simt::wait(s.full[at.stage], at.parity);
        simt::fence_products();
        RAPT_UNROLL for (int k = 0; k < Shape::step; k += 16) simt::multiply_shared<T, Shape::columns>(
            of_block, simt::describe_matrix(operands.x + group * 64 * Shape::step + k), simt::describe_matrix(operands.w + k), step > 0 || k > 0);
        simt::commit_products();
        if (step == 0) continue;
        simt::wait_for_operands<1>();
        done_with(n - 1);
      }
      simt::wait_for_products<0>(of_block);
      done_with(n - 1);
      RAPT_UNROLL for (int i = 0; i < count; ++i) sums[i] = sums[i] + of_block[i];
    }
    write_sums<Shape>(p, place, row, column, sums);
  });
}

template <class Shape, class Out>
RAPT_KERNEL(Shape::threads, 1)
hopper_project(projection<typename Shape::element, Out> p, const RAPT_GRID_CONSTANT simt::tensor_map x, const RAPT_GRID_CONSTANT simt::tensor_map w) {
  auto& s = simt::shared<hopper_projection_storage<Shape>>();
  if (simt::thread_idx() == 0) {
    for (int i = 0; i < Shape::stages; ++i) simt::init_barrier(s.full[i], 1), simt::init_barrier(s.empty[i], Shape::groups * 4);
    simt::fence_barrier_init();
  }
  simt::sync_threads();
  // The compiler has to know that a warp has one role.
  const auto warp = static_cast<int>(simt::shuffle(simt::warp_idx(), 0));
  if (warp < 4) {
    simt::give_up_registers<Shape::producer_registers>();
    if (warp == 0 && simt::is_elected()) copy_operands(s, p, x, w);
  } else {
    simt::take_registers<Shape::consumer_registers>();
    multiply_operands(s, p, warp / 4 - 1);
  }
}

/// Whether project_hopper serves these operands, on a device of sm_90: more rows than a warpgroup has, of whole 16 bytes.
template <class T, class Out>
bool serves_hopper(const projection<T, Out>& p) {
  return p.rows > 64 && p.in > 0 && p.x_stride > 0 && (p.w_stride > 0 || p.out == 1) && project_kernel_for(p) != project_kernel::any_alignment;
}

/// y = x w^T (+ bias) (+ residual) on at most `max_blocks` blocks, best one for each multiprocessor. Throws config_error where the operands are not
/// served, shape_error where they do not fit, before anything is launched.
template <class T, class Out>
void project_hopper(const projection<T, Out>& p, unsigned max_blocks, simt::stream stream) {
  raise_if(check_projection(p));
  if (p.rows == 0 || p.out == 0) return;
  if (!serves_hopper(p)) raise(errc::config, "project_hopper: up to 64 rows, no inputs, and rows of no whole 16 bytes are what project serves");
  if (max_blocks == 0) raise(errc::shape, "project_hopper: at least one block is needed");
  const auto map_of = [&](const T* data, index_t stride, int rows, int box_rows) {
    // A dimension of extent 1 has any stride.
    const runtime::tensor_layout layout{data, 2, {p.in, rows}, {rows > 1 ? stride : ceil_div(p.in, 8) * 8}, {64, box_rows}};
    simt::tensor_map map;
    raise_if(runtime::describe_tensor(layout, map));
    return map;
  };
  const auto tiles_of = [&](index_t columns) { return ceil_div(index_t{p.rows}, 128) * ceil_div(index_t{p.out}, columns); };
  const auto run = [&](auto columns) {
    using shape = hopper_projection_shape<T, columns()>;
    const auto num_blocks = static_cast<unsigned>(std::min<index_t>(tiles_of(shape::columns), max_blocks));
    simt::launch<hopper_projection_storage<shape>>(hopper_project<shape, Out>, {num_blocks}, shape::threads, stream, p,
                                                   map_of(p.x, p.x_stride, p.rows, shape::rows), map_of(p.w, p.w_stride, p.out, shape::columns));
  };
  // Narrower tiles where each has a multiprocessor of its own: two of them read half as much again as a wide one.
  if (tiles_of(64) <= max_blocks)
    run(std::integral_constant<int, 64>{});
  else
    run(std::integral_constant<int, 128>{});
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
