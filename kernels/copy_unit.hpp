// What a thread copies at once: as many bytes, up to 16, as addresses and lengths allow.
#pragma once
#include <cstdint>
#include <type_traits>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// By words, because nvcc takes one of bytes apart.
template <int Bytes>
struct alignas(Bytes) [[gnu::may_alias]] copy_unit {
  using word = std::conditional_t<Bytes == 1, std::uint8_t, std::conditional_t<Bytes == 2, std::uint16_t, std::uint32_t>>;
  word words[Bytes / sizeof(word)];
};

/// Calls f(unit) with the largest unit that divides all of `common`: addresses and lengths, or-ed.
template <class F>
void with_copy_unit(std::uint64_t common, F f) {
  if (common % 16 == 0)
    f(copy_unit<16>{});
  else if (common % 8 == 0)
    f(copy_unit<8>{});
  else if (common % 4 == 0)
    f(copy_unit<4>{});
  else if (common % 2 == 0)
    f(copy_unit<2>{});
  else
    f(copy_unit<1>{});
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
