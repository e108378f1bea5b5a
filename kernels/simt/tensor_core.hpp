// What a tensor core computes, bit for bit: the host's meaning of mma.
//
// It is no chain of IEEE operations. Products are exact; a block of them and the addend are aligned to the largest exponent among them, cut off there
// below `fraction_bits` fractional bits, summed as integers, and the sum is cut off to a float. docs/kernels.md says where that was observed.
#pragma once
#include <rapt/core/dtype.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>

namespace rapt {
inline namespace v0 {
namespace simt {
namespace emulator {

struct tensor_core {
  int block_len;      ///< products that are summed at once
  int fraction_bits;  ///< kept of a term, below the largest exponent
};
inline constexpr tensor_core hopper{16, 25};

/// The quiet NaN that arithmetic on a device gives.
inline constexpr std::uint32_t device_nan = 0x7fffffffu;

/// A number as sign, exponent and an integer: (negative ? -1 : 1) * significand * 2^(exponent - fraction), fraction being the format's.
struct unpacked {
  bool negative;
  int exponent;
  std::uint64_t significand;
  bool infinite, nan;
};

template <int ExponentBits, int FractionBits>
constexpr unpacked unpack(std::uint32_t bits) {
  constexpr int bias = (1 << (ExponentBits - 1)) - 1, all_ones = (1 << ExponentBits) - 1;
  const auto field = static_cast<int>(bits >> FractionBits) & all_ones;
  const std::uint64_t fraction = bits & ((1u << FractionBits) - 1);
  const bool negative = (bits >> (ExponentBits + FractionBits) & 1) != 0, special = field == all_ones;
  return {negative, std::max(field, 1) - bias, field == 0 ? fraction : fraction | std::uint64_t{1} << FractionBits, special && fraction == 0,
          special && fraction != 0};
}
constexpr unpacked unpack(f16 x) { return unpack<5, 10>(x.bits); }
constexpr unpacked unpack(bf16 x) { return unpack<8, 7>(x.bits); }
constexpr unpacked unpack(float x) { return unpack<8, 23>(std::bit_cast<std::uint32_t>(x)); }

/// The first 19 bits of a float.
struct tf32 {
  std::uint32_t bits;
};
constexpr unpacked unpack(tf32 x) { return unpack<8, 10>(x.bits >> 13); }

template <class T>
constexpr int fraction_bits_of = std::is_same_v<T, bf16> ? 7 : 10;

/// magnitude * 2^exponent, cut off to a float's precision.
constexpr float truncated(bool negative, std::uint64_t magnitude, int exponent) {
  const std::uint32_t sign = negative ? 0x80000000u : 0;
  if (magnitude == 0) return 0.0f;
  const int top = 63 - std::countl_zero(magnitude);
  // The exponent of the last place that a float of this size has.
  const int last = std::max(exponent + top - 23, -149), drop = last - exponent;
  const std::uint64_t kept = drop >= 64 ? 0 : drop >= 0 ? magnitude >> drop : magnitude << -drop;
  if (kept == 0) return std::bit_cast<float>(sign);
  if (exponent + top > 127) return std::bit_cast<float>(sign | 0x7f800000u);
  const bool normal = (kept >> 23) != 0;
  return std::bit_cast<float>(sign | (normal ? static_cast<std::uint32_t>(last + 150) << 23 : 0) | static_cast<std::uint32_t>(kept & 0x7fffffu));
}

/// addend + the sum of a[i] * b[i] over one block.
template <class T>
constexpr float add_products(const tensor_core& core, const T* a, const T* b, int count, float addend) {
  struct term {
    bool negative;
    int exponent;
    std::uint64_t significand;
    int fraction;
  };
  term terms[17] = {};
  int num_terms = 0;
  bool nan = false, infinite[2] = {};
  const unpacked c = unpack(addend);
  nan = c.nan;
  if (c.infinite) infinite[c.negative] = true;
  terms[num_terms++] = {c.negative, c.exponent, c.significand, 23};
  for (int i = 0; i < count; ++i) {
    const unpacked x = unpack(a[i]), y = unpack(b[i]);
    const bool negative = x.negative != y.negative;
    nan |= x.nan || y.nan || (x.infinite && y.significand == 0) || (y.infinite && x.significand == 0);
    if (x.infinite || y.infinite) infinite[negative] = true;
    terms[num_terms++] = {negative, x.exponent + y.exponent, x.significand * y.significand, 2 * fraction_bits_of<T>};
  }
  if (nan || (infinite[0] && infinite[1])) return std::bit_cast<float>(device_nan);
  if (infinite[0] || infinite[1]) return std::bit_cast<float>(infinite[1] ? 0xff800000u : 0x7f800000u);

  int largest = -1000;
  for (int i = 0; i < num_terms; ++i)
    if (terms[i].significand != 0) largest = std::max(largest, terms[i].exponent);
  std::int64_t sum = 0;
  for (int i = 0; i < num_terms; ++i) {
    if (terms[i].significand == 0) continue;
    const int shift = terms[i].exponent - largest + core.fraction_bits - terms[i].fraction;
    const std::uint64_t aligned = shift >= 0 ? terms[i].significand << shift : shift > -64 ? terms[i].significand >> -shift : 0;
    sum += terms[i].negative ? -static_cast<std::int64_t>(aligned) : static_cast<std::int64_t>(aligned);
  }
  return truncated(sum < 0, static_cast<std::uint64_t>(sum < 0 ? -sum : sum), largest - core.fraction_bits);
}

/// addend + the sum of a[i] * b[i] for 16 of them, block after block.
template <class T>
constexpr float multiply_add_16(const tensor_core& core, const T* a, const T* b, float addend) {
  for (int i = 0; i < 16; i += core.block_len) addend = add_products(core, a + i, b + i, core.block_len, addend);
  return addend;
}

}  // namespace emulator
}  // namespace simt
}  // namespace v0
}  // namespace rapt
