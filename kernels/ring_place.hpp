// Where a tile lies in a ring of stages, each with a barrier for "full" and one for "empty".
#pragma once
#include <kernels/simt/simt.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// The stage and the parity of the n-th tile that goes through a ring.
template <int Stages>
struct ring_place {
  int stage;
  unsigned parity;

  RAPT_DEVICE explicit ring_place(unsigned n) : stage(static_cast<int>(n % Stages)), parity(n / Stages % 2) {}
};

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
