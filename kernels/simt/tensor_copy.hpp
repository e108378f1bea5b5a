// Tiles of a tensor from global to shared memory by the copy engine (TMA, cp.async.bulk.tensor): one thread issues, a phase_barrier counts the bytes.
// sm_90.
//
// A tile lies in shared memory in rows of 128 bytes, whose eight 16-byte chunks are exchanged by the row's number: chunk c of row r is at c ^ r % 8,
// as wgmma reads it. Coordinates beyond the tensor, negative ones too, give zeros.
#pragma once
#include <kernels/runtime/tensor_map.hpp>
#include <kernels/simt/barrier.hpp>

#include <cstring>

#ifdef __CUDACC__
/// Of a kernel's parameter that the hardware reads where it lies: a tensor_map.
#define RAPT_GRID_CONSTANT __grid_constant__
#else
#define RAPT_GRID_CONSTANT
#endif

namespace rapt {
inline namespace v0 {
namespace simt {

using runtime::tensor_map;

constexpr std::uint32_t swizzle_bytes = 1024;  // eight rows: what a tile must be aligned to
/// Where the byte at an address of a tile without exchanged chunks lies.
RAPT_DEVICE std::uint32_t swizzled(std::uint32_t address) { return address ^ (address >> 3 & 0x70u); }

#ifndef __CUDACC__
namespace emulator {
/// A tile's elements one by one: out-of-place coordinates, then zero fill.
inline void land_tile(const runtime::tensor_layout& t, std::uint32_t destination, const int (&first)[5]) {
  std::uint32_t at = 0;
  int idx[5] = {};
  for (;;) {
    const std::byte* from = static_cast<const std::byte*>(t.data);
    bool inside = true;
    for (int d = 0; d < t.rank; ++d) {
      const std::int64_t x = std::int64_t{first[d]} + idx[d];
      inside = inside && x >= 0 && x < t.extents[d];
      from += x * (d == 0 ? 2 : t.strides[d - 1] * 2);
    }
    std::uint16_t bits = 0;
    if (inside) std::memcpy(&bits, from, 2);
    std::memcpy(shared_at(swizzled(destination + at), 2, 2, "cp.async.bulk"), &bits, 2);
    at += 2;
    int d = 0;
    while (d < t.rank && ++idx[d] == t.box[d]) idx[d++] = 0;
    if (d == t.rank) return;
  }
}
}  // namespace emulator
#endif

/// Starts a copy of the tile whose first element is at the coordinates, innermost first, of which that one is a multiple of 8. Its bytes, with those
/// of the zeros, come to the barrier, which this or another thread has told to expect them. Nobody may touch the destination, which is aligned to
/// swizzle_bytes, before its phase is over.
template <class... Coordinates>
RAPT_DEVICE void copy_tile(void* destination, const tensor_map& map, phase_barrier& barrier, Coordinates... coordinates) {
  constexpr int rank = sizeof...(Coordinates);
  static_assert(rank >= 2 && rank <= 5);
  const int at[rank] = {coordinates...};
#ifdef __CUDACC__
#define RAPT_COPY_TILE(dim, list, ...)                                                                              \
  asm volatile("cp.async.bulk.tensor." dim ".shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {" list \
               "}], [%2];" ::"r"(shared_address(destination)),                                                      \
               "l"(&map), "r"(shared_address(&barrier)), __VA_ARGS__                                                \
               : "memory")
  if constexpr (rank == 2) RAPT_COPY_TILE("2d", "%3, %4", "r"(at[0]), "r"(at[1]));
  if constexpr (rank == 3) RAPT_COPY_TILE("3d", "%3, %4, %5", "r"(at[0]), "r"(at[1]), "r"(at[2]));
  if constexpr (rank == 4) RAPT_COPY_TILE("4d", "%3, %4, %5, %6", "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]));
  if constexpr (rank == 5) RAPT_COPY_TILE("5d", "%3, %4, %5, %6, %7", "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4]));
#undef RAPT_COPY_TILE
#else
  const runtime::tensor_layout t = runtime::layout_of(map);
  if (t.rank != rank) emulator::fail("cp.async.bulk", "the tensor has another rank");
  int first[5] = {};
  for (int d = 0; d < rank; ++d) first[d] = at[d];
  // Seen on an H200, which calls it an illegal instruction.
  if (first[0] % 8 != 0) emulator::fail("cp.async.bulk", "the innermost coordinate is no multiple of 8");
  const std::uint32_t to = shared_address(destination), bytes = static_cast<std::uint32_t>(t.box_bytes());
  emulator::poison(emulator::shared_at(to, bytes, swizzle_bytes, "cp.async.bulk"), bytes);
  emulator::copy_tile(shared_address(&barrier), bytes, [=] { emulator::land_tile(t, to, first); });
#endif
}

}  // namespace simt
}  // namespace v0
}  // namespace rapt
