// A block of device threads on one thread of the host: each is a fibre that runs until it has to wait for others.
//
// What a device leaves open, the emulator makes adversarial: the order of blocks and threads and the moment when an asynchronous copy lands are a
// `schedule`, shared memory begins as NaN, and the destination of a copy is NaN until it lands. A kernel that is right gives the same bits under
// every schedule. Waiting fibres are on wait lists, so threads that can never go on are an empty ready list: they are reported, not hung. What is
// wrong throws emulator_error out of launch().
//
// Under ThreadSanitizer each fibre is a thread to it, barriers and warp instructions order them, and the emulator's own accesses are not looked at:
// two threads of a block that nothing orders are a race.
#pragma once
#include <kernels/simt/extent.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>

namespace rapt {
inline namespace v0 {
namespace simt {

namespace emulator {

enum class thread_order { ascending, descending, random };
enum class landing {
  at_issue,  ///< as early as can be
  in_order,  ///< one at each switch of threads, the oldest first
  at_wait,   ///< not before somebody waits for it; a tile: not before nothing else can go on
  random
};

struct schedule {
  const char* name;
  thread_order order;
  landing copies;
  std::uint32_t seed = 0;
};
/// Those that every kernel is tested under; of the random one also other seeds.
inline constexpr schedule schedules[] = {
    {"in order", thread_order::ascending, landing::in_order},
    {"late copies", thread_order::descending, landing::at_wait},
    {"eager copies", thread_order::ascending, landing::at_issue},
    {"random", thread_order::random, landing::random, 1},
};

/// What an architecture lets one launch have.
struct device_limits {
  const char* name;
  std::size_t shared_bytes;  ///< of a block
  unsigned threads = 1024;   ///< of a block
  index3 grid = {2147483647u, 65535u, 65535u};
  unsigned cluster = 1;  ///< blocks
};
inline constexpr device_limits sm_80{.name = "sm_80", .shared_bytes = 163 * 1024}, sm_90{.name = "sm_90", .shared_bytes = 227 * 1024, .cluster = 8};

struct emulator_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Launches of this host thread, while it lives, run under this schedule and these limits; before, under the first schedule and sm_90's.
class scoped_device {
 public:
  explicit scoped_device(const schedule& s, const device_limits& limits = sm_90);
  scoped_device(const scoped_device&) = delete;
  scoped_device& operator=(const scoped_device&) = delete;
  ~scoped_device();

 private:
  const schedule schedule_before_;
  const device_limits limits_before_;
};

/// Runs `thread` for every thread of every block, cluster after cluster, these in the order that the schedule has for threads; the blocks of a
/// cluster run side by side.
void run(index3 grid, unsigned num_threads, std::size_t shared_bytes, const std::function<void()>& thread, unsigned cluster_blocks = 1);

// What follows is asked by a running thread about itself.
unsigned thread_idx();
index3 block_idx();
index3 grid_extent();
std::byte* shared_memory();
/// `bytes` of shared memory at an address of the kernel's, which must lie inside and be aligned to `alignment`.
std::byte* shared_at(std::uint32_t address, std::size_t bytes, std::size_t alignment, const char* instruction);
[[noreturn]] void fail(const char* instruction, const char* what);

/// Goes on when all threads of the block have come.
void meet_block(const char* instruction);

/// All threads of all blocks of the cluster: each arrives, then waits until all have.
void arrive_cluster();
void wait_cluster();
unsigned cluster_rank();
/// Where `bytes` at an address of this block's shared memory are in that of another block of the cluster.
std::byte* shared_of_block(std::byte* address, std::size_t bytes, unsigned rank);

/// The lanes that execute one instruction together. Pointers of lanes outside the mask are null.
struct warp_operands {
  const void* in[warp_size] = {};
  void* out[warp_size] = {};
  std::uint32_t mask = 0;
};
/// Goes on when all lanes of the mask have come to this instruction; the last of them acts for all.
void meet_warp(std::uint32_t mask, const char* instruction, const void* in, void* out, void (*act)(const warp_operands&));

/// 16 bytes on their way to shared memory; zeros where there is no source.
void copy_async(std::byte* destination, const std::byte* source);
void commit_copies();
/// Goes on when all but the thread's newest `groups` groups have landed.
void wait_for_copies(unsigned groups);

/// Barrier `id` of the block for `num_threads`: goes on when so many have come, of whom those that do not wait go on at once. Of those that wait:
/// whether the predicate held for any of them.
bool meet_named(unsigned id, unsigned num_threads, bool waits, bool predicate, const char* instruction);

/// Barriers in shared memory (mbarrier), by address. A phase is over when `count` threads have arrived and all bytes that were expected have come.
void init_barrier(std::uint32_t address, unsigned count);
/// What this thread has initialised may from now on be named by copies of tiles.
void fence_barrier_init();
/// `bytes` more are expected in this phase, and a thread arrives.
void arrive(std::uint32_t address, unsigned bytes);
/// Goes on when the phase of this parity is over.
void wait_for_phase(std::uint32_t address, unsigned parity);
/// Makes bytes NaN.
void poison(std::byte* data, std::size_t bytes);
/// A tile on its way to shared memory: `land` puts it there, and then `bytes` have come to the barrier.
void copy_tile(std::uint32_t barrier, unsigned bytes, std::function<void()> land);

/// The lane that a warp elects: any, but always the same one of the same mask.
unsigned elected_lane(std::uint32_t mask);

/// What a warp has in flight on its tensor core. Each is computed, oldest first, when the warp waits for its group. The four warps of a warpgroup
/// must issue the same ones, which `a` and `b` tell apart. These are called where a warp meets, by one lane for all.
void issue_product(std::uint64_t a, std::uint64_t b, std::function<void()> compute);
void fence_products();
void commit_products();
void wait_for_products(unsigned groups);

}  // namespace emulator
}  // namespace simt
}  // namespace v0
}  // namespace rapt
