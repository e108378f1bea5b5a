// ldmatrix: 8 x 8 matrices of 16-bit elements from shared memory into the registers that mma reads.
#pragma once
#include <kernels/simt/simt.hpp>

#include <cstring>

namespace rapt {
inline namespace v0 {
namespace simt {

#ifndef __CUDACC__
namespace emulator {
template <bool Transposed>
void load_matrices(std::uint32_t (&registers)[4], std::uint32_t row_address) {
  meet_warp(all_lanes, Transposed ? "ldmatrix.trans" : "ldmatrix", &row_address, registers, [](const warp_operands& w) {
    const auto element = [&](unsigned matrix, unsigned row, unsigned column) {
      const std::uint32_t address = *static_cast<const std::uint32_t*>(w.in[matrix * 8 + row]);
      std::uint16_t bits;
      std::memcpy(&bits, shared_at(address, 16, 16, "ldmatrix") + 2 * column, 2);
      return std::uint32_t{bits};
    };
    for (unsigned lane = 0; lane < warp_size; ++lane)
      for (unsigned matrix = 0; matrix < 4; ++matrix) {
        const unsigned major = lane / 4, minor = lane % 4 * 2;
        const std::uint32_t low = Transposed ? element(matrix, minor, major) : element(matrix, major, minor);
        const std::uint32_t high = Transposed ? element(matrix, minor + 1, major) : element(matrix, major, minor + 1);
        static_cast<std::uint32_t*>(w.out[lane])[matrix] = low | high << 16;
      }
  });
}
}  // namespace emulator
#endif

/// Four matrices. Lane l names the address of row l % 8 of matrix l / 8: 16 aligned bytes. Register i of lane l holds elements (l / 4, l % 4 * 2) and
/// the one right of it, of matrix i.
RAPT_DEVICE void load_matrices(std::uint32_t (&registers)[4], std::uint32_t row_address) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(row_address)
               : "memory");
#else
  emulator::load_matrices<false>(registers, row_address);
#endif
}

/// The same of the transposed matrices: elements (l % 4 * 2, l / 4) and the one below it.
RAPT_DEVICE void load_matrices_transposed(std::uint32_t (&registers)[4], std::uint32_t row_address) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(row_address)
               : "memory");
#else
  emulator::load_matrices<true>(registers, row_address);
#endif
}

}  // namespace simt
}  // namespace v0
}  // namespace rapt
