// A kernel's view of the device: who it is, its shared memory, its barriers. One text with two meanings: nvcc compiles it for devices, a C++ compiler
// for the emulator. Kernels use what stands here and in the other headers of this room, never threadIdx, <<<>>> or inline PTX.
#pragma once
#include <kernels/simt/extent.hpp>
#include <rapt/core/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#ifdef __CUDACC__
#include <kernels/runtime/launch.hpp>
#else
#include <kernels/runtime/emulated.hpp>
#include <kernels/simt/emulator.hpp>
#endif

#ifdef __CUDACC__
#define RAPT_DEVICE __device__ __forceinline__
/// A kernel whose blocks have `threads` threads, `blocks` of them at a time on a multiprocessor.
#define RAPT_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define RAPT_UNROLL _Pragma("unroll")
#define RAPT_NO_UNROLL _Pragma("unroll 1")
#else
#define RAPT_DEVICE inline
#define RAPT_KERNEL(threads, blocks) inline void
#define RAPT_UNROLL
#define RAPT_NO_UNROLL
#endif

namespace rapt {
inline namespace v0 {
namespace simt {

#ifdef __CUDACC__

RAPT_DEVICE unsigned thread_idx() { return threadIdx.x; }
RAPT_DEVICE index3 block_idx() { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
RAPT_DEVICE index3 grid_extent() { return {gridDim.x, gridDim.y, gridDim.z}; }

/// The block's shared memory, as much of it as `launch` was told of. Its contents are undefined at first.
template <class Storage>
RAPT_DEVICE Storage& shared() {
  extern __shared__ __align__(1024) unsigned char memory[];
  return *reinterpret_cast<Storage*>(memory);
}
/// The 32 bits by which instructions know a place in shared memory.
RAPT_DEVICE std::uint32_t shared_address(const void* p) { return static_cast<std::uint32_t>(__cvta_generic_to_shared(p)); }

/// Waits for all threads of the block; what they wrote before is visible after it.
RAPT_DEVICE void sync_threads() { __syncthreads(); }
RAPT_DEVICE void sync_warp(std::uint32_t mask = all_lanes) { __syncwarp(mask); }

/// Runs the kernel on `grid` blocks of `num_threads` threads that share a Storage each, in clusters of `cluster_blocks` along x, in the order of the
/// stream. Throws cuda_error where it is refused.
template <class Storage, class... Params>
void launch_clusters(void (*kernel)(Params...), unsigned cluster_blocks, index3 grid, unsigned num_threads, stream s,
                     const std::type_identity_t<Params>&... params) {
  void* addresses[sizeof...(Params) + 1] = {const_cast<void*>(static_cast<const void*>(&params))...};
  raise_if(runtime::launch(reinterpret_cast<const void*>(kernel), cluster_blocks, grid, num_threads, sizeof(Storage), addresses, s));
}

#else

inline unsigned thread_idx() { return emulator::thread_idx(); }
inline index3 block_idx() { return emulator::block_idx(); }
inline index3 grid_extent() { return emulator::grid_extent(); }

template <class Storage>
Storage& shared() {
  return *reinterpret_cast<Storage*>(emulator::shared_memory());
}
inline std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(static_cast<const std::byte*>(p) - emulator::shared_memory());
}

inline void sync_threads() { emulator::meet_block("sync_threads"); }
inline void sync_warp(std::uint32_t mask = all_lanes) {
  emulator::meet_warp(mask, "sync_warp", nullptr, nullptr, [](const emulator::warp_operands&) {});
}

template <class Storage, class... Params>
void launch_clusters(void (*kernel)(Params...), unsigned cluster_blocks, index3 grid, unsigned num_threads, stream s,
                     const std::type_identity_t<Params>&... params) {
  runtime::emulated::launch(s, [&] {
    emulator::run(
        grid, num_threads, sizeof(Storage), [&] { kernel(params...); }, cluster_blocks);
  });
}

#endif

/// launch_clusters of blocks that know nothing of each other.
template <class Storage, class... Params>
void launch(void (*kernel)(Params...), index3 grid, unsigned num_threads, stream s, const std::type_identity_t<Params>&... params) {
  launch_clusters<Storage>(kernel, 1, grid, num_threads, s, params...);
}

/// x, of which the compiler knows nothing: what is computed from it in a loop is computed there again, and keeps no register from pass to pass.
RAPT_DEVICE unsigned recomputed(unsigned x) {
#ifdef __CUDACC__
  asm volatile("" : "+r"(x));
#endif
  return x;
}

/// For kernels without shared memory.
struct no_storage {};

RAPT_DEVICE unsigned lane_idx() { return thread_idx() % warp_size; }
RAPT_DEVICE unsigned warp_idx() { return thread_idx() / warp_size; }

}  // namespace simt
}  // namespace v0
}  // namespace rapt
