// The instruction sets that the kernels are compiled for. First include of every SIMD source of this room, before anything of Highway.
//
// AVX3_DL is a choice at run time, but has no code of its own: what it adds (VNNI, BITALG, VBMI2) is integer work that no kernel here does, and a
// fourth copy would cost a third more compile time. A context made for it runs the AVX3 kernels.
#pragma once
#include <math/targets.hpp>

#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (~(HWY_AVX3 | HWY_AVX2 | HWY_EMU128 | HWY_SCALAR))
