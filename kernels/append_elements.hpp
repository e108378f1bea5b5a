// Appending heads of any size and at any address, element by element: where append.hpp's chunks of 8 do not fit.
//
// A warp takes one head of a row. Its elements go through shared memory as floats, so that a lane finds the partner that an element is rotated with,
// and all that a norm sums. The order is append.hpp's.
#pragma once
#include <kernels/append_problem.hpp>
#include <kernels/elements.hpp>
#include <kernels/simt/math.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int append_elements_warps = 8;

struct append_elements_storage {
  float elements[append_elements_warps][max_head_dim], squares[append_elements_warps][16];
};

/// grid: rows of the step, their heads by append_elements_warps at once.
template <class From, class T>
RAPT_KERNEL(append_elements_warps * 32, 4)
append_elements(append_problem<From, T> p) {
  auto& s = simt::shared<append_elements_storage>();
  const int row = static_cast<int>(simt::block_idx().x), own = static_cast<int>(simt::warp_idx()), lane = static_cast<int>(simt::lane_idx());
  const int head = static_cast<int>(simt::block_idx().y) * append_elements_warps + own;
  const auto from = appended_head_of(p, row, head);
  const appended_row r = appended_row_of(p, row);
  if (!r.is_used || from.dim == 0) return;

  float* const x = s.elements[own];
  for (int d = lane; d < from.dim; d += 32) {
    if constexpr (std::is_same_v<From, float>)
      x[d] = from.data[d];
    else
      x[d] = simt::widen<From>(from.data[d].bits);
  }
  simt::sync_warp();
  float scale = 1;
  if (from.is_normed) {
    float* const sums = s.squares[own];
    if (lane < 16) {
      sums[lane] = 0;
      for (int d = lane; d < from.dim; d += 16) sums[lane] = simt::fma(x[d], x[d], sums[lane]);
    }
    simt::sync_warp();
    for (int width = 8; width > 0; width /= 2) {
      if (lane < width) sums[lane] += sums[lane + width];
      simt::sync_warp();
    }
    scale = simt::reciprocal(simt::square_root(simt::divide(sums[0], static_cast<float>(from.dim)) + p.eps));
  }

  T* const to = appended_place(p, r, row, head);
  const int half = p.rope_dim / 2;
  const auto normed = [&](int d) { return from.is_normed ? x[d] * scale * from.norm[d] : x[d]; };
  for (int d = lane; d < from.dim; d += 32) {
    float y = normed(d);
    if (d < from.rope_dim) {
      const bool is_first = p.interleaved ? d % 2 == 0 : d < half;
      const int pair = p.interleaved ? d / 2 : is_first ? d : d - half, distance = p.interleaved ? 1 : half;
      const float partner = normed(is_first ? d + distance : d - distance);
      const angle turn = p.angles[r.angle_row * half + pair];
      y = is_first ? simt::fma(y, turn.c, -(partner * turn.s)) : simt::fma(y, turn.c, partner * turn.s);
    }
    to[d].bits = static_cast<std::uint16_t>(finished_pair<T>(y, 0.0f));
  }
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
