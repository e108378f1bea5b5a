// Reads and writes safetensors files. Files of others are read as the format's reference implementation reads them, except where that is dangerous
// (said at open); files that carry rapt's own metadata are held to checksums and alignment too.
#pragma once
#include <rapt/core/tensor_view.hpp>
#include <rapt/state/progress.hpp>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rapt {
inline namespace v0 {
namespace detail {
class byte_sink;
class progress_report;
}  // namespace detail

namespace safetensors {

constexpr int max_rank = 8;

/// One tensor of an open file: contiguous, row-major, little-endian. Valid as long as the file, or a copy of it, is.
struct RAPT_API tensor {
  std::string_view name;
  std::string_view type_name;  ///< as in the file: "F32"
  std::optional<dtype> type;   ///< empty: a type that rapt does not compute with (I32, F8_E4M3, ...); the bytes can still be had
  index_t extents[max_rank] = {};
  int rank = 0;
  std::span<const std::byte> bytes;  ///< begins anywhere: a file may place elements at any byte

  std::span<const index_t> shape() const { return {extents, static_cast<std::size_t>(rank)}; }
  /// "F32 [3, 64]"
  std::string describe() const;

  /// The elements where they lie. Throws shape_error where dtype or rank differ or the elements are not aligned for T (then copy).
  template <class T, int Rank>
  tensor_view<const T, Rank> view() const {
    require(dtype_of<T>, Rank, alignof(T));
    typename tensor_view<const T, Rank>::extents_type shape{};
    for (int i = 0; i < Rank; ++i) shape[static_cast<std::size_t>(i)] = extents[i];
    return {reinterpret_cast<const T*>(bytes.data()), shape};
  }
  /// A copy of the elements, wherever they lie. Throws shape_error where the dtype differs.
  template <class T>
  std::vector<T> copy() const {
    static_assert(!std::is_same_v<T, bool>, "std::vector<bool> holds no elements; copy bytes");
    require(dtype_of<T>, rank, 1);
    std::vector<T> elements(bytes.size() / sizeof(T));
    if (!elements.empty()) std::memcpy(elements.data(), bytes.data(), bytes.size());
    return elements;
  }

 private:
  void require(dtype wanted, int wanted_rank, std::size_t alignment) const;
};

/// An open file: its tensors in the order of their data, and its metadata in the order of the keys. Copies share the bytes.
class RAPT_API file {
 public:
  index_t size() const;
  tensor operator[](index_t idx) const;
  /// Throws format_error naming the tensor that is missing.
  tensor at(std::string_view name) const;
  std::optional<tensor> find(std::string_view name) const;
  bool contains(std::string_view name) const { return find(name).has_value(); }

  index_t num_metadata() const;
  std::pair<std::string_view, std::string_view> metadata(index_t idx) const;
  std::optional<std::string_view> find_metadata(std::string_view key) const;

  /// True for rapt's own files: those with the metadata key rapt.format.
  bool is_rapt_state() const;
  /// The path, or "(bytes)".
  const std::string& source() const;

  class iterator {
   public:
    using value_type = tensor;
    using difference_type = index_t;
    tensor operator*() const { return (*of_)[idx_]; }
    iterator& operator++() { return ++idx_, *this; }
    friend bool operator==(const iterator&, const iterator&) = default;

   private:
    friend class file;
    iterator(const file* of, index_t idx) : of_(of), idx_(idx) {}
    const file* of_;
    index_t idx_;
  };
  iterator begin() const { return {this, 0}; }
  iterator end() const { return {this, size()}; }

  struct impl;
  explicit file(std::shared_ptr<const impl> contents) : impl_(std::move(contents)) {}

 private:
  const impl& contents() const;
  std::shared_ptr<const impl> impl_;
};

struct open_options {
  /// Maps the file instead of reading it. Somebody who shortens the file in place while it is mapped ends the process (SIGBUS).
  bool mmap = false;
  /// While data are read, or the checksums of a mapped file of rapt are.
  progress_function on_progress = {};
};

/// Opens a regular file. Beyond what the reference implementation refuses, format_error for: white space before the header, duplicate names and
/// keys, a tensor described by an array, elements of less than a byte, rank above 8, extents whose product without the zeros exceeds 2^63 - 1, and
/// more than 1,000,000 tensors or metadata entries. Metadata keys that begin with "rapt." or "xxh3." are rapt's own: such a file must be whole and
/// unchanged, else format_error, checksum_error or version_error. io_error where the system refuses or the path is no regular file.
RAPT_API file open(const std::string& path, const open_options& options = {});
/// The same for a file in memory. Tensors point into `bytes`, which must outlive the file.
RAPT_API file parse(std::span<const std::byte> bytes);

/// NaN and infinities are data and are loaded; this names the first one, in the order of the file. Nothing where all floating elements are finite.
RAPT_API failure validate_finite(const file& all);

/// Gathers tensors and metadata and writes them as a state file of rapt: tensors sorted by name, each on a 64-byte boundary (behind zeros in tensors
/// named pad.0, pad.1, ...), with checksums. The same contents give the same bytes. Every reader of safetensors can open the result.
class RAPT_API writer {
 public:
  using fill_function = std::function<void(std::span<std::byte> to)>;
  using row_function = std::function<void(index_t first, std::span<std::byte> to)>;

  /// `bytes` must stay until the file is written. Throws config_error for a name that is taken or reserved, shape_error for a wrong size.
  writer& add(std::string name, dtype type, std::vector<index_t> shape, std::span<const std::byte> bytes);
  /// `fill` writes the elements when the file is written, once per writing.
  writer& add(std::string name, dtype type, std::vector<index_t> shape, fill_function fill);
  /// `fill` writes rows `first`.. of the first extent, as many as `to` is long for: all rows in order, some at a time, once per writing, so that the
  /// tensor is never in memory whole. Throws shape_error where there is no first extent.
  writer& add_rows(std::string name, dtype type, std::vector<index_t> shape, row_function fill);
  /// Throws config_error for a key that is taken or that the writer itself sets.
  writer& add_metadata(std::string key, std::string value);

  /// Fill functions and on_progress are called on the caller's thread; what they throw passes through, and nothing is written then.
  std::vector<std::byte> to_bytes(const save_options& options = {}) const;
  /// Replaces the file at once and durably: a reader, or a crash, sees the old file or the new one. Where path is a symbolic link the file it points
  /// to is replaced. Throws io_error and leaves the old file as it was; where only the directory could not be flushed the message says so.
  void to_file(const std::string& path, const save_options& options = {}) const;

 private:
  struct entry {
    dtype type;
    std::vector<index_t> shape;
    std::uint64_t num_bytes;
    std::span<const std::byte> bytes;
    fill_function fill;
    row_function fill_rows;
  };
  struct layout;
  layout place() const;
  void write_data(layout& all, detail::byte_sink& to, detail::progress_report& report) const;
  void add(std::string name, entry tensor);
  std::map<std::string, entry, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> metadata_;
};

}  // namespace safetensors
}  // namespace v0
}  // namespace rapt
