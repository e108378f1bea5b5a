// Norm and rotation of head rows: what rotate and append share.
#pragma once
#include <cpu/context_impl.hpp>
#include <math/elementary.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {

inline index_t position_of(const sequence_rows& s, index_t row) { return s.positions != nullptr ? s.positions[row] : s.first_position + row; }

/// cos and sin of one position's angles, in double, times the attention factor, rounded once to A.
template <class A>
void rope_angles(const rope_params& rope, index_t position, A* c, A* s) {
  for (index_t i = 0; i < rope.dim / 2; ++i) {
    double sine, cosine;
    math::sincos(static_cast<double>(position) * rope.inverse_frequencies[i], sine, cosine);
    c[i] = static_cast<A>(cosine * rope.attention_factor);
    s[i] = static_cast<A>(sine * rope.attention_factor);
  }
}

/// x = rope(norm(x)) of one head row of `dim` accumulators; c and s are of its position.
template <class A>
void norm_and_rotate(const row_kernels<A>& rows, const norm_params& norm, const rope_params& rope, index_t dim, A* x, const A* c, const A* s) {
  if (norm.weight != nullptr) rows.norm(x, dim, static_cast<A>(norm.eps), static_cast<const A*>(norm.weight));
  if (rope.dim > 0) rows.rotate(x, rope.dim / 2, rope.interleaved ? 0 : rope.dim / 2, c, s);
}

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
