// Ids of orders of operations. An id fixes the bits of a result, whatever the work was cut into (docs/numerics.md).
#pragma once
#include <rapt/version.hpp>

#include <string_view>

namespace rapt {
inline namespace v0 {
namespace numerics_id {

inline constexpr std::string_view cpu_v1 = "cpu-v1";
/// Products of pairs of bf16 by vdpbf16ps, with bits of its own; needs a CPU with AVX512_BF16. Faster on AMD Zen 4, slower on the one Intel Xeon
/// seen so far (docs/performance.md).
inline constexpr std::string_view cpu_bf16dot_v1 = "cpu-bf16dot-v1";

}  // namespace numerics_id

/// Whether products under this id add pairs of bf16: weights, scaled queries, probabilities and the attended row are then rounded to bf16.
constexpr bool adds_bf16_pairs(std::string_view id) { return id == numerics_id::cpu_bf16dot_v1; }

}  // namespace v0
}  // namespace rapt
