// Element types. bf16 and f16 are storage: 16 bits and exact integer conversions that no compiler flag can change.
#pragma once
#include <rapt/core/index.hpp>

#include <bit>
#include <optional>
#include <string_view>
#include <type_traits>

namespace rapt {
inline namespace v0 {

enum class dtype : std::uint8_t { f64, f32, bf16, f16, i64, boolean, u8 };

constexpr index_t size_of(dtype type) {
  switch (type) {
    case dtype::f64:
    case dtype::i64:
      return 8;
    case dtype::f32:
      return 4;
    case dtype::bf16:
    case dtype::f16:
      return 2;
    case dtype::boolean:
    case dtype::u8:
      return 1;
  }
  return 0;
}
constexpr bool is_floating(dtype type) { return type == dtype::f64 || type == dtype::f32 || type == dtype::bf16 || type == dtype::f16; }
constexpr std::string_view name_of(dtype type) {
  constexpr std::string_view names[] = {"f64", "f32", "bf16", "f16", "i64", "bool", "u8"};
  return names[static_cast<int>(type)];
}

namespace detail {
/// A float as an integer that holds sign, exponent and mantissa, rounded to nearest even to `Mantissa` stored bits and an exponent of bias `Bias`.
/// From: uint32_t for float, uint64_t for double. Subnormals of the target are exact; overflow gives infinity; a NaN the canonical quiet one.
template <int Mantissa, int Bias, class From>
constexpr std::uint16_t round_to_16_bits(From bits) {
  constexpr int from_mantissa = sizeof(From) == 4 ? 23 : 52, from_bias = sizeof(From) == 4 ? 127 : 1023;
  constexpr int max_exponent = 2 * Bias + 1;  // all ones: infinity and NaN
  const auto sign = static_cast<std::uint16_t>((bits >> (8 * sizeof(From) - 1)) << 15);
  const From magnitude = bits << 1 >> 1, infinity = From{2 * from_bias + 1} << from_mantissa;
  constexpr auto to_infinity = static_cast<std::uint16_t>(max_exponent << Mantissa);
  if (magnitude > infinity) return static_cast<std::uint16_t>(to_infinity | (1u << (Mantissa - 1)));
  if (magnitude == infinity) return static_cast<std::uint16_t>(sign | to_infinity);

  int exponent = static_cast<int>(magnitude >> from_mantissa);
  From mantissa = magnitude & ((From{1} << from_mantissa) - 1);
  if (exponent == 0)
    exponent = 1;
  else
    mantissa |= From{1} << from_mantissa;
  const int target = exponent - from_bias + Bias;
  int drop = from_mantissa - Mantissa;
  if (target < 1) drop += 1 - target;  // a subnormal of the target, or less
  if (drop > from_mantissa + 1) return sign;
  const From kept = mantissa >> drop, rest = mantissa & ((From{1} << drop) - 1), half = From{1} << (drop - 1);
  From rounded = kept + ((rest > half || (rest == half && (kept & 1))) ? 1 : 0);
  // The implicit bit in `rounded` adds 1 to the exponent field; a carry out of the mantissa does so by itself, up to infinity.
  if (target > 1) rounded += static_cast<From>(target - 1) << Mantissa;
  return static_cast<std::uint16_t>(sign | (rounded >= to_infinity ? to_infinity : static_cast<std::uint16_t>(rounded)));
}
}  // namespace detail

/// bfloat16: 8 exponent bits, 7 stored mantissa bits.
struct bf16 {
  std::uint16_t bits = 0;
  constexpr bf16() = default;
  /// Rounds to nearest even, once.
  explicit constexpr bf16(float x) : bits(detail::round_to_16_bits<7, 127>(std::bit_cast<std::uint32_t>(x))) {}
  explicit constexpr bf16(double x) : bits(detail::round_to_16_bits<7, 127>(std::bit_cast<std::uint64_t>(x))) {}
  explicit constexpr operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
  friend constexpr bool operator==(bf16, bf16) = default;  // of bits
};

/// IEEE binary16: 5 exponent bits, 10 stored mantissa bits.
struct f16 {
  std::uint16_t bits = 0;
  constexpr f16() = default;
  /// Rounds to nearest even, once.
  explicit constexpr f16(float x) : bits(detail::round_to_16_bits<10, 15>(std::bit_cast<std::uint32_t>(x))) {}
  explicit constexpr f16(double x) : bits(detail::round_to_16_bits<10, 15>(std::bit_cast<std::uint64_t>(x))) {}
  explicit constexpr operator float() const {
    const auto sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
    const std::uint32_t exponent = (bits >> 10) & 31u, mantissa = bits & 0x3ffu;
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13 | (mantissa ? 0x400000u : 0u));
    if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
    if (mantissa == 0) return std::bit_cast<float>(sign);
    const int top = 31 - std::countl_zero(mantissa);  // a subnormal: value = mantissa * 2^-24
    return std::bit_cast<float>(sign | static_cast<std::uint32_t>(top + 103) << 23 | (mantissa << (23 - top) & 0x7fffffu));
  }
  friend constexpr bool operator==(f16, f16) = default;  // of bits
};

template <class T>
constexpr dtype dtype_of = [] {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<U, double>)
    return dtype::f64;
  else if constexpr (std::is_same_v<U, float>)
    return dtype::f32;
  else if constexpr (std::is_same_v<U, bf16>)
    return dtype::bf16;
  else if constexpr (std::is_same_v<U, f16>)
    return dtype::f16;
  else if constexpr (std::is_same_v<U, std::int64_t>)
    return dtype::i64;
  else if constexpr (std::is_same_v<U, bool>)
    return dtype::boolean;
  else {
    static_assert(std::is_same_v<U, std::uint8_t>, "not an element type of rapt");
    return dtype::u8;
  }
}();

/// Activations: what a module computes on.
template <class T>
concept activation = std::is_same_v<T, double> || std::is_same_v<T, float> || std::is_same_v<T, bf16> || std::is_same_v<T, f16>;

/// The type that products are summed in: double for double, float for everything else.
constexpr dtype accumulator_of(dtype activations) { return activations == dtype::f64 ? dtype::f64 : dtype::f32; }
template <activation T>
using accumulator_t = std::conditional_t<std::is_same_v<T, double>, double, float>;

}  // namespace v0
}  // namespace rapt
