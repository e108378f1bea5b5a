// Barriers for some threads of a block: the numbered ones of the hardware, and those in shared memory (mbarrier), which also count the bytes of
// copies. sm_90.
#pragma once
#include <kernels/simt/simt.hpp>

namespace rapt {
inline namespace v0 {
namespace simt {

/// Waits at barrier `Id` (1 to 15; 0 is sync_threads) until `num_threads`, whole warps, have come, these and those of arrive_named. The id is an
/// immediate of the instruction, else the compiler reserves all sixteen.
template <int Id>
RAPT_DEVICE void sync_named(unsigned num_threads) {
#ifdef __CUDACC__
  asm volatile("bar.sync %0, %1;" ::"n"(Id), "r"(num_threads) : "memory");
#else
  emulator::meet_named(Id, num_threads, true, false, "bar.sync");
#endif
}
/// Comes to the barrier and goes on.
template <int Id>
RAPT_DEVICE void arrive_named(unsigned num_threads) {
#ifdef __CUDACC__
  asm volatile("bar.arrive %0, %1;" ::"n"(Id), "r"(num_threads) : "memory");
#else
  emulator::meet_named(Id, num_threads, false, false, "bar.arrive");
#endif
}
/// sync_named that says whether the predicate held for any of the threads.
template <int Id>
RAPT_DEVICE bool any_named(unsigned num_threads, bool predicate) {
#ifdef __CUDACC__
  int any;
  asm volatile("{ .reg .pred p, q; setp.ne.s32 p, %3, 0; bar.red.or.pred q, %1, %2, p; selp.s32 %0, 1, 0, q; }"
               : "=r"(any)
               : "n"(Id), "r"(num_threads), "r"(static_cast<int>(predicate))
               : "memory");
  return any != 0;
#else
  return emulator::meet_named(Id, num_threads, true, predicate, "bar.red");
#endif
}

/// In shared memory. Its phases have parities 0, 1, 0, ...; each is over when as many threads have arrived as it counts and all bytes that they said
/// to expect have been copied. What a thread wrote before it arrived is seen by those that have waited for the phase.
struct alignas(8) phase_barrier {
  std::uint64_t state;
};
/// Before anybody uses it: one thread initialises, fences if copies are to name it, and the block synchronises.
RAPT_DEVICE void init_barrier(phase_barrier& b, unsigned count) {
#ifdef __CUDACC__
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&b)), "r"(count) : "memory");
#else
  emulator::init_barrier(shared_address(&b), count);
#endif
}
/// Makes the barriers that this thread has initialised known to the unit that copies tiles.
RAPT_DEVICE void fence_barrier_init() {
#ifdef __CUDACC__
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#else
  emulator::fence_barrier_init();
#endif
}
RAPT_DEVICE void arrive(phase_barrier& b) {
#ifdef __CUDACC__
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&b)) : "memory");
#else
  emulator::arrive(shared_address(&b), 0);
#endif
}
/// Arrives, and says that so many bytes more are copied before the phase is over.
RAPT_DEVICE void arrive_expecting(phase_barrier& b, unsigned bytes) {
#ifdef __CUDACC__
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&b)), "r"(bytes) : "memory");
#else
  emulator::arrive(shared_address(&b), bytes);
#endif
}
/// Waits until the phase of this parity is over. Of a barrier that nobody has used the phase before the first one, of parity 1, is.
RAPT_DEVICE void wait(phase_barrier& b, unsigned parity) {
#ifdef __CUDACC__
  asm volatile("{ .reg .pred over; again: mbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1; @over bra done; bra again; done: }" ::"r"(
                   shared_address(&b)),
               "r"(parity)
               : "memory");
#else
  emulator::wait_for_phase(shared_address(&b), parity);
#endif
}

/// What this thread has written to shared memory is seen by copies of tiles and by wgmma, of its own and, after a barrier, of other threads. The
/// emulator does not notice where it is missing.
RAPT_DEVICE void fence_async_proxy() {
#ifdef __CUDACC__
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

}  // namespace simt
}  // namespace v0
}  // namespace rapt
