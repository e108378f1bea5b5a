// The one integer type for extents, strides and counts, and the arithmetic on it that can not overflow in silence.
#pragma once
#include <rapt/version.hpp>

#include <cstddef>
#include <cstdint>

namespace rapt {
inline namespace v0 {

/// Extents, strides (in elements), counts and positions.
using index_t = std::int64_t;

/// Keys, or output columns, that lie side by side in packed operands: one AVX-512 vector of floats, two of AVX2.
constexpr index_t lane_group = 16;
/// Keys folded as one softmax state, by index. Part of the numeric contract.
constexpr index_t segment_len = 512;
/// Keys whose segments are merged before the row's total sees them, by index. Part of the numeric contract.
constexpr index_t super_segment_len = 8192;

constexpr index_t ceil_div(index_t n, index_t unit) { return (n + unit - 1) / unit; }
constexpr index_t round_up(index_t n, index_t unit) { return ceil_div(n, unit) * unit; }

/// `product` = a * b; false when that does not fit (product is then unspecified).
constexpr bool multiply_fits(index_t a, index_t b, index_t& product) { return !__builtin_mul_overflow(a, b, &product); }

}  // namespace v0
}  // namespace rapt
