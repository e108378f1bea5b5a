// Numbers drawn by blocks.
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

}  // namespace simt
}  // namespace v0
}  // namespace rapt
