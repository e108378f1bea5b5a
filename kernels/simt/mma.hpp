// mma.sync: a warp multiplies matrices on a tensor core and sums in float. m16n8k16 of 16-bit elements, m16n8k8 of tf32: floats whose last 13 bits of
// fraction are not looked at.
#pragma once
#include <kernels/simt/simt.hpp>

#ifndef __CUDACC__
#include <kernels/simt/tensor_core.hpp>
#endif

namespace rapt {
inline namespace v0 {
namespace simt {

/// A [16, 16]: register i of lane l holds elements (l / 4 + i % 2 * 8, l % 4 * 2 + i / 2 * 8) and the one right of it, the lower half being the left
/// one.
struct mma_a {
  std::uint32_t registers[4];
};
/// B [16, 8]: register i of lane l holds elements (l % 4 * 2 + i * 8, l / 4) and the one below it.
struct mma_b {
  std::uint32_t registers[2];
};
/// C and D [16, 8]: element i of lane l is (l / 4 + i / 2 * 8, l % 4 * 2 + i % 2).
struct mma_c {
  float elements[4];
};

/// A [16, 8] of floats: register i of lane l holds element (l / 4 + i % 2 * 8, l % 4 + i / 2 * 4).
struct mma_a_tf32 {
  std::uint32_t registers[4];
};
/// B [8, 8] of floats: register i of lane l holds element (l % 4 + i * 4, l / 4).
struct mma_b_tf32 {
  std::uint32_t registers[2];
};

#ifndef __CUDACC__
namespace emulator {
struct mma_operands {
  const mma_a* a;
  const mma_b* b;
};
template <class T>
void multiply_add(mma_c& c, const mma_a& a, const mma_b& b) {
  const mma_operands own{&a, &b};
  meet_warp(all_lanes, "mma", &own, &c, [](const warp_operands& w) {
    T rows[16][16], columns[8][16];
    const auto half = [](std::uint32_t word, unsigned i) {
      T x;
      x.bits = static_cast<std::uint16_t>(word >> 16 * i);
      return x;
    };
    for (unsigned lane = 0; lane < warp_size; ++lane) {
      const auto& in = *static_cast<const mma_operands*>(w.in[lane]);
      const unsigned major = lane / 4, minor = lane % 4 * 2;
      for (unsigned e = 0; e < 2; ++e) {
        for (unsigned i = 0; i < 4; ++i) rows[major + i % 2 * 8][minor + e + i / 2 * 8] = half(in.a->registers[i], e);
        for (unsigned i = 0; i < 2; ++i) columns[major][minor + e + i * 8] = half(in.b->registers[i], e);
      }
    }
    for (unsigned lane = 0; lane < warp_size; ++lane)
      for (unsigned i = 0; i < 4; ++i) {
        float& element = static_cast<mma_c*>(w.out[lane])->elements[i];
        element = multiply_add_16(hopper, rows[lane / 4 + i / 2 * 8], columns[lane % 4 * 2 + i % 2], element);
      }
  });
}

struct mma_operands_tf32 {
  const mma_a_tf32* a;
  const mma_b_tf32* b;
};
inline void multiply_add(mma_c& c, const mma_a_tf32& a, const mma_b_tf32& b) {
  const mma_operands_tf32 own{&a, &b};
  meet_warp(all_lanes, "mma.tf32", &own, &c, [](const warp_operands& w) {
    tf32 rows[16][8], columns[8][8];
    for (unsigned lane = 0; lane < warp_size; ++lane) {
      const auto& in = *static_cast<const mma_operands_tf32*>(w.in[lane]);
      for (unsigned i = 0; i < 4; ++i) rows[lane / 4 + i % 2 * 8][lane % 4 + i / 2 * 4].bits = in.a->registers[i];
      for (unsigned i = 0; i < 2; ++i) columns[lane / 4][lane % 4 + i * 4].bits = in.b->registers[i];
    }
    for (unsigned lane = 0; lane < warp_size; ++lane)
      for (unsigned i = 0; i < 4; ++i) {
        float& element = static_cast<mma_c*>(w.out[lane])->elements[i];
        element = add_products(hopper, rows[lane / 4 + i / 2 * 8], columns[lane % 4 * 2 + i % 2], 8, element);
      }
  });
}
}  // namespace emulator
#endif

/// c += a * b, for T f16 or bf16.
template <class T>
RAPT_DEVICE void multiply_add(mma_c& c, const mma_a& a, const mma_b& b) {
  static_assert(std::is_same_v<T, f16> || std::is_same_v<T, bf16>);
#ifdef __CUDACC__
  if constexpr (std::is_same_v<T, f16>)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c.elements[0]), "+f"(c.elements[1]), "+f"(c.elements[2]), "+f"(c.elements[3])
                 : "r"(a.registers[0]), "r"(a.registers[1]), "r"(a.registers[2]), "r"(a.registers[3]), "r"(b.registers[0]), "r"(b.registers[1]));
  else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c.elements[0]), "+f"(c.elements[1]), "+f"(c.elements[2]), "+f"(c.elements[3])
                 : "r"(a.registers[0]), "r"(a.registers[1]), "r"(a.registers[2]), "r"(a.registers[3]), "r"(b.registers[0]), "r"(b.registers[1]));
#else
  emulator::multiply_add<T>(c, a, b);
#endif
}

/// c += a * b in tf32.
RAPT_DEVICE void multiply_add_tf32(mma_c& c, const mma_a_tf32& a, const mma_b_tf32& b) {
#ifdef __CUDACC__
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c.elements[0]), "+f"(c.elements[1]), "+f"(c.elements[2]), "+f"(c.elements[3])
               : "r"(a.registers[0]), "r"(a.registers[1]), "r"(a.registers[2]), "r"(a.registers[3]), "r"(b.registers[0]), "r"(b.registers[1]));
#else
  emulator::multiply_add(c, a, b);
#endif
}

}  // namespace simt
}  // namespace v0
}  // namespace rapt
