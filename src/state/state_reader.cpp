// A state file taken apart: everything that its header shows is compared before its data is read.
#include <rapt/attention/config_json.hpp>
#include <rapt/state/save_load.hpp>

#include <algorithm>
#include <charconv>
#include <set>

#include <state/staged_file.hpp>
#include <state/state_names.hpp>

namespace rapt {
inline namespace v0 {
namespace detail {
namespace {

using safetensors::header;
using safetensors::header_tensor;
using safetensors::in_quotes;

safetensors::staged_file stage(const state_source& from) {
  return from.is_path() ? safetensors::staged_file("load_state: ", from.path()) : safetensors::staged_file("load_state: ", from.bytes());
}

/// "12" of "12.k", which becomes "k"; false where there is no number without leading zeros and a dot.
bool take_number(std::string_view& text, index_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto digits = static_cast<std::size_t>(end - text.data());
  if (error != std::errc() || number < 0 || digits == text.size() || text[digits] != '.' || (digits > 1 && text[0] == '0')) return false;
  text.remove_prefix(digits + 1);
  return true;
}
bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

}  // namespace

struct state_reader::contents {
  explicit contents(const state_source& from) : staged(stage(from)) {}

  safetensors::staged_file staged;
  std::optional<safetensors::file> file;  ///< from read() on
  attention_config config;
  std::string numerics;
  bool has_weights = false;
  index_t num_layers = 0;
  std::vector<index_t> kv_lens;  ///< per sequence

  std::string where() const { return staged.where(); }
  const header& index() const { return staged.index(); }
  [[noreturn]] void refuse(const std::string& what) const { raise(errc::format, where() + what); }

  void read_config();
  void take_inventory();
  header_tensor require(const std::string& name) const {
    const std::optional<header_tensor> found = index().find(name);
    if (!found) refuse("tensor " + in_quotes(name) + " is missing");
    return *found;
  }
  void require_kv(const header_tensor& tensor, std::initializer_list<index_t> shape) const;
  void require_i64(const header_tensor& tensor) const;
};

void state_reader::contents::read_config() {
  const std::optional<std::string_view> text = index().find_metadata(config_key);
  if (!text) refuse("metadata key 'rapt.config' is missing");
  try {
    const attention_config parsed = config_from_json(*text);
    config = resolve(parsed);
    if (!config.kv_dtype) refuse("rapt.config has no kv_dtype");
  } catch (const config_error& e) { refuse(std::string("rapt.config: ") + e.what()); } catch (const format_error& e) {
    refuse(std::string("rapt.config: ") + e.what());
  }
  const std::optional<std::string_view> id = index().find_metadata(numerics_key);
  if (!id || id->empty()) refuse("metadata key 'rapt.numerics' is missing");
  numerics = *id;
}

void state_reader::contents::require_kv(const header_tensor& t, std::initializer_list<index_t> shape) const {
  if (t.type->type != *config.kv_dtype)
    raise(errc::config, where() + "tensor " + in_quotes(t.name) + ": dtype " + std::string(t.type->name) + "; config.kv_dtype is " +
                            std::string(name_of(*config.kv_dtype)));
  if (!std::equal(shape.begin(), shape.end(), t.extents, t.extents + t.rank)) {
    std::string came, needed;
    for (int i = 0; i < t.rank; ++i) came += (i > 0 ? ", " : "") + std::to_string(t.extents[i]);
    for (const index_t extent : shape) needed += (needed.empty() ? "" : ", ") + std::to_string(extent);
    refuse("tensor " + in_quotes(t.name) + " has shape [" + came + "]; [" + needed + "] is needed");
  }
}

void state_reader::contents::require_i64(const header_tensor& t) const {
  if (t.type->type != dtype::i64 || t.rank != 1) refuse("tensor " + in_quotes(t.name) + " must be I64 of rank 1");
}

/// Sorts the tensors by what they are for: a name that is for nothing, and a gap, are format errors.
void state_reader::contents::take_inventory() {
  std::set<std::string> wanted_groups;
  const auto most = static_cast<index_t>(index().num_tensors());  // a number above it means that one below is missing
  index_t num_sequences = 0;
  for (std::size_t i = 0; i < index().num_tensors(); ++i) {
    const std::string_view name = index().tensor(i).name;
    std::string_view rest = name;
    index_t layer = -1, sequence = -1;
    bool known = rest.starts_with(safetensors::pad_prefix);
    if (take(rest, weights_prefix)) {
      known = std::find(std::begin(weight_names), std::end(weight_names), rest) != std::end(weight_names);
      has_weights = true;
    } else if (rest == "static.k" || rest == "static.v" || rest == "projected.k" || rest == "projected.v") {
      wanted_groups.emplace(rest.substr(0, rest.find('.')));
      known = true;
    } else if (take(rest, "cache.")) {
      known = take_number(rest, sequence) && (rest == "positions" || rest == "first_index");
    } else if (take(rest, "layers.")) {
      known = take_number(rest, layer) && take(rest, "cache.") && take_number(rest, sequence) && (rest == "k" || rest == "v");
    }
    if (!known || layer >= most || sequence >= most) refuse("tensor " + in_quotes(name) + " is no part of a state");
    num_sequences = std::max(num_sequences, sequence + 1);
    num_layers = std::max(num_layers, layer + 1);
  }
  for (const std::string& group : wanted_groups) {
    const header_tensor k = require(group + ".k"), v = require(group + ".v");
    const index_t heads = k.rank == 4 && k.extents[2] == 1 ? 1 : config.num_kv_heads;
    require_kv(k, {k.rank == 4 ? k.extents[0] : 0, k.rank == 4 ? k.extents[1] : 0, heads, config.head_dim});
    require_kv(v, {k.extents[0], k.extents[1], heads, config.value_dim});
  }
  if (num_sequences > 0 && num_layers == 0) refuse("tensor " + in_quotes(layer_name(0, 0, "k")) + " is missing");
  for (index_t s = 0; s < num_sequences; ++s) {
    const header_tensor positions = require(positions_name(s)), first = require(first_index_name(s));
    require_i64(positions);
    require_i64(first);
    if (first.extents[0] != 1) refuse("tensor " + in_quotes(first.name) + " has " + std::to_string(first.extents[0]) + " elements; 1 is needed");
    kv_lens.push_back(positions.extents[0]);
    for (index_t l = 0; l < num_layers; ++l) {
      require_kv(require(layer_name(l, s, "k")), {kv_lens.back(), config.num_kv_heads, config.head_dim});
      require_kv(require(layer_name(l, s, "v")), {kv_lens.back(), config.num_kv_heads, config.value_dim});
    }
  }
}

state_reader::state_reader(const state_source& from) : contents_(std::make_unique<contents>(from)) {
  if (!contents_->staged.is_rapt_state()) contents_->refuse("no state of rapt: metadata key 'rapt.format' is missing");
  contents_->read_config();
  contents_->take_inventory();
}
state_reader::state_reader(state_reader&&) noexcept = default;
state_reader::~state_reader() = default;

const attention_config& state_reader::config() const { return contents_->config; }
const std::string& state_reader::numerics() const { return contents_->numerics; }
const std::string& state_reader::where() const { return contents_->staged.where(); }
bool state_reader::has_weights() const { return contents_->has_weights; }
index_t state_reader::num_layers() const { return contents_->num_layers; }
index_t state_reader::num_sequences() const { return static_cast<index_t>(contents_->kv_lens.size()); }
index_t state_reader::kv_len(index_t sequence) const { return contents_->kv_lens.at(static_cast<std::size_t>(sequence)); }

void state_reader::require_config(const attention_config& receiver) const {
  const std::string found = difference(contents_->config, receiver);
  if (!found.empty()) raise(errc::config, where() + "config." + found + " (file and receiver)");
}

void state_reader::require_numerics(std::string_view of_receiver, const load_options& options) const {
  if (options.require_same_numerics && contents_->numerics != of_receiver)
    raise(errc::config, where() + "numerics: " + contents_->numerics + " and " + std::string(of_receiver) + " (file and receiver)");
}

void state_reader::require_weights(const std::string& what, const fingerprint& of_file, const fingerprint& receiver,
                                   const load_options& options) const {
  if (options.accept_other_weights || receiver.empty() || of_file == receiver) return;
  raise(errc::config, where() + what + ": the keys and values were made by weights " + of_file.hex() + "; the receiver holds those of " +
                          receiver.hex() + " (load_options.accept_other_weights allows it)");
}

bool state_reader::has_projected(const std::string& group) const { return contents_->index().find(group + ".k").has_value(); }

kv_shape state_reader::projected(const std::string& group) const {
  const header_tensor k = contents_->require(group + ".k");
  const attention_config& c = contents_->config;
  return {*c.kv_dtype, k.extents[0], k.extents[1], k.extents[2], c.head_dim, c.value_dim};
}

fingerprint state_reader::made_by(const std::string& what, bool has_contents) const {
  const std::string key = std::string(fingerprint_prefix) + what;
  const std::optional<std::string_view> text = contents_->index().find_metadata(key);
  if (!text && has_contents) contents_->refuse("metadata key " + in_quotes(key) + " is missing");
  if (!text) return {};
  fingerprint print;
  const auto read = [&](std::size_t at, std::uint64_t& to) {
    const auto [end, error] = std::from_chars(text->data() + at, text->data() + at + 16, to, 16);
    return error == std::errc() && end == text->data() + at + 16;
  };
  if (text->size() != 32 || !read(0, print.high) || !read(16, print.low))
    contents_->refuse("metadata key " + in_quotes(key) + " is " + in_quotes(*text) + "; 32 hexadecimal digits are needed");
  return print;
}

namespace {

/// Of "layers.<layer>.cache.<sequence>.k"; false for other names.
bool is_layer(std::string_view name, index_t& layer, index_t& sequence, bool& is_k) {
  if (!take(name, "layers.") || !take_number(name, layer) || !take(name, "cache.") || !take_number(name, sequence)) return false;
  is_k = name == "k";
  return is_k || name == "v";
}

}  // namespace

void state_reader::read_layers(const std::function<void(const layer_rows&)>& take, const progress_function& on_progress) const {
  layer_rows rows{-1, -1, 0, 0, nullptr, nullptr};
  bool is_k = false, is_layer_tensor = false;
  std::size_t row_bytes = 0;
  std::vector<std::byte> begun;  // a row of which only the first bytes have come
  const auto give = [&](const std::byte* at, std::size_t count) {
    rows.count = static_cast<index_t>(count);
    (is_k ? rows.k : rows.v) = at, (is_k ? rows.v : rows.k) = nullptr;
    take(rows);
    rows.first += rows.count;
  };
  contents_->staged.stream(
      [&](const header_tensor& tensor, std::uint64_t first_byte, std::span<const std::byte> bytes) {
        if (first_byte == 0) {
          is_layer_tensor = is_layer(tensor.name, rows.layer, rows.sequence, is_k);
          if (!is_layer_tensor) return;
          rows.first = 0;
          row_bytes = static_cast<std::size_t>((tensor.end - tensor.begin) / static_cast<std::uint64_t>(tensor.extents[0]));
        }
        if (!is_layer_tensor) return;
        if (!begun.empty()) {
          const std::size_t lacking = std::min(row_bytes - begun.size(), bytes.size());
          begun.insert(begun.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(lacking));
          bytes = bytes.subspan(lacking);
          if (begun.size() < row_bytes) return;
          give(begun.data(), 1);
          begun.clear();
        }
        const std::size_t count = bytes.size() / row_bytes;
        if (count > 0) give(bytes.data(), count);
        begun.assign(bytes.begin() + static_cast<std::ptrdiff_t>(count * row_bytes), bytes.end());
      },
      on_progress);
}

void state_reader::read(const progress_function& on_progress) {
  contents_->file = std::move(contents_->staged).finish(safetensors::staged_file::access::aligned, on_progress);
}

const void* state_reader::data(const std::string& tensor) const { return contents_->file->at(tensor).bytes.data(); }

attention_weights state_reader::weights() const {
  const attention_weights weights = state_weights(*contents_->file);
  if (const failure found = check(weights, contents_->config)) contents_->refuse(found.message);
  return weights;
}

std::vector<index_t> state_reader::positions(index_t sequence) const {
  const auto elements = [this](const std::string& name) {
    const header_tensor stored = contents_->require(name);
    std::vector<index_t> all(static_cast<std::size_t>(stored.extents[0]));
    contents_->staged.read(stored, std::as_writable_bytes(std::span(all)));
    return all;
  };
  std::vector<index_t> positions = elements(positions_name(sequence));
  for (std::size_t i = 0; i < positions.size(); ++i)
    if (positions[i] < 0 || positions[i] > max_position)
      contents_->refuse("tensor " + in_quotes(positions_name(sequence)) + ": position " + std::to_string(positions[i]) + " of token " +
                        std::to_string(i) + "; 0 to 2^62 is needed");
  if (const index_t index = elements(first_index_name(sequence))[0]; index != 0)
    contents_->refuse("tensor " + in_quotes(first_index_name(sequence)) + " is " + std::to_string(index) +
                      "; 0 is needed: caches of this version keep every token");
  return positions;
}

}  // namespace detail

attention_config load_config(const state_source& from) { return detail::state_reader(from).config(); }

}  // namespace v0
}  // namespace rapt
