// What a projection kernel is asked, and what all of them do with an output's sum.
//
// The order of one output, whatever kernel computes it: one chain of mma.sync m16n8k16 over k ascending, by 16, for each block of 256, from +0; block
// sums added ascending in float, from +0; the float bias, then the residual; one rounding. x is the mma's A and w its B, so an output is the same 16
// products at once in every kernel.
//
// Rows and columns past the end are zeros, and so is k past the end, for as many mma as a kernel likes: their products change nothing in a chain but
// the sign of a zero, which a sum that begins as +0 does not keep.
#pragma once
#include <kernels/elements.hpp>
#include <kernels/simt/math.hpp>
#include <kernels/simt/mma.hpp>
#include <rapt/core/index.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// k of one chain; also what docs/numerics.md calls a block of inputs.
constexpr int project_block_len = 256;

/// y = x w^T (+ bias) (+ residual). x [rows, in], w [out, in], bias [out], residual and y [rows, out]; strides of rows in elements, columns
/// contiguous. T is f16 or bf16, Out is T or float. Null bias or residual: none. y may be exactly the residual.
template <class T, class Out = T>
struct projection {
  const T *x = nullptr, *w = nullptr;
  const float* bias = nullptr;
  const T* residual = nullptr;
  Out* y = nullptr;
  index_t x_stride = 0, w_stride = 0, residual_stride = 0, y_stride = 0;
  int rows = 0, in = 0, out = 0;
};

constexpr int max_projections = 3;
/// Projections of the same rows of x that one launch computes: their blocks lie one after the other.
template <class T, class Out>
struct projections {
  projection<T, Out> of[max_projections];  ///< out > 0
  int count = 0;
};

/// How many blocks of k there are; with nothing to sum one, of zeros.
RAPT_DEVICE int num_project_blocks(int in) { return in == 0 ? 1 : (in - 1) / project_block_len + 1; }

struct tile_place {
  int first_row, first_column;
};
/// Down groups of 8 tiles of rows, column after column.
template <class Tile>
RAPT_DEVICE tile_place place_of_tile(int number, int rows, int out) {
  constexpr int group = 8;
  const int row_tiles = (rows - 1) / Tile::rows + 1, column_tiles = (out - 1) / Tile::columns + 1;
  const int first = number / (group * column_tiles) * group, in_group = row_tiles - first < group ? row_tiles - first : group;
  const int rest = number % (group * column_tiles);
  return {(first + rest % in_group) * Tile::rows, rest / in_group * Tile::columns};
}

/// Where chunk `chunk` (16 bytes) of a row lies in shared memory: permuted so that 8 rows of one chunk are in 8 different groups of banks.
template <int RowBytes>
RAPT_DEVICE unsigned project_chunk_offset(unsigned row, unsigned chunk) {
  static_assert(RowBytes == 64 || RowBytes % 128 == 0);
  return row * RowBytes + (chunk ^ (RowBytes == 64 ? row / 2 % 4 : row % 8)) * 16;
}

/// An output, given its sum.
template <class T, class Out>
RAPT_DEVICE float finished_sum(const projection<T, Out>& p, int row, int column, float sum) {
  if (p.bias != nullptr) sum = sum + p.bias[column];
  if (p.residual != nullptr) sum = simt::widen<T>(p.residual[row * p.residual_stride + column].bits) + sum;
  return sum;
}

/// Writes columns `column`, which is even, and the next of a row, given their sums. Those past the end are not written.
template <class T, class Out>
RAPT_DEVICE void write_pair(const projection<T, Out>& p, int row, int column, float left, float right) {
  if (row >= p.rows || column >= p.out) return;
  const bool both = column + 1 < p.out;
  left = finished_sum(p, row, column, left);
  if (both) right = finished_sum(p, row, column + 1, right);
  Out* const to = p.y + row * p.y_stride + column;
  const bool aligned = reinterpret_cast<std::uintptr_t>(to) % (2 * sizeof(Out)) == 0;
  if constexpr (std::is_same_v<Out, float>) {
    const auto canonical = [](float x) { return x == x ? x : simt::float_of(0x7fc00000u); };
    struct alignas(8) pair {
      float x[2];
    };
    if (both && aligned) {
      *reinterpret_cast<pair*>(to) = {canonical(left), canonical(right)};
    } else {
      to[0] = canonical(left);
      if (both) to[1] = canonical(right);
    }
  } else {
    static_assert(std::is_same_v<Out, T>);
    const std::uint32_t word = finished_pair<T>(left, right);
    if (both && aligned) {
      *reinterpret_cast<std::uint32_t*>(to) = word;
    } else {
      to[0].bits = static_cast<std::uint16_t>(word);
      if (both) to[1].bits = static_cast<std::uint16_t>(word >> 16);
    }
  }
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
