// Tensors pass by in pieces: filled or lent, hashed, and on to the file or to memory. What the pieces are changes no byte.
#include <core/flat_json.hpp>
#include <state/staged_file.hpp>

#include <algorithm>
#include <cstring>

namespace rapt {
inline namespace v0 {
namespace safetensors {
namespace {

std::string json_text(std::string_view text) {
  std::string quoted;
  if (!detail::json_string(text, quoted)) raise(errc::config, "safetensors::writer: " + in_quotes(text) + " is not UTF-8");
  return quoted;
}

}  // namespace

/// Where everything goes, and the header with zeros for digits that are known only when the data has been seen.
struct writer::layout {
  std::vector<const std::pair<const std::string, entry>*> order;
  std::vector<std::uint64_t> begins;
  std::vector<std::size_t> digits;  ///< of each tensor's checksum, in head
  std::size_t header_digits = 0;
  std::string head;
  std::uint64_t data_bytes = 0;

  void set_digits(std::size_t at, const std::string& hex) { head.replace(at, hex.size(), hex); }
  void seal() { set_digits(header_digits, header_checksum(std::as_bytes(std::span(head)), header_digits)); }
};

void writer::add(std::string key, entry tensor) {
  const std::string name = "safetensors::writer: tensor " + in_quotes(key);
  if (key == "__metadata__" || key.starts_with(pad_prefix)) raise(errc::config, name + ": the name is reserved");
  if (tensors_.contains(key)) raise(errc::config, name + " is there already");
  if (tensor.shape.size() > max_rank) raise(errc::shape, name + " has rank " + std::to_string(tensor.shape.size()) + "; at most 8 is possible");
  index_t product = size_of(tensor.type);
  bool zero = false;
  for (const index_t extent : tensor.shape) {
    zero |= extent == 0;
    if (extent < 0 || !multiply_fits(product, std::max<index_t>(extent, 1), product))
      raise(errc::shape, name + ": an extent is negative, or the bytes exceed 2^63 - 1");
  }
  tensor.num_bytes = zero ? 0 : static_cast<std::uint64_t>(product);
  if (!tensor.fill && !tensor.fill_rows && tensor.bytes.size() != tensor.num_bytes)
    raise(errc::shape, name + " has " + std::to_string(tensor.bytes.size()) + " bytes; dtype and shape need " + std::to_string(tensor.num_bytes));
  tensors_.emplace(std::move(key), std::move(tensor));
}

writer& writer::add(std::string name, dtype type, std::vector<index_t> shape, std::span<const std::byte> bytes) {
  add(std::move(name), entry{type, std::move(shape), 0, bytes, nullptr, nullptr});
  return *this;
}

writer& writer::add(std::string name, dtype type, std::vector<index_t> shape, fill_function fill) {
  if (!fill) raise(errc::config, "safetensors::writer: tensor " + in_quotes(name) + " has an empty fill function");
  add(std::move(name), entry{type, std::move(shape), 0, {}, std::move(fill), nullptr});
  return *this;
}

writer& writer::add_rows(std::string name, dtype type, std::vector<index_t> shape, row_function fill) {
  if (!fill) raise(errc::config, "safetensors::writer: tensor " + in_quotes(name) + " has an empty fill function");
  if (shape.empty()) raise(errc::shape, "safetensors::writer: tensor " + in_quotes(name) + " has rank 0; rows need an extent");
  add(std::move(name), entry{type, std::move(shape), 0, {}, nullptr, std::move(fill)});
  return *this;
}

writer& writer::add_metadata(std::string key, std::string value) {
  if (key == format_key || key == version_key || key == header_checksum_key || key.starts_with(checksum_prefix))
    raise(errc::config, "safetensors::writer: metadata key " + in_quotes(key) + " is the writer's own");
  if (metadata_.contains(key)) raise(errc::config, "safetensors::writer: metadata key " + in_quotes(key) + " is there already");
  metadata_.emplace(std::move(key), std::move(value));
  return *this;
}

writer::layout writer::place() const {
  if (tensors_.empty()) raise(errc::config, "safetensors::writer: a state without tensors");
  layout all;
  for (const auto& named : tensors_) all.order.push_back(&named);

  std::string tensors;
  std::uint64_t end = 0;
  int num_pads = 0;
  const auto describe = [&](std::string_view name, std::string_view type, const std::string& shape, std::uint64_t bytes) {
    tensors += ',' + json_text(name) + ":{\"dtype\":\"" + std::string(type) + "\",\"shape\":[" + shape + "],\"data_offsets\":[" +
               std::to_string(end) + ',' + std::to_string(end + bytes) + "]}";
    end += bytes;
  };
  for (const auto* named : all.order) {
    const auto& [name, tensor] = *named;
    if (const std::uint64_t pad = -end % file_alignment; pad != 0)
      describe(std::string(pad_prefix) + std::to_string(num_pads++), "U8", std::to_string(pad), pad);
    std::string shape;
    for (const index_t extent : tensor.shape) shape += (shape.empty() ? "" : ",") + std::to_string(extent);
    all.begins.push_back(end);
    describe(name, name_in_file(tensor.type), shape, tensor.num_bytes);
  }
  all.data_bytes = end;
  // What could not be read back is not written.
  const auto require_few = [](std::size_t count, const char* what) {
    if (count > max_entries) raise(errc::capacity, "safetensors::writer: " + std::to_string(count) + what + "; 1000000 are the most");
  };
  require_few(all.order.size() + static_cast<std::size_t>(num_pads), " tensors, padding included");
  require_few(all.order.size() + metadata_.size() + 3, " metadata entries, checksums included");

  // Checksums take part in the order of the keys like any other metadata.
  constexpr std::size_t none = ~std::size_t{0};
  struct key_value {
    std::string key, value;
    std::size_t tensor;
  };
  const std::string zeros(16, '0');
  std::vector<key_value> metadata = {{std::string(format_key), std::string(format_value), none},
                                     {std::string(version_key), std::string(version_value), none},
                                     {std::string(header_checksum_key), zeros, all.order.size()}};
  for (const auto& [key, value] : metadata_) metadata.push_back({key, value, none});
  for (std::size_t i = 0; i < all.order.size(); ++i) metadata.push_back({std::string(checksum_prefix) + all.order[i]->first, zeros, i});
  std::sort(metadata.begin(), metadata.end(), [](const key_value& a, const key_value& b) { return a.key < b.key; });

  all.digits.resize(all.order.size() + 1);
  all.head.assign(length_bytes, '\0');
  all.head += "{\"__metadata__\":{";
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    const auto& [key, value, tensor] = metadata[i];
    all.head += (i > 0 ? "," : "") + json_text(key) + ':' + json_text(value);
    if (tensor != none) all.digits[tensor] = all.head.size() - 1 - zeros.size();
  }
  all.header_digits = all.digits.back();
  all.head += '}' + tensors + '}';
  all.head.append(-all.head.size() % file_alignment, ' ');

  const std::uint64_t length = all.head.size() - length_bytes;
  if (length > max_header_bytes)
    raise(errc::capacity, "safetensors::writer: the header has " + std::to_string(length) + " bytes; 100000000 is the most");
  for (std::size_t i = 0; i < length_bytes; ++i) all.head[i] = static_cast<char>(length >> (8 * i));
  return all;
}

void writer::write_data(layout& all, detail::byte_sink& to, detail::progress_report& report) const {
  static constexpr std::byte zeros[file_alignment] = {};
  const std::size_t most = detail::sizes_of_streams().piece_bytes;
  detail::hasher_64 hash;
  std::vector<std::byte> row;  // one that is longer than a piece, or a tensor that is filled at once
  std::uint64_t at = 0;
  const auto moved = [&](std::size_t bytes) {
    at += bytes;
    report.at(all.head.size() + at);
  };
  const auto lend = [&](std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const std::span<const std::byte> part = bytes.first(std::min(most, bytes.size()));
      hash.add(part);
      to.lend(part);
      moved(part.size());
      bytes = bytes.subspan(part.size());
    }
  };
  const auto copy = [&](std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const std::span<std::byte> room = to.room(1);
      const std::size_t count = std::min(room.size(), bytes.size());
      std::memcpy(room.data(), bytes.data(), count);
      hash.add(bytes.first(count));
      to.advance(count);
      moved(count);
      bytes = bytes.subspan(count);
    }
  };
  // Calls fill(first, to) for rows of row_bytes each.
  const auto fill = [&](std::size_t num_rows, std::size_t row_bytes, auto fill_rows) {
    for (std::size_t first = 0; first < num_rows;) {
      const std::span<std::byte> room = to.room(row_bytes);
      if (room.size() < row_bytes) {
        row.resize(row_bytes);
        fill_rows(first++, std::span(row));
        copy(row);
        continue;
      }
      const std::size_t count = std::min(room.size() / row_bytes, num_rows - first);
      const std::span<std::byte> rows = room.first(count * row_bytes);
      fill_rows(first, rows);
      hash.add(rows);
      to.advance(rows.size());
      moved(rows.size());
      first += count;
    }
  };
  for (std::size_t i = 0; i < all.order.size(); ++i) {
    const entry& tensor = all.order[i]->second;
    const auto bytes = static_cast<std::size_t>(tensor.num_bytes);
    copy({zeros, static_cast<std::size_t>(all.begins[i] - at)});
    hash.digest();
    if (tensor.fill_rows && bytes > 0) {
      const auto num_rows = static_cast<std::size_t>(tensor.shape[0]);
      fill(num_rows, bytes / num_rows, [&](std::size_t first, std::span<std::byte> rows) { tensor.fill_rows(static_cast<index_t>(first), rows); });
    } else if (tensor.fill && bytes > 0) {
      fill(1, bytes, [&](std::size_t, std::span<std::byte> whole) { tensor.fill(whole); });
    } else if (tensor.fill) {
      tensor.fill({});
    } else {
      lend(tensor.bytes);
    }
    all.set_digits(all.digits[i], detail::hex(hash.digest()));
  }
  all.seal();
}

namespace {

/// Memory that is large enough from the start.
class memory_sink final : public detail::byte_sink {
 public:
  explicit memory_sink(std::span<std::byte> to) : to_(to) {}
  std::span<std::byte> room(std::size_t wanted) override {
    return to_.first(std::min(to_.size(), std::max(wanted, detail::sizes_of_streams().piece_bytes)));
  }
  void advance(std::size_t bytes) override { to_ = to_.subspan(bytes); }
  void lend(std::span<const std::byte> bytes) override {
    std::copy(bytes.begin(), bytes.end(), to_.begin());
    advance(bytes.size());
  }

 private:
  std::span<std::byte> to_;
};

}  // namespace

std::vector<std::byte> writer::to_bytes(const save_options& options) const {
  layout all = place();
  std::vector<std::byte> bytes(all.head.size() + all.data_bytes);
  const std::string where = "save_state: (bytes): ";
  detail::progress_report report(options.on_progress, where, bytes.size());
  memory_sink data{std::span(bytes).subspan(all.head.size())};
  write_data(all, data, report);
  std::memcpy(bytes.data(), all.head.data(), all.head.size());
  report.at_end();
  return bytes;
}

void writer::to_file(const std::string& path, const save_options& options) const {
  layout all = place();
  const std::string where = "save_state: " + path + ": ";
  detail::progress_report report(options.on_progress, where, all.head.size() + all.data_bytes);
  detail::replacement file(path, all.head.size() + all.data_bytes);
  {
    detail::write_behind data(file, all.head.size(), all.data_bytes);
    write_data(all, data, report);
    data.finish();
  }
  file.write(0, std::as_bytes(std::span(all.head)));
  report.at_end();
  file.commit();
}

}  // namespace safetensors
}  // namespace v0
}  // namespace rapt
