#include <state/header.hpp>

#include <algorithm>
#include <tuple>

namespace rapt {
inline namespace v0 {
namespace safetensors {
namespace {

// The order decides nothing; the numbers in arena_ are indices of this table and live in memory only.
constexpr element_type element_types[] = {
    {"F64", 8, dtype::f64},           {"F32", 4, dtype::f32},           {"BF16", 2, dtype::bf16},     {"F16", 2, dtype::f16},
    {"I64", 8, dtype::i64},           {"BOOL", 1, dtype::boolean},      {"U8", 1, dtype::u8},         {"I8", 1, std::nullopt},
    {"I16", 2, std::nullopt},         {"U16", 2, std::nullopt},         {"I32", 4, std::nullopt},     {"U32", 4, std::nullopt},
    {"U64", 8, std::nullopt},         {"F8_E4M3", 1, std::nullopt},     {"F8_E5M2", 1, std::nullopt}, {"F8_E8M0", 1, std::nullopt},
    {"F8_E4M3FNUZ", 1, std::nullopt}, {"F8_E5M2FNUZ", 1, std::nullopt}, {"C64", 8, std::nullopt},
};

std::uint64_t read_number(const std::string& arena, std::size_t& at) {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(arena[at++]);
    value |= static_cast<std::uint64_t>(byte & 127u) << shift;
    if (byte < 128) return value;
  }
}

std::string_view read_text(const std::string& arena, std::size_t& at) {
  const auto length = static_cast<std::size_t>(read_number(arena, at));
  const std::string_view text(arena.data() + at, length);
  at += length;
  return text;
}

/// The bytes that the elements need, or false where extents or bytes exceed 2^63 - 1 in any order of multiplying.
bool bytes_of(const header_tensor& tensor, std::uint64_t& bytes) {
  index_t product = 1;
  bool zero = false;
  for (int i = 0; i < tensor.rank; ++i) {
    if (tensor.extents[i] == 0)
      zero = true;
    else if (!multiply_fits(product, tensor.extents[i], product))
      return false;
  }
  if (!multiply_fits(product, static_cast<index_t>(tensor.type->bytes), product)) return false;
  bytes = zero ? 0 : static_cast<std::uint64_t>(product);
  return true;
}

}  // namespace

const element_type* find_element_type(std::string_view name) {
  for (const element_type& type : element_types)
    if (type.name == name) return &type;
  return nullptr;
}

std::string_view name_in_file(dtype type) {
  for (const element_type& candidate : element_types)
    if (candidate.type == type) return candidate.name;
  return {};
}

std::string in_quotes(std::string_view name) {
  constexpr std::size_t most = 120;
  std::string text = "'";
  for (const char c : name.substr(0, most)) text += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return text + (name.size() > most ? "...'" : "'");
}

std::uint64_t header_length(std::span<const std::byte> first_bytes, std::uint64_t file_bytes, const std::string& where) {
  if (file_bytes < length_bytes)
    raise(errc::format, where + "truncated: " + std::to_string(file_bytes) + " bytes, the length of the header alone takes 8");
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) length |= std::to_integer<std::uint64_t>(first_bytes[i]) << (8 * i);
  if (length > max_header_bytes) raise(errc::format, where + "the header claims " + std::to_string(length) + " bytes; 100000000 is the most");
  if (length > file_bytes - length_bytes)
    raise(errc::format, where + "truncated: the header claims " + std::to_string(length) + " bytes, the file has " +
                            std::to_string(file_bytes - length_bytes) + " after the length");
  if (length == 0) raise(errc::format, where + "the header is empty");
  return length;
}

header_tensor header::decode_tensor(std::uint32_t entry) const {
  std::size_t at = entry;
  header_tensor tensor;
  tensor.name = read_text(arena_, at);
  tensor.type = &element_types[read_number(arena_, at)];
  tensor.rank = static_cast<int>(read_number(arena_, at));
  for (int i = 0; i < tensor.rank; ++i) tensor.extents[i] = static_cast<index_t>(read_number(arena_, at));
  tensor.begin = read_number(arena_, at);
  tensor.end = read_number(arena_, at);
  return tensor;
}

std::pair<std::string_view, std::string_view> header::decode_metadata(std::uint32_t entry) const {
  std::size_t at = entry;
  const std::string_view key = read_text(arena_, at);
  return {key, read_text(arena_, at)};
}

std::optional<header_tensor> header::find(std::string_view name) const {
  const auto found = std::lower_bound(by_name_.begin(), by_name_.end(), name, [this](std::uint32_t entry, std::string_view wanted) {
    std::size_t at = entry;
    return read_text(arena_, at) < wanted;
  });
  if (found == by_name_.end()) return std::nullopt;
  const header_tensor tensor = decode_tensor(*found);
  return tensor.name == name ? std::optional(tensor) : std::nullopt;
}

std::optional<std::string_view> header::find_metadata(std::string_view key) const {
  const auto found = std::lower_bound(metadata_.begin(), metadata_.end(), key,
                                      [this](std::uint32_t entry, std::string_view wanted) { return decode_metadata(entry).first < wanted; });
  if (found == metadata_.end()) return std::nullopt;
  const auto [name, value] = decode_metadata(*found);
  return name == key ? std::optional(value) : std::nullopt;
}

void header::finish(const std::string& where) {
  const auto key = [this](std::uint32_t entry) {
    std::size_t at = entry;
    return read_text(arena_, at);
  };
  const auto sort_unique = [&](std::vector<std::uint32_t>& entries, const char* what) {
    const auto less = [&](std::uint32_t a, std::uint32_t b) { return key(a) < key(b); };
    std::sort(entries.begin(), entries.end(), less);
    const auto twice = std::adjacent_find(entries.begin(), entries.end(), [&](std::uint32_t a, std::uint32_t b) { return key(a) == key(b); });
    if (twice != entries.end()) raise(errc::format, where + what + in_quotes(key(*twice)) + " comes twice");
  };
  sort_unique(metadata_, "metadata key ");
  by_name_ = by_offset_;
  sort_unique(by_name_, "tensor ");

  // Empty tensors may share an offset; their names make the order a function of the contents.
  const auto earlier = [this](std::uint32_t a, std::uint32_t b) {
    const header_tensor left = decode_tensor(a), right = decode_tensor(b);
    return std::tie(left.begin, left.end, left.name) < std::tie(right.begin, right.end, right.name);
  };
  if (!std::is_sorted(by_offset_.begin(), by_offset_.end(), earlier)) std::sort(by_offset_.begin(), by_offset_.end(), earlier);

  std::uint64_t end = 0;
  for (const std::uint32_t entry : by_offset_) {
    const header_tensor tensor = decode_tensor(entry);
    const auto refuse = [&](const std::string& what) { raise(errc::format, where + "tensor " + in_quotes(tensor.name) + ": " + what); };
    if (tensor.begin != end || tensor.end < tensor.begin)
      refuse("data_offsets [" + std::to_string(tensor.begin) + ", " + std::to_string(tensor.end) + "]; its data must begin at byte " +
             std::to_string(end) + ", where the tensor before it ends");
    std::uint64_t bytes = 0;
    if (!bytes_of(tensor, bytes)) refuse("the product of the extents exceeds 2^63 - 1 bytes");
    if (tensor.end - tensor.begin != bytes)
      refuse("data_offsets span " + std::to_string(tensor.end - tensor.begin) + " bytes; dtype and shape need " + std::to_string(bytes));
    end = tensor.end;
  }
  data_bytes_ = end;
}

}  // namespace safetensors
}  // namespace v0
}  // namespace rapt
