// The end of a SIMD source, under HWY_ONCE: a function of one instruction set at run time, made of the functions of that name in each target's
// namespace.
#pragma once
#include <cpu/kernels.hpp>
#include <rapt/cpu/context.hpp>

/// Defines `Table name(isa set)` out of `Table name_table()` of each target.
#define RAPT_DISPATCH(Table, name)                  \
  namespace rapt {                                  \
  inline namespace v0 {                             \
  namespace cpu {                                   \
  Table name(isa set) {                             \
    switch (set) {                                  \
      case isa::avx2:                               \
        return N_AVX2::name##_table();              \
      case isa::avx3:                               \
      case isa::avx3_dl:                            \
        return N_AVX3::name##_table();              \
      default:                                      \
        return HWY_STATIC_DISPATCH(name##_table)(); \
    }                                               \
  }                                                 \
  }                                                 \
  }                                                 \
  }
