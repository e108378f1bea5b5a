// Which instruction sets the library is compiled for. The first include of every source that uses Highway: its settings only count before
// Highway's own headers.
//
// AVX2, AVX3 and AVX3_DL have FMA hardware. Everything else runs on Highway's portable target (HWY_SCALAR under g++ 12.2, HWY_EMU128 under
// clang), where fused_mul_add takes std::fma lane by lane: slow, and the same bits. SSE4 and SSSE3 would compute MulAdd with two roundings.
#pragma once
#ifdef HIGHWAY_HWY_DETECT_TARGETS_H_
#error "math/targets.hpp has to be included before any Highway header"
#endif

#define HWY_WANT_AVX3_DL
// All but the five named; on other processors too, until their targets have been tested bit by bit.
#define HWY_DISABLED_TARGETS (~(HWY_AVX3_DL | HWY_AVX3 | HWY_AVX2 | HWY_EMU128 | HWY_SCALAR))

/// Whether the target being compiled has fused multiply-add hardware; for #if.
#define RAPT_TARGET_HAS_FMA ((HWY_TARGET & (HWY_AVX3_DL | HWY_AVX3 | HWY_AVX2)) != 0)

/// Stops the build on a target whose bits are unknown (-march=haswell alone makes Highway 1.0.3 choose SSE4). Once per -inl file, inside its toggle.
#define RAPT_EXPECT_KNOWN_TARGET() \
  static_assert(RAPT_TARGET_HAS_FMA || HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR, "an unexpected Highway target")
