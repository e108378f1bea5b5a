#include <rapt/core/dtype.hpp>

#include <charconv>
#include <cmath>
#include <tools/rapt_state/commands.hpp>
#include <tools/rapt_state/element.hpp>

namespace rapt_state {
namespace {

std::string hex_of(std::span<const std::byte> bytes) {  // most significant byte first
  constexpr char digits[] = "0123456789abcdef";
  std::string text = "0x";
  for (auto b = bytes.rbegin(); b != bytes.rend(); ++b) {
    const auto byte = std::to_integer<unsigned>(*b);
    text += {digits[byte >> 4], digits[byte & 15u]};
  }
  return text;
}

template <class T>
T read(std::span<const std::byte> bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

template <class Float>
std::string float_text(Float value, std::span<const std::byte> bytes) {
  if (std::isnan(value)) return "nan (" + hex_of(bytes) + ")";
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

}  // namespace

std::string printable(std::string_view text) {
  std::string clean(text);
  for (char& c : clean)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return clean;
}

std::size_t element_bytes(const rapt::safetensors::tensor& t) {
  std::size_t count = 1;
  for (const rapt::index_t extent : t.shape()) count *= static_cast<std::size_t>(extent);
  return count == 0 ? 0 : t.bytes.size() / count;
}

std::string element_text(const rapt::safetensors::tensor& t, std::size_t idx) {
  const std::size_t size = element_bytes(t);
  const std::span<const std::byte> bytes = t.bytes.subspan(idx * size, size);
  if (!t.type) return hex_of(bytes);
  switch (*t.type) {
    case rapt::dtype::f64:
      return float_text(read<double>(bytes), bytes);
    case rapt::dtype::f32:
      return float_text(read<float>(bytes), bytes);
    case rapt::dtype::bf16:
      return float_text(static_cast<float>(read<rapt::bf16>(bytes)), bytes);
    case rapt::dtype::f16:
      return float_text(static_cast<float>(read<rapt::f16>(bytes)), bytes);
    case rapt::dtype::i64:
      return std::to_string(read<std::int64_t>(bytes));
    case rapt::dtype::boolean:
    case rapt::dtype::u8:
      return std::to_string(std::to_integer<unsigned>(bytes[0]));
  }
  return hex_of(bytes);
}

std::string index_text(const rapt::safetensors::tensor& t, std::size_t idx) {
  std::string text;
  for (int i = t.rank; i-- > 0;) {
    const auto extent = static_cast<std::size_t>(t.extents[i]);
    text = std::to_string(idx % extent) + (text.empty() ? "" : ", ") + text;
    idx /= extent;
  }
  return "[" + text + "]";
}

}  // namespace rapt_state
