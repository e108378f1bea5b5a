// Blocks of a cluster: they run at the same time, see each other's shared memory, and wait for each other. sm_90 and later. They are
// neighbours along x.
#pragma once
#include <kernels/simt/simt.hpp>

namespace rapt {
inline namespace v0 {
namespace simt {

/// The block's place in its cluster.
RAPT_DEVICE unsigned cluster_rank() {
#ifdef __CUDACC__
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#else
  return emulator::cluster_rank();
#endif
}

/// What x, in shared memory, is in block `rank` of the cluster, which has to have begun and may not have ended: after one meeting of the cluster and
/// before another.
template <class X>
RAPT_DEVICE X& of_block(X& x, unsigned rank) {
#ifdef __CUDACC__
  X* there;
  asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(&x), "r"(rank));
  return *there;
#else
  return *reinterpret_cast<X*>(emulator::shared_of_block(reinterpret_cast<std::byte*>(&x), sizeof x, rank));
#endif
}

/// A meeting of all threads of all blocks of the cluster: each arrives, and waits until all have arrived. What they wrote before they arrived is seen
/// by those that have waited. Whole warps call these.
RAPT_DEVICE void arrive_cluster() {
#ifdef __CUDACC__
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#else
  emulator::arrive_cluster();
#endif
}
/// The same of a block that has written nothing for others: it has begun.
RAPT_DEVICE void arrive_cluster_begun() {
#ifdef __CUDACC__
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#else
  emulator::arrive_cluster();
#endif
}
RAPT_DEVICE void wait_cluster() {
#ifdef __CUDACC__
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
  emulator::wait_cluster();
#endif
}
RAPT_DEVICE void sync_cluster() {
  arrive_cluster();
  wait_cluster();
}

}  // namespace simt
}  // namespace v0
}  // namespace rapt
