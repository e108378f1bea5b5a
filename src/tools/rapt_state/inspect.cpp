// One JSON object is gathered; the text is that object laid out for people.
#include <rapt/state/save_load.hpp>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <tools/rapt_state/commands.hpp>
#include <tools/rapt_state/state_parts.hpp>

namespace rapt_state {

namespace safetensors = rapt::safetensors;
using json = nlohmann::ordered_json;

rapt::fingerprint fingerprint_of_weights(const safetensors::file& file, const rapt::attention_config& config) {
  std::vector<rapt::named_tensor> weights;
  for (const safetensors::tensor& t : file)
    if (t.name.starts_with(rapt::detail::weights_prefix) && t.type)
      weights.push_back({std::string(t.name.substr(rapt::detail::weights_prefix.size())),
                         *t.type,
                         {t.shape().begin(), t.shape().end()},
                         {t.bytes.begin(), t.bytes.end()}});
  return weights.empty() ? rapt::fingerprint() : rapt::fingerprint_of(config, weights);
}

namespace {

/// The text as JSON, or as a string where it is none.
json parsed(std::string_view text) {
  json value = json::parse(text, nullptr, false);
  return value.is_discarded() ? json(text) : value;
}

json tensors_of(const safetensors::file& file) {
  json all = json::array();
  for (const safetensors::tensor& t : file) {
    if (file.is_rapt_state() && is_pad(t.name)) continue;
    json entry = {{"name", t.name}, {"dtype", t.type_name}, {"shape", json::array()}, {"bytes", t.bytes.size()}};
    for (const rapt::index_t extent : t.shape()) entry["shape"].push_back(extent);
    if (const auto checksum = file.find_metadata("xxh3." + std::string(t.name)); checksum && file.is_rapt_state()) entry["xxh3"] = *checksum;
    all.push_back(std::move(entry));
  }
  return all;
}

void add_state(const std::string& path, const safetensors::file& file, json& all) {
  rapt::detail::state_reader state(path);
  json contents = json::array();
  if (state.has_weights()) contents.push_back("weights");
  for (const char* group : {"static", "projected"})
    if (state.has_projected(group)) contents.push_back(group);
  if (state.num_sequences() > 0) contents.push_back("cache");
  all["contents"] = contents;
  all["numerics"] = state.numerics();
  all["config"] = parsed(*file.find_metadata(rapt::detail::config_key));
  all["layers"] = state.num_layers();
  if (const auto cache = file.find_metadata(rapt::detail::cache_key)) all["cache"] = parsed(*cache);
  json sequences = json::array();
  for (rapt::index_t s = 0; s < state.num_sequences(); ++s) {
    json sequence = {{"tokens", state.kv_len(s)}};
    if (const auto positions = file.at(rapt::detail::positions_name(s)).copy<std::int64_t>(); !positions.empty()) {
      sequence["first_position"] = positions.front();
      sequence["last_position"] = positions.back();
    }
    sequences.push_back(std::move(sequence));
  }
  all["sequences"] = sequences;
  json fingerprints = json::object();
  if (const rapt::fingerprint weights = fingerprint_of_weights(file, state.config()); !weights.empty()) fingerprints["weights"] = weights.hex();
  for (rapt::index_t i = 0; i < file.num_metadata(); ++i)
    if (const auto [key, value] = file.metadata(i); key.starts_with(rapt::detail::fingerprint_prefix))
      fingerprints[std::string(key.substr(rapt::detail::fingerprint_prefix.size()))] = value;
  all["fingerprints"] = fingerprints;
}

json gather(const std::string& path) {
  const safetensors::file file = open_file(path);
  json all = {{"file", path}, {"kind", is_state(file) ? "state" : file.is_rapt_state() ? "checked tensors" : "safetensors"}};
  all["bytes"] = std::filesystem::file_size(path);
  if (file.is_rapt_state()) all["version"] = *file.find_metadata("rapt.version");
  if (is_state(file)) add_state(path, file, all);
  json metadata = json::object();
  for (rapt::index_t i = 0; i < file.num_metadata(); ++i)
    if (const auto [key, value] = file.metadata(i); !key.starts_with(rapt_prefix) && !(file.is_rapt_state() && key.starts_with("xxh3.")))
      metadata[std::string(key)] = value;
  all["metadata"] = metadata;
  all["tensors"] = tensors_of(file);
  return all;
}

void write_text(const json& all, std::ostream& out) {
  const auto line = [&](const std::string& what, const std::string& value) {
    out << what << std::string(what.size() < 14 ? 14 - what.size() : 1, ' ') << printable(value) << '\n';
  };
  const auto text = [](const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); };
  line("file", text(all["file"]));
  line("kind", text(all["kind"]) + (all.contains("version") ? ", version " + text(all["version"]) : ""));
  line("bytes", text(all["bytes"]));
  if (all.contains("contents")) {
    std::string contents;
    for (const json& part : all["contents"]) contents += (contents.empty() ? "" : ", ") + text(part);
    line("contents", contents);
    for (const char* key : {"numerics", "config", "cache", "layers"})
      if (all.contains(key)) line(key, text(all[key]));
    for (std::size_t i = 0; i < all["sequences"].size(); ++i) {
      const json& s = all["sequences"][i];
      line("sequence " + std::to_string(i),
           text(s["tokens"]) + " tokens" +
               (s.contains("first_position") ? ", positions " + text(s["first_position"]) + " to " + text(s["last_position"]) : ""));
    }
    for (const auto& [what, hex] : all["fingerprints"].items()) line("made by", text(hex) + " (" + what + ")");
  }
  for (const auto& [key, value] : all["metadata"].items()) line("metadata", key + " = " + text(value));
  for (const json& t : all["tensors"]) {
    std::string shape;
    for (const json& extent : t["shape"]) shape += (shape.empty() ? "" : ", ") + text(extent);
    line("tensor", text(t["name"]) + " " + text(t["dtype"]) + " [" + shape + "], " + text(t["bytes"]) + " bytes");
  }
}

}  // namespace

void inspect(const std::string& path, bool as_json, std::ostream& out) {
  const json all = gather(path);
  if (as_json)
    out << all.dump(2, ' ', false, json::error_handler_t::replace) << '\n';
  else
    write_text(all, out);
}

}  // namespace rapt_state
