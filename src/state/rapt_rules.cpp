// What a file that carries rapt's metadata promises beyond the format, and the proof of it.
#include <state/staged_file.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {
namespace safetensors {
namespace {

constexpr std::size_t num_digits = 16;

bool is_digits(std::string_view text) {
  return text.size() == num_digits && std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool parse_version(std::string_view text, unsigned& major) {
  const std::size_t dot = text.find('.');
  if (dot == std::string_view::npos || text.size() > 20) return false;
  const auto number = [](std::string_view part) {
    return !part.empty() && part.size() <= 9 && (part.size() == 1 || part[0] != '0') &&
           std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  if (!number(text.substr(0, dot)) || !number(text.substr(dot + 1))) return false;
  major = static_cast<unsigned>(std::stoul(std::string(text.substr(0, dot))));
  return true;
}

void check_version(const header& index, const std::string& where) {
  const std::optional<std::string_view> version = index.find_metadata(version_key);
  unsigned major = 0;
  if (!version || !parse_version(*version, major))
    raise(errc::format, where + "rapt.version is " + (version ? in_quotes(*version) : "missing") + "; a version like '1.0' was needed");
  if (major != 1) raise(errc::version, where + "rapt.version is " + std::string(*version) + "; this library reads 1.x");
  for (std::size_t i = 0; i < index.num_metadata(); ++i)
    if (const auto [key, value] = index.metadata(i); key.starts_with(required_prefix))
      raise(errc::version, where + "the file requires " + in_quotes(key) + ", which this library does not know");
}

void check_tensors(const header& index, const std::string& where) {
  std::uint64_t pads = 0, checksums = 0;
  for (std::size_t i = 0; i < index.num_tensors(); ++i) {
    const header_tensor tensor = index.tensor(i);
    const auto refuse = [&](const std::string& what) { raise(errc::format, where + "tensor " + in_quotes(tensor.name) + ": " + what); };
    if (is_pad(tensor.name)) {
      if (tensor.name != std::string(pad_prefix) + std::to_string(pads++))
        refuse("pads must be numbered in order; pad." + std::to_string(pads - 1) + " was needed");
      if (tensor.type->type != dtype::u8 || tensor.rank != 1) refuse("a pad must be U8 of rank 1");
      if (tensor.end - tensor.begin >= file_alignment) refuse("a pad must be shorter than 64 bytes");
    } else {
      if (tensor.begin % file_alignment != 0) refuse("its data begins at byte " + std::to_string(tensor.begin) + ", which is no multiple of 64");
      const auto digits = index.find_metadata(std::string(checksum_prefix) + std::string(tensor.name));
      if (!digits || !is_digits(*digits)) refuse("its checksum is missing from the metadata, or is not 16 hexadecimal digits");
      ++checksums;
    }
  }
  if (checksums == 0) raise(errc::format, where + "a state without tensors");
  std::uint64_t keys = 0;
  for (std::size_t i = 0; i < index.num_metadata(); ++i) keys += index.metadata(i).first.starts_with(checksum_prefix);
  if (keys != checksums)
    raise(errc::format, where + std::to_string(keys) + " checksums in the metadata for " + std::to_string(checksums) + " tensors");
}

}  // namespace

bool is_pad(std::string_view name) { return name.starts_with(pad_prefix); }

std::size_t find_header_digits(std::span<const std::byte> head) {
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  const std::string pattern = '"' + std::string(header_checksum_key) + "\":\"";
  for (std::size_t at = text.find(pattern, length_bytes); at != std::string_view::npos; at = text.find(pattern, at + 1)) {
    const std::size_t digits = at + pattern.size();
    // Behind a bracket or a comma it is a key; behind anything else it would be text within a name.
    if ((text[at - 1] == '{' || text[at - 1] == ',') && is_digits(text.substr(digits, num_digits))) return digits;
  }
  return std::string_view::npos;
}

std::string header_checksum(std::span<const std::byte> head, std::size_t digits) {
  static constexpr char zeros[num_digits + 1] = "0000000000000000";
  return detail::hex(detail::xxh3_64({head.first(digits), std::as_bytes(std::span(zeros, num_digits)), head.subspan(digits + num_digits)}));
}

bool check_header_rules(const header& index, std::span<const std::byte> head, const std::string& where) {
  const std::optional<std::string_view> format = index.find_metadata(format_key);
  if (!format) {
    for (std::size_t i = 0; i < index.num_metadata(); ++i)
      if (const auto [key, value] = index.metadata(i); key.starts_with("rapt.") || key.starts_with(checksum_prefix))
        raise(errc::format, where + "metadata key " + in_quotes(key) + " without rapt.format: a state of rapt that has been changed");
    return false;
  }
  if (*format != format_value) raise(errc::format, where + "rapt.format is " + in_quotes(*format) + "; 'state' was needed");

  const std::size_t digits = find_header_digits(head);
  const std::optional<std::string_view> claimed = index.find_metadata(header_checksum_key);
  if (digits == std::string_view::npos || !claimed || std::string_view(reinterpret_cast<const char*>(head.data()) + digits, num_digits) != *claimed)
    raise(errc::format, where + "rapt.header_xxh3 is missing, or is not 16 hexadecimal digits");
  if (const std::string found = header_checksum(head, digits); found != *claimed)
    raise(errc::checksum, where + "the header has changed: its checksum is " + found + "; rapt.header_xxh3 says " + std::string(*claimed));

  check_version(index, where);
  if (head.size() % file_alignment != 0)
    raise(errc::format, where + "the data begins at byte " + std::to_string(head.size()) + ", which is no multiple of 64");
  check_tensors(index, where);
  return true;
}

void check_pad(const header_tensor& pad, std::span<const std::byte> bytes, const std::string& where) {
  if (std::any_of(bytes.begin(), bytes.end(), [](std::byte b) { return b != std::byte{}; }))
    raise(errc::format, where + "tensor " + in_quotes(pad.name) + ": a pad must be zero");
}

void check_checksum(const header& index, const header_tensor& tensor, std::uint64_t found, const std::string& where) {
  const std::string_view claimed = *index.find_metadata(std::string(checksum_prefix) + std::string(tensor.name));
  if (detail::hex(found) != claimed)
    raise(errc::checksum, where + "tensor " + in_quotes(tensor.name) + " has changed: its checksum is " + detail::hex(found) + "; the header says " +
                              std::string(claimed));
}

void data_check::next_tensor() {
  // Tensors without bytes have a checksum too.
  for (; number_ < index_.num_tensors(); ++number_) {
    tensor_ = index_.tensor(number_);
    if (tensor_.begin != tensor_.end) return;
    if (!is_pad(tensor_.name)) check_checksum(index_, tensor_, hash_.digest(), where_);
  }
}

void data_check::add(std::span<const std::byte> bytes, const staged_file::take_function& take) {
  while (!bytes.empty()) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(tensor_.end - at_, bytes.size()));
    const std::span<const std::byte> part = bytes.first(count);
    if (is_pad(tensor_.name)) {
      check_pad(tensor_, part, where_);
    } else {
      hash_.add(part);
      if (take) take(tensor_, at_ - tensor_.begin, part);
    }
    bytes = bytes.subspan(count);
    at_ += count;
    if (at_ < tensor_.end) continue;
    if (!is_pad(tensor_.name)) check_checksum(index_, tensor_, hash_.digest(), where_);
    ++number_;
    next_tensor();
  }
}

}  // namespace safetensors
}  // namespace v0
}  // namespace rapt
