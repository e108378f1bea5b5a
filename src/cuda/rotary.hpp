// Cosines and sines of the rotary embedding of a call's rows.
#pragma once
#include <cuda/sequences.hpp>
#include <kernels/append_problem.hpp>
#include <math/elementary.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

/// [rows, rope.dim / 2], as the CPU has them: in double, times the attention factor, rounded once.
template <class A>
std::vector<kernels::angle_of<A>> angles_of(const rope_params& rope, const sequence_rows* rows, index_t num_sequences) {
  std::vector<kernels::angle_of<A>> angles;
  for (index_t i = 0; i < num_sequences; ++i) {
    const sequence_rows& s = rows[i];
    angles.resize(std::max(angles.size(), static_cast<std::size_t>((s.first_row + s.num_rows) * (rope.dim / 2))));
    for (index_t r = 0; r < s.num_rows; ++r)
      for (index_t pair = 0; pair < rope.dim / 2; ++pair) {
        double sine, cosine;
        math::sincos(static_cast<double>(position_of(s, r)) * rope.inverse_frequencies[pair], sine, cosine);
        angles[static_cast<std::size_t>((s.first_row + r) * (rope.dim / 2) + pair)] = {static_cast<A>(cosine * rope.attention_factor),
                                                                                       static_cast<A>(sine * rope.attention_factor)};
      }
  }
  return angles;
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
