// By integer arithmetic alone: a NaN or an infinity has an exponent of ones.
#include <rapt/state/safetensors.hpp>

#include <state/header.hpp>

namespace rapt {
inline namespace v0 {
namespace safetensors {
namespace {

template <class Bits>
std::optional<std::size_t> first_not_finite(std::span<const std::byte> bytes, Bits exponent) {
  for (std::size_t i = 0; i < bytes.size() / sizeof(Bits); ++i) {
    Bits element;
    std::memcpy(&element, bytes.data() + i * sizeof element, sizeof element);
    if ((element & exponent) == exponent) return i;
  }
  return std::nullopt;
}

std::optional<std::size_t> first_not_finite(const tensor& t) {
  if (t.type == dtype::f64) return first_not_finite<std::uint64_t>(t.bytes, 0x7ff0000000000000u);
  if (t.type == dtype::f32) return first_not_finite<std::uint32_t>(t.bytes, 0x7f800000u);
  if (t.type == dtype::bf16) return first_not_finite<std::uint16_t>(t.bytes, 0x7f80u);
  if (t.type == dtype::f16) return first_not_finite<std::uint16_t>(t.bytes, 0x7c00u);
  return std::nullopt;
}

}  // namespace

failure validate_finite(const file& all) {
  for (const tensor& t : all)
    if (const std::optional<std::size_t> idx = first_not_finite(t))
      return {errc::format,
              all.source() + ": tensor " + in_quotes(t.name) + ": element " + std::to_string(*idx) + " of " + t.describe() + " is NaN or infinite"};
  return {};
}

}  // namespace safetensors
}  // namespace v0
}  // namespace rapt
