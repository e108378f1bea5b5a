// Arithmetic of one thread: what IEEE 754 defines is the same bits on both sides, exp2_approx is not.
#pragma once
#include <kernels/simt/simt.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace rapt {
inline namespace v0 {
namespace simt {

constexpr float infinity = std::numeric_limits<float>::infinity();

RAPT_DEVICE std::uint32_t bits_of(float x) {
#ifdef __CUDACC__
  return __float_as_uint(x);
#else
  return std::bit_cast<std::uint32_t>(x);
#endif
}
RAPT_DEVICE std::uint64_t bits_of(double x) {
#ifdef __CUDACC__
  return static_cast<std::uint64_t>(__double_as_longlong(x));
#else
  return std::bit_cast<std::uint64_t>(x);
#endif
}
RAPT_DEVICE float float_of(std::uint32_t bits) {
#ifdef __CUDACC__
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}

RAPT_DEVICE double double_of(std::uint64_t bits) {
#ifdef __CUDACC__
  return __longlong_as_double(static_cast<long long>(bits));
#else
  return std::bit_cast<double>(bits);
#endif
}

#ifndef __CUDACC__
namespace emulator {
/// Arithmetic on a device gives one NaN, whatever its operands' payload.
inline float with_device_nan(float x) { return x != x ? float_of(0x7fffffffu) : x; }
}  // namespace emulator
#endif

RAPT_DEVICE float fma(float a, float b, float c) {
#ifdef __CUDACC__
  return __fmaf_rn(a, b, c);
#else
  return emulator::with_device_nan(std::fma(a, b, c));
#endif
}
RAPT_DEVICE double fma(double a, double b, double c) {
#ifdef __CUDACC__
  return __fma_rn(a, b, c);
#else
  return std::fma(a, b, c);
#endif
}
RAPT_DEVICE float reciprocal(float x) {
#ifdef __CUDACC__
  return __frcp_rn(x);
#else
  return emulator::with_device_nan(1.0f / x);
#endif
}

RAPT_DEVICE float divide(float a, float b) {
#ifdef __CUDACC__
  return __fdiv_rn(a, b);
#else
  return emulator::with_device_nan(a / b);
#endif
}
RAPT_DEVICE double divide(double a, double b) {
#ifdef __CUDACC__
  return __ddiv_rn(a, b);
#else
  return a / b;
#endif
}
RAPT_DEVICE float square_root(float x) {
#ifdef __CUDACC__
  return __fsqrt_rn(x);
#else
  return emulator::with_device_nan(std::sqrt(x));
#endif
}

RAPT_DEVICE double square_root(double x) {
#ifdef __CUDACC__
  return __dsqrt_rn(x);
#else
  return std::sqrt(x);
#endif
}

/// The larger one, +0 of two zeros; NaN where either is.
RAPT_DEVICE float max_or_nan(float a, float b) {
#ifdef __CUDACC__
  float m;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(m) : "f"(a), "f"(b));
  return m;
#else
  if (a != a || b != b) return emulator::with_device_nan(a + b);
  return a > b || (a == b && !std::signbit(a)) ? a : b;
#endif
}

/// 2^x within 2 ulp; exactly 1 for 0 and 0 for -inf. Subnormal arguments and results are zeros of their sign. The host's is the nearest float.
RAPT_DEVICE float exp2_approx(float x) {
#ifdef __CUDACC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  const auto y = static_cast<float>(std::exp2(static_cast<double>(x)));
  return y < std::numeric_limits<float>::min() ? 0.0f : emulator::with_device_nan(y);
#endif
}

/// (1 - t) / (1 + t) with t = exp2_approx(-2 log2 e |x|), and the sign of x: tanh x within 2^-22, absolutely.
RAPT_DEVICE float tanh_approx(float x) {
  const float t = exp2_approx(-2.88539008177792681472f * (x < 0 ? -x : x));
  const float magnitude = (1.0f - t) * reciprocal(1.0f + t);
  return x < 0 ? -magnitude : magnitude;
}

/// log x in double, of a float.
RAPT_DEVICE double log_of(float x) { return ::log(static_cast<double>(x)); }

/// Two floats rounded to nearest even, the first in the lower half. NaN becomes the device's, 0x7fff.
template <class T>
RAPT_DEVICE std::uint32_t round_pair(float low, float high) {
#ifdef __CUDACC__
  std::uint32_t pair;
  if constexpr (std::is_same_v<T, f16>)
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  const auto rounded = [](float x) { return std::uint32_t{x != x ? std::uint16_t{0x7fff} : T(x).bits}; };
  return rounded(low) | rounded(high) << 16;
#endif
}

/// `zeros`, two halves, with NaN where an element of the pair is not finite, or where there is one already: zeros + 0 * pair.
template <class T>
RAPT_DEVICE std::uint32_t nan_where_not_finite(std::uint32_t pair, std::uint32_t zeros) {
#ifdef __CUDACC__
  std::uint32_t sum;
  if constexpr (std::is_same_v<T, f16>)
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(pair), "r"(0), "r"(zeros));
  else
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(pair), "r"(0), "r"(zeros));
  return sum;
#else
  constexpr std::uint32_t exponent = std::is_same_v<T, f16> ? 0x7c00u : 0x7f80u;
  const auto half = [&](std::uint32_t x, std::uint32_t sum) {
    return (x & exponent) == exponent || (sum & exponent) == exponent ? std::uint32_t{0x7fff} : std::uint32_t{0};
  };
  return half(pair & 0xffffu, zeros & 0xffffu) | half(pair >> 16, zeros >> 16) << 16;
#endif
}

/// The smaller ones of signed 16-bit numbers, two in a word.
RAPT_DEVICE std::uint32_t min_of_halves(std::uint32_t a, std::uint32_t b) {
#ifdef __CUDACC__
  return __vmins2(a, b);
#else
  const auto smaller = [](std::uint32_t x, std::uint32_t y) {
    return std::uint32_t{static_cast<std::uint16_t>(std::min(static_cast<std::int16_t>(x), static_cast<std::int16_t>(y)))};
  };
  return smaller(a & 0xffffu, b & 0xffffu) | smaller(a >> 16, b >> 16) << 16;
#endif
}

/// An element of 16 bits as a float; exact. A NaN of f16 becomes the device's, one of bf16 keeps its bits.
template <class T>
RAPT_DEVICE float widen(std::uint16_t bits) {
#ifdef __CUDACC__
  if constexpr (std::is_same_v<T, f16>) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
  } else {
    return float_of(static_cast<std::uint32_t>(bits) << 16);
  }
#else
  T x;
  x.bits = bits;
  return std::is_same_v<T, f16> ? emulator::with_device_nan(static_cast<float>(x)) : static_cast<float>(x);
#endif
}

}  // namespace simt
}  // namespace v0
}  // namespace rapt
