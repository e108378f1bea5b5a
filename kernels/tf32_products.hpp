// Products of floats on tensor cores by tf32 (mma.sync m16n8k8, sm_80 and later), each factor as two of its numbers: what is multiplied are the first
// parts with each other, and each first part with the other's rest. The product of the rests, 2^-22 of the whole, is left out.
#pragma once
#include <kernels/simt/math.hpp>
#include <kernels/simt/mma.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// A float as its first 11 bits, and as many of what is left, rounded. What is not finite is NaN.
struct tf32_parts {
  std::uint32_t first, rest;

  RAPT_DEVICE explicit tf32_parts(float x) : first(0x7fffe000u), rest(0) {
    if (!is_finite(x)) return;
    first = simt::bits_of(x) & 0xffffe000u;
    rest = simt::bits_of(x - simt::float_of(first)) + 0x1000u;
  }
  static RAPT_DEVICE bool is_finite(float x) { return (simt::bits_of(x) & 0x7f800000u) != 0x7f800000u; }
};

/// Fragments of both parts. element(i): register i's.
template <class Fragment>
struct tf32_fragments {
  Fragment first, rest;

  template <class Element>
  RAPT_DEVICE explicit tf32_fragments(Element element) {
    RAPT_UNROLL for (unsigned i = 0; i < sizeof(Fragment) / sizeof(std::uint32_t); ++i) {
      const tf32_parts parts(element(static_cast<int>(i)));
      first.registers[i] = parts.first, rest.registers[i] = parts.rest;
    }
  }
};
using tf32_rows = tf32_fragments<simt::mma_a_tf32>;
using tf32_columns = tf32_fragments<simt::mma_b_tf32>;

/// Sums [16, 8]: of first parts, and of the rest, which are small and so lose less apart.
struct tf32_sums {
  simt::mma_c big = {}, small = {};

  RAPT_DEVICE void add(const tf32_rows& rows, const tf32_columns& columns) {
    simt::multiply_add_tf32(small, rows.rest, columns.first);
    simt::multiply_add_tf32(small, rows.first, columns.rest);
    simt::multiply_add_tf32(big, rows.first, columns.first);
  }
  RAPT_DEVICE float total(int i) const { return big.elements[i] + small.elements[i]; }
};

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
