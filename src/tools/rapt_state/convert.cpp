// Between states and safetensors files of others. What stands in a state's metadata as rapt.<key> stands in the plain file as <key>, since a file of
// others may not have keys of rapt.
#include <rapt/attention/config_json.hpp>
#include <rapt/cpu/context.hpp>
#include <rapt/state/save_load.hpp>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <state/file_io.hpp>
#include <tools/rapt_state/commands.hpp>
#include <tools/rapt_state/progress_line.hpp>
#include <tools/rapt_state/state_parts.hpp>

namespace rapt_state {
namespace {

namespace safetensors = rapt::safetensors;
using rapt::attention_config, rapt::detail::config_key, rapt::detail::numerics_key;

[[noreturn]] void refuse(const safetensors::file& file, const std::string& what) { rapt::raise(rapt::errc::format, file.source() + ": " + what); }

/// Keys that the writer of a state sets itself.
bool belongs_to_the_container(std::string_view key) {
  return key == "rapt.format" || key == "rapt.version" || key == "rapt.header_xxh3" || key.starts_with("xxh3.");
}

/// Sorted by name; 8-byte aligned as the format's reference implementation writes.
void write_plain(const std::string& path, const std::vector<safetensors::tensor>& tensors, const nlohmann::json& metadata) {
  nlohmann::ordered_json header;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t end = 0;
  for (const safetensors::tensor& t : tensors) {
    header[std::string(t.name)] = {{"dtype", t.type_name}, {"shape", t.shape()}, {"data_offsets", {end, end + t.bytes.size()}}};
    end += t.bytes.size();
  }
  std::string text = header.dump();
  text.append(-text.size() % 8, ' ');
  std::byte length[8];
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<std::byte>(text.size() >> (8 * i));

  rapt::detail::replacement file(path, sizeof length + text.size() + end);
  file.write(0, length);
  file.write(sizeof length, std::as_bytes(std::span(text)));
  std::uint64_t at = sizeof length + text.size();
  for (const safetensors::tensor& t : tensors) {
    file.write(at, t.bytes);
    at += t.bytes.size();
  }
  file.commit();
}

std::string text_of_key(const safetensors::file& file, std::string_view key, const std::string& option) {
  if (!option.empty()) return option;
  const auto found = file.find_metadata(key.substr(rapt_prefix.size()));
  return found ? std::string(*found) : std::string();
}

attention_config config_of(const safetensors::file& file, const import_options& options) {
  const std::string text = text_of_key(file, config_key, options.config);
  if (text.empty()) refuse(file, "no config: neither --config nor the metadata key 'config' is there");
  return rapt::resolve(rapt::config_from_json(text));
}

/// Tensors that have a state's names already.
void import_state(const safetensors::file& file, const std::string& to, const import_options& options) {
  const attention_config config = config_of(file, options);
  if (!config.kv_dtype) refuse(file, "the config has no kv_dtype");
  safetensors::writer state;
  bool computed = false;
  for (const safetensors::tensor& t : file) {
    if (!t.type) refuse(file, "tensor " + std::string(t.name) + " is " + t.describe() + ", which no state holds");
    state.add(std::string(t.name), *t.type, {t.shape().begin(), t.shape().end()}, t.bytes);
    for (const char* of_caches : {"layers.", "cache.", "projected."}) computed |= t.name.starts_with(of_caches);
  }
  std::string numerics = text_of_key(file, numerics_key, options.numerics);
  if (numerics.empty() && computed)
    refuse(file, "no numerics: neither --numerics nor the metadata key 'numerics' says in which order of operations the contents were computed");
  if (numerics.empty()) numerics = rapt::numerics_id::cpu_v1;
  state.add_metadata(std::string(config_key), rapt::to_json(config)).add_metadata(std::string(numerics_key), numerics);
  const std::string fingerprints = std::string(rapt::detail::fingerprint_prefix.substr(rapt_prefix.size()));
  for (rapt::index_t i = 0; i < file.num_metadata(); ++i)
    if (const auto [key, value] = file.metadata(i); key.starts_with(fingerprints) || key == rapt::detail::cache_key.substr(rapt_prefix.size()))
      state.add_metadata(std::string(rapt_prefix) + std::string(key), std::string(value));

  const std::vector<std::byte> bytes = state.to_bytes();
  check_contents(rapt::detail::state_reader(bytes));  // what can not be loaded is not written
  progress_line line(to);
  state.to_file(to, {line.function()});
}

template <class T>
void import_weights(const attention_config& config, const rapt::attention_weights& weights, const std::string& to) {
  rapt::cpu::context ctx({.num_threads = 1});
  progress_line line(to);
  rapt::save_state(ctx, to, {line.function()}, rapt::multi_head_attention<T>(ctx, config, weights));
}

}  // namespace

void export_plain(const std::string& from, const std::string& to) {
  const safetensors::file file = open_file(from);
  if (!file.is_rapt_state()) refuse(file, "no state of rapt, so there is nothing to export");
  if (is_state(file)) static_cast<void>(rapt::load_config(from));
  std::vector<safetensors::tensor> tensors;
  for (const safetensors::tensor& t : file)
    if (!is_pad(t.name)) tensors.push_back(t);
  nlohmann::json metadata = nlohmann::json::object();
  for (rapt::index_t i = 0; i < file.num_metadata(); ++i) {
    const auto [key, value] = file.metadata(i);
    if (belongs_to_the_container(key)) continue;
    const std::string plain(key.starts_with(rapt_prefix) ? key.substr(rapt_prefix.size()) : key);
    if (plain.starts_with(rapt_prefix) || metadata.contains(plain)) refuse(file, "two metadata keys would become " + plain);
    metadata[plain] = value;
  }
  write_plain(to, tensors, metadata);
}

void import_plain(const std::string& from, const std::string& to, const import_options& options) {
  const safetensors::file file = open_file(from, false);  // read, not mapped: then headers of any length leave the weights aligned
  if (file.is_rapt_state()) refuse(file, "this is a state of rapt already");
  if (options.layout == "state") return import_state(file, to, options);
  const attention_config config = config_of(file, options);
  const rapt::attention_weights weights = options.layout == "torch"    ? rapt::torch_weights(file, options.prefix)
                                          : options.layout == "tabpfn" ? rapt::tabpfn_weights(file, options.prefix)
                                                                       : rapt::hugging_face_weights(file, options.prefix);
  rapt::raise_if(rapt::check(weights, config));
  // A module holds weights in their own type; its activations must not be narrower.
  if (rapt::layout_of(weights).type == rapt::dtype::f64)
    import_weights<double>(config, weights, to);
  else
    import_weights<float>(config, weights, to);
}

}  // namespace rapt_state
