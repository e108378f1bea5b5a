// The header of a safetensors file, read strictly and kept in about its own size: a header may name a million tensors.
#pragma once
#include <rapt/state/safetensors.hpp>

#include <string>

namespace rapt {
inline namespace v0 {
namespace safetensors {

struct element_type {
  std::string_view name;
  std::uint64_t bytes;
  std::optional<dtype> type;  ///< empty: opaque to rapt
};
/// nullptr where the format has no such type of whole bytes.
const element_type* find_element_type(std::string_view name);
std::string_view name_in_file(dtype type);

constexpr std::uint64_t length_bytes = 8;
constexpr std::uint64_t max_header_bytes = 100'000'000;
constexpr std::uint64_t max_entries = 1'000'000;
constexpr std::size_t max_depth = 127;  // the reference implementation's

struct header_tensor {
  std::string_view name;
  const element_type* type = nullptr;
  index_t extents[max_rank] = {};
  int rank = 0;
  std::uint64_t begin = 0, end = 0;  ///< relative to the data
};

/// What a header says, checked as far as the header alone allows: offsets are contiguous from 0 and fit dtypes and shapes; no name comes twice.
class header {
 public:
  /// Throws format_error, beginning with `where`. Keeps nothing of `text`.
  header(std::span<const std::byte> text, const std::string& where);

  std::size_t num_tensors() const { return by_offset_.size(); }
  header_tensor tensor(std::size_t idx) const { return decode_tensor(by_offset_[idx]); }
  std::optional<header_tensor> find(std::string_view name) const;

  std::size_t num_metadata() const { return metadata_.size(); }
  std::pair<std::string_view, std::string_view> metadata(std::size_t idx) const { return decode_metadata(metadata_[idx]); }
  std::optional<std::string_view> find_metadata(std::string_view key) const;

  std::uint64_t data_bytes() const { return data_bytes_; }

 private:
  class reader;
  header_tensor decode_tensor(std::uint32_t at) const;
  std::pair<std::string_view, std::string_view> decode_metadata(std::uint32_t at) const;
  void finish(const std::string& where);

  // Each entry lies in arena_ as lengths and numbers of 7 bits a byte beside the text, so never longer than in the JSON; 32 bits address it, since a
  // header has at most 10^8 bytes.
  std::string arena_;
  std::vector<std::uint32_t> by_offset_, by_name_, metadata_;
  std::uint64_t data_bytes_ = 0;
};

/// A name for messages: quoted, shortened, without control characters.
std::string in_quotes(std::string_view name);
/// The header's length from the first bytes of a file of file_bytes bytes, at least one of the header's bytes guaranteed. Throws format_error.
std::uint64_t header_length(std::span<const std::byte> first_bytes, std::uint64_t file_bytes, const std::string& where);

}  // namespace safetensors
}  // namespace v0
}  // namespace rapt
