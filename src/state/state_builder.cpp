#include <core/flat_json.hpp>
#include <rapt/attention/config_json.hpp>
#include <rapt/core/error.hpp>
#include <rapt/state/state_file.hpp>

#include <state/state_names.hpp>

namespace rapt {
inline namespace v0 {
namespace detail {

void state_builder::describe(const attention_config& config, const std::string& numerics) {
  const std::string text = to_json(config);
  if (described_ && text != config_)
    raise(errc::config, "save_state: the parts have two configs; " + difference(config_from_json(config_), config) + " (first part and this one)");
  described_ = true;
  config_ = text;
  numerics_ = merged_numerics(numerics_, numerics);
}

void state_builder::add_weights(std::vector<named_tensor> weights) {
  weights_.push_back(std::move(weights));
  for (const named_tensor& w : weights_.back())
    writer_.add(std::string(weights_prefix) + w.name, w.type, w.shape, std::span<const std::byte>(w.bytes));
}

void state_builder::add_projected(const std::string& group, const kv_shape& s, const fingerprint& made_by, fill_function k, fill_function v) {
  writer_.add_rows(group + ".k", s.type, {s.batch, s.len, s.heads, s.head_dim}, std::move(k));
  writer_.add_rows(group + ".v", s.type, {s.batch, s.len, s.heads, s.value_dim}, std::move(v));
  if (!made_by.empty()) writer_.add_metadata(std::string(fingerprint_prefix) + group, made_by.hex());
}

void state_builder::add_cache(index_t num_layers, index_t page_len, index_t max_tokens, index_t stored_heads) {
  writer_.add_metadata(std::string(cache_key), json_object({{"keep_first", "0"},
                                                            {"kind", "\"paged\""},
                                                            {"max_tokens", std::to_string(max_tokens)},
                                                            {"num_layers", std::to_string(num_layers)},
                                                            {"page_len", std::to_string(page_len)},
                                                            {"stored_kv_heads", std::to_string(stored_heads)}}));
}

void state_builder::add_layer_fingerprint(index_t layer, const fingerprint& made_by) {
  if (!made_by.empty()) writer_.add_metadata(std::string(fingerprint_prefix) + std::to_string(layer), made_by.hex());
}

void state_builder::add_sequence(index_t sequence, index_t len, fill_function positions) {
  writer_.add_rows(positions_name(sequence), dtype::i64, {len}, std::move(positions));
  writer_.add(first_index_name(sequence), dtype::i64, {1}, [](std::span<std::byte> to) { std::fill(to.begin(), to.end(), std::byte{}); });
}

void state_builder::add_layer(index_t layer, index_t sequence, const kv_shape& s, fill_function k, fill_function v) {
  writer_.add_rows(layer_name(layer, sequence, "k"), s.type, {s.len, s.heads, s.head_dim}, std::move(k));
  writer_.add_rows(layer_name(layer, sequence, "v"), s.type, {s.len, s.heads, s.value_dim}, std::move(v));
}

const safetensors::writer& state_builder::finish() {
  writer_.add_metadata(std::string(config_key), config_);
  writer_.add_metadata(std::string(numerics_key), numerics_);
  return writer_;
}

}  // namespace detail
}  // namespace v0
}  // namespace rapt
