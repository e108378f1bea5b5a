// cp.async: 16 bytes at a time from global to shared memory, past the registers.
#pragma once
#include <kernels/simt/simt.hpp>

namespace rapt {
inline namespace v0 {
namespace simt {

/// Starts a copy of 16 aligned bytes to an address of shared memory, or of zeros where not `valid`: then the source is not read.
RAPT_DEVICE void copy_async_16(std::uint32_t destination, const void* source, bool valid = true) {
#ifdef __CUDACC__
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(destination), "l"(__cvta_generic_to_global(source)), "r"(valid ? 16 : 0)
               : "memory");
#else
  emulator::copy_async(emulator::shared_at(destination, 16, 16, "cp.async"), valid ? static_cast<const std::byte*>(source) : nullptr);
#endif
}

/// Makes one group of the copies that this thread has started since the last.
RAPT_DEVICE void commit_copies() {
#ifdef __CUDACC__
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulator::commit_copies();
#endif
}

/// Waits until at most the newest `Groups` of this thread's groups are in flight. Copies of other threads are seen after a barrier.
template <int Groups>
RAPT_DEVICE void wait_for_copies() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_group %0;" ::"n"(Groups) : "memory");
#else
  emulator::wait_for_copies(Groups);
#endif
}

}  // namespace simt
}  // namespace v0
}  // namespace rapt
