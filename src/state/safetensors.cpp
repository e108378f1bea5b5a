#include <state/staged_file.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {
namespace safetensors {

std::string tensor::describe() const {
  std::string text = std::string(type_name) + " [";
  for (int i = 0; i < rank; ++i) text += (i > 0 ? ", " : "") + std::to_string(extents[i]);
  return text + "]";
}

void tensor::require(dtype wanted, int wanted_rank, std::size_t alignment) const {
  if (type != wanted || rank != wanted_rank)
    raise(errc::shape, "safetensors: tensor " + in_quotes(name) + " is " + describe() + "; " + std::string(name_in_file(wanted)) + " of rank " +
                           std::to_string(wanted_rank) + " was asked for");
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignment != 0)
    raise(errc::shape, "safetensors: tensor " + in_quotes(name) + " is not aligned for its " + std::string(type_name) + " elements; copy() works");
}

tensor file::impl::get(const header_tensor& entry) const {
  tensor result;
  result.name = entry.name;
  result.type_name = entry.type->name;
  result.type = entry.type->type;
  std::copy(std::begin(entry.extents), std::end(entry.extents), result.extents);
  result.rank = entry.rank;
  result.bytes = {data + entry.begin, static_cast<std::size_t>(entry.end - entry.begin)};
  return result;
}

const file::impl& file::contents() const {
  if (!impl_) raise(errc::state, "safetensors::file: used after it was moved from");
  return *impl_;
}

index_t file::size() const { return static_cast<index_t>(contents().index.num_tensors()); }

tensor file::operator[](index_t idx) const {
  const impl& all = contents();
  if (idx < 0 || idx >= size()) raise(errc::range, "safetensors::file: tensor " + std::to_string(idx) + " of " + std::to_string(size()));
  return all.get(all.index.tensor(static_cast<std::size_t>(idx)));
}

std::optional<tensor> file::find(std::string_view name) const {
  const std::optional<header_tensor> found = contents().index.find(name);
  return found ? std::optional(contents().get(*found)) : std::nullopt;
}

tensor file::at(std::string_view name) const {
  if (const std::optional<tensor> found = find(name)) return *found;
  raise(errc::format, source() + ": no tensor " + in_quotes(name));
}

index_t file::num_metadata() const { return static_cast<index_t>(contents().index.num_metadata()); }

std::pair<std::string_view, std::string_view> file::metadata(index_t idx) const {
  if (idx < 0 || idx >= num_metadata())
    raise(errc::range, "safetensors::file: metadata entry " + std::to_string(idx) + " of " + std::to_string(num_metadata()));
  return contents().index.metadata(static_cast<std::size_t>(idx));
}

std::optional<std::string_view> file::find_metadata(std::string_view key) const { return contents().index.find_metadata(key); }
bool file::is_rapt_state() const { return contents().ours; }
const std::string& file::source() const { return contents().source; }

staged_file::staged_file(const std::string& where, const std::string& path)
    : source_(path), where_(where + path + ": "), input_(path), index_(read_header()) {}

staged_file::staged_file(const std::string& where, std::span<const std::byte> bytes)
    : source_("(bytes)"), where_(where + source_ + ": "), bytes_(bytes), index_(read_header()) {}

header staged_file::read_header() {
  const std::uint64_t file_bytes = input_ ? input_->bytes() : bytes_.size();
  std::byte length[length_bytes];
  if (input_ && file_bytes >= length_bytes) input_->read(0, length);
  data_begin_ = length_bytes + header_length(input_ ? std::span<const std::byte>(length) : bytes_, file_bytes, where_);

  buffer owned;
  std::span<const std::byte> head = input_ ? std::span<const std::byte>() : bytes_.first(static_cast<std::size_t>(data_begin_));
  if (input_) {
    owned = detail::allocate_aligned(static_cast<std::size_t>(data_begin_));
    input_->read(0, {owned.data(), owned.bytes()});
    head = {owned.data(), owned.bytes()};
  }
  header index(head.subspan(length_bytes), where_);
  const std::uint64_t data_bytes = file_bytes - data_begin_;
  if (index.data_bytes() != data_bytes)
    raise(errc::format, where_ + (data_bytes < index.data_bytes() ? "truncated: " : "bytes after the last tensor: ") + "the tensors need " +
                            std::to_string(index.data_bytes()) + " bytes, the file has " + std::to_string(data_bytes));
  ours_ = check_header_rules(index, head, where_);
  return index;
}

namespace {

/// Gives the data to `take` in pieces, in order: of a file as read_ahead reads it, of memory where it lies.
template <class Take>
void for_each_piece(const std::optional<detail::input_file>& input, std::span<const std::byte> memory, std::uint64_t begin, std::byte* target,
                    const std::string& where, const progress_function& on_progress, Take take) {
  const std::uint64_t end = input ? input->bytes() : memory.size();
  detail::progress_report report(on_progress, where, end);
  std::uint64_t at = begin;
  const auto pass = [&](std::span<const std::byte> piece) {
    take(piece);
    at += piece.size();
    report.at(at);
  };
  if (input) {
    detail::read_ahead ahead(*input, begin, end, target);
    for (std::span<const std::byte> piece = ahead.next(); !piece.empty(); piece = ahead.next()) pass(piece);
  } else {
    const std::size_t most = detail::sizes_of_streams().piece_bytes;
    for (std::span<const std::byte> rest = memory.subspan(static_cast<std::size_t>(begin)); !rest.empty();
         rest = rest.subspan(std::min(most, rest.size())))
      pass(rest.first(std::min(most, rest.size())));
  }
  report.at_end();
}

}  // namespace

file staged_file::finish(access how, const progress_function& on_progress) && {
  auto contents = std::make_shared<file::impl>(file::impl{source_, std::move(index_), ours_, nullptr, {}, {}});
  const std::byte* const in_memory = bytes_.data() + (input_ ? 0 : data_begin_);
  std::span<const std::byte> all = bytes_;
  if (input_ && how == access::map) {
    contents->mapped = input_->map();
    contents->data = contents->mapped.data() + data_begin_;
    all = {contents->mapped.data(), static_cast<std::size_t>(input_->bytes())};
  } else if (input_ || (how == access::aligned && reinterpret_cast<std::uintptr_t>(in_memory) % 8 != 0)) {
    contents->owned = detail::allocate_aligned(static_cast<std::size_t>(contents->index.data_bytes()));
    contents->data = contents->owned.data();
    if (!input_) std::copy_n(in_memory, contents->owned.bytes(), contents->owned.data());
  } else {
    contents->data = in_memory;
  }
  std::optional<data_check> check;
  if (ours_) check.emplace(contents->index, where_);
  const std::optional<detail::input_file> none;
  for_each_piece(contents->mapped.data() ? none : input_, all, data_begin_, contents->owned.data(), where_, on_progress,
                 [&](std::span<const std::byte> piece) {
                   if (check) check->add(piece, nullptr);
                 });
  return file(std::move(contents));
}

void staged_file::stream(const take_function& take, const progress_function& on_progress) const {
  data_check check(index_, where_);
  const bool is_aligned = input_ || reinterpret_cast<std::uintptr_t>(bytes_.data() + data_begin_) % 8 == 0;
  buffer aligned;
  std::uint64_t at = 0;
  for_each_piece(input_, bytes_, data_begin_, nullptr, where_, on_progress, [&](std::span<const std::byte> piece) {
    std::span<const std::byte> readable = piece;
    if (!is_aligned) {
      if (aligned.bytes() == 0) aligned = detail::allocate_aligned(piece.size() + file_alignment);  // the first piece is the longest
      std::byte* const copy = aligned.data() + at % file_alignment;
      std::copy(piece.begin(), piece.end(), copy);
      readable = {copy, piece.size()};
    }
    check.add(readable, take);
    at += piece.size();
  });
}

void staged_file::read(const header_tensor& tensor, std::span<std::byte> to) const {
  if (input_)
    input_->read(data_begin_ + tensor.begin, to);
  else
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(data_begin_ + tensor.begin), to.size(), to.begin());
  check_checksum(index_, tensor, detail::xxh3_64({to}), where_);
}

file open(const std::string& path, const open_options& options) {
  using access = staged_file::access;
  return staged_file("safetensors::open: ", path).finish(options.mmap ? access::map : access::read, options.on_progress);
}
file parse(std::span<const std::byte> bytes) { return staged_file("safetensors::parse: ", bytes).finish(); }

}  // namespace safetensors
}  // namespace v0
}  // namespace rapt
