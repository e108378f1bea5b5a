// A safetensors file whose header has been read and checked and whose data has not been touched yet: loading compares configs and shapes in between.
// The data is then read whole, or goes by in pieces.
#pragma once
#include <core/hash.hpp>
#include <state/file_stream.hpp>
#include <state/header.hpp>

namespace rapt {
inline namespace v0 {
namespace safetensors {

struct file::impl {
  std::string source;
  header index;
  bool ours = false;
  const std::byte* data = nullptr;
  buffer owned;
  detail::mapping mapped;

  tensor get(const header_tensor& entry) const;
};

class staged_file {
 public:
  /// `where` begins every message: "load_state: ". Throws io_error, format_error, checksum_error, version_error.
  staged_file(const std::string& where, const std::string& path);
  /// The bytes must outlive the file.
  staged_file(const std::string& where, std::span<const std::byte> bytes);

  const header& index() const { return index_; }
  bool is_rapt_state() const { return ours_; }
  /// "load_state: model.safetensors: "
  const std::string& where() const { return where_; }
  enum class access {
    read,
    map,     ///< of a path; else as read
    aligned  ///< as read; bytes in memory that do not begin on 8 bytes are copied to where each element of a state is aligned
  };
  /// Gets the data and verifies what the header says of it.
  file finish(access how = access::read, const progress_function& on_progress = {}) &&;

  /// Part of a tensor, from a byte of it on; elements lie aligned in memory.
  using take_function = std::function<void(const header_tensor& tensor, std::uint64_t first_byte, std::span<const std::byte> bytes)>;
  /// Gives all data, pads left out, in the order of the file, and verifies it. Until this returns nothing that was given may be believed.
  void stream(const take_function& take, const progress_function& on_progress) const;
  /// One tensor of a state alone, verified.
  void read(const header_tensor& tensor, std::span<std::byte> to) const;

 private:
  header read_header();
  std::string source_, where_;
  std::optional<detail::input_file> input_;
  std::span<const std::byte> bytes_;
  std::uint64_t data_begin_ = 0;
  bool ours_ = false;
  header index_;  // last: read_header() sets those above
};

/// The metadata keys and values that make a file one of rapt's.
inline constexpr std::string_view format_key = "rapt.format", format_value = "state", version_key = "rapt.version", version_value = "1.0",
                                  header_checksum_key = "rapt.header_xxh3", checksum_prefix = "xxh3.", required_prefix = "rapt.req.",
                                  pad_prefix = "pad.";
constexpr std::uint64_t file_alignment = 64;

bool is_pad(std::string_view name);
/// True where the header is one of rapt's, and then it satisfies all that the header alone can show. head: the file's first bytes up to the data.
bool check_header_rules(const header& index, std::span<const std::byte> head, const std::string& where);
/// format_error for a pad that is not zero.
void check_pad(const header_tensor& pad, std::span<const std::byte> bytes, const std::string& where);
/// checksum_error where the header has another one.
void check_checksum(const header& index, const header_tensor& tensor, std::uint64_t found, const std::string& where);

/// Checksums of the tensors and zeros of the pads, of data that comes in pieces, in order.
class data_check {
 public:
  data_check(const header& index, const std::string& where) : index_(index), where_(where) { next_tensor(); }
  /// Passes on what belongs to tensors.
  void add(std::span<const std::byte> bytes, const staged_file::take_function& take);

 private:
  void next_tensor();
  const header& index_;
  const std::string& where_;
  detail::hasher_64 hash_;
  std::size_t number_ = 0;
  std::uint64_t at_ = 0;  ///< of the data
  header_tensor tensor_;  ///< that byte at_ belongs to
};
/// XXH3-64 over the length and the header with the digits at `digits` read as zeros.
std::string header_checksum(std::span<const std::byte> head, std::size_t digits);
/// Where the 16 digits of the header's checksum stand in a head that rapt wrote; npos if nowhere.
std::size_t find_header_digits(std::span<const std::byte> head);

}  // namespace safetensors
}  // namespace v0
}  // namespace rapt
