// What blocks tell each other through global memory.
#pragma once
#include <kernels/simt/simt.hpp>

namespace rapt {
inline namespace v0 {
namespace simt {

/// Adds to a word of global memory at once for all blocks; returns what it was.
RAPT_DEVICE unsigned fetch_add(unsigned* word, unsigned by) {
#ifdef __CUDACC__
  return atomicAdd(word, by);
#else
  const unsigned before = *word;
  *word += by;
  return before;
#endif
}

/// What this thread has written, or has seen written, before is seen by every thread of the device that sees what it writes after; and the other way
/// round.
RAPT_DEVICE void fence_device() {
#ifdef __CUDACC__
  __threadfence();
#endif
}

}  // namespace simt
}  // namespace v0
}  // namespace rapt
