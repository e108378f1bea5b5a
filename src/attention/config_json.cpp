#include <rapt/attention/config_json.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <set>

namespace rapt {
inline namespace v0 {
namespace {

using nlohmann::json;

constexpr std::pair<rope_scaling_kind, const char*> scaling_kinds[] = {
    {rope_scaling_kind::linear, "linear"}, {rope_scaling_kind::ntk, "ntk"}, {rope_scaling_kind::llama3, "llama3"}, {rope_scaling_kind::yarn, "yarn"}};

template <class T>
json or_null(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

json scaling_json(const rope_scaling& s) {
  if (s.kind == rope_scaling_kind::none) return nullptr;
  json j = {{"factor", s.factor}};
  for (const auto& [kind, name] : scaling_kinds)
    if (kind == s.kind) j["rope_type"] = name;
  if (s.kind == rope_scaling_kind::llama3) {
    j["low_freq_factor"] = s.low_freq_factor;
    j["high_freq_factor"] = s.high_freq_factor;
    j["original_max_position_embeddings"] = s.original_max_position_embeddings;
  } else if (s.kind == rope_scaling_kind::yarn) {
    j["beta_fast"] = s.beta_fast;
    j["beta_slow"] = s.beta_slow;
    j["attention_factor"] = or_null(s.attention_factor);
    j["original_max_position_embeddings"] = s.original_max_position_embeddings;
  }
  return j;
}

json rope_json(const rope_config& r) {
  return {{"theta", r.theta},
          {"dim", r.dim},
          {"pairing", r.pairing == rope_pairing::half ? "half" : "interleaved"},
          {"scaling", scaling_json(r.scaling)}};
}

json config_json(const attention_config& c) {
  const bool windowed = c.window.left || c.window.right;
  return {{"model_dim", c.model_dim},
          {"num_heads", c.num_heads},
          {"num_kv_heads", c.num_kv_heads},
          {"head_dim", c.head_dim},
          {"value_dim", c.value_dim},
          {"output_dim", c.output_dim},
          {"softmax_scale", or_null(c.softmax_scale)},
          {"causal", c.causal},
          {"window", windowed ? json::array({or_null(c.window.left), or_null(c.window.right)}) : json(nullptr)},
          {"softcap", or_null(c.softcap)},
          {"alibi", c.alibi},
          {"qk_norm", c.qk_norm ? json{{"eps", c.qk_norm->eps}} : json(nullptr)},
          {"rope", c.rope ? rope_json(*c.rope) : json(nullptr)},
          {"dropout_p", c.dropout_p},
          {"kv_dtype", c.kv_dtype ? json(name_of(*c.kv_dtype)) : json(nullptr)}};
}

/// An object whose every key must be asked for.
class fields {
 public:
  fields(const json& object, std::string name) : object_(object), name_(std::move(name)) {
    if (!object.is_object()) refuse("", object, "an object");
  }
  /// config_error where a key was never asked for.
  void require_all_known() const {
    for (const auto& [key, value] : object_.items())
      if (!known_.count(key)) raise(errc::config, "config_from_json: " + path(key) + " is not a field that is known");
  }

  /// nullptr where the key is absent or null.
  const json* find(const char* key) {
    known_.insert(key);
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  void read(const char* key, index_t& to) {
    const json* j = find(key);
    if (!j) return;
    if (!j->is_number_integer() || (j->is_number_unsigned() && j->get<std::uint64_t>() > INT64_MAX)) refuse(key, *j, "an integer below 2^63");
    to = j->get<index_t>();
  }
  void read(const char* key, double& to) {
    if (const json* j = find(key)) {
      if (!j->is_number()) refuse(key, *j, "a number");
      to = j->get<double>();
    }
  }
  void read(const char* key, bool& to) {
    if (const json* j = find(key)) {
      if (!j->is_boolean()) refuse(key, *j, "true or false");
      to = j->get<bool>();
    }
  }
  void read(const char* key, std::string& to) {
    if (const json* j = find(key)) {
      if (!j->is_string()) refuse(key, *j, "a string");
      to = j->get<std::string>();
    }
  }
  template <class T>
  void read(const char* key, std::optional<T>& to) {
    T value{};
    if (!find(key)) return;
    read(key, value);
    to = value;
  }

  std::string path(const std::string& key) const { return key.empty() ? name_ : name_.empty() ? key : name_ + "." + key; }
  [[noreturn]] void refuse(const std::string& key, const json& came, const std::string& needed) const {
    raise(errc::config, "config_from_json: " + path(key) + " is " + came.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 120) + "; " +
                            needed + " is needed");
  }

 private:
  const json& object_;
  std::string name_;
  std::set<std::string> known_;
};

rope_scaling read_scaling(const json& j) {
  fields f(j, "rope.scaling");
  rope_scaling s;
  std::string type;
  f.read("rope_type", type);
  bool found = type == "default";
  for (const auto& [kind, name] : scaling_kinds)
    if (type == name) s.kind = kind, found = true;
  if (!found)
    raise(errc::config, "config_from_json: rope.scaling.rope_type is '" + type.substr(0, 120) + "'; default, linear, ntk, llama3 or yarn is needed");
  if (s.kind != rope_scaling_kind::none) f.read("factor", s.factor);
  if (s.kind == rope_scaling_kind::llama3) {
    f.read("low_freq_factor", s.low_freq_factor);
    f.read("high_freq_factor", s.high_freq_factor);
  }
  if (s.kind == rope_scaling_kind::yarn) {
    f.read("beta_fast", s.beta_fast);
    f.read("beta_slow", s.beta_slow);
    f.read("attention_factor", s.attention_factor);
  }
  if (s.kind == rope_scaling_kind::llama3 || s.kind == rope_scaling_kind::yarn)
    f.read("original_max_position_embeddings", s.original_max_position_embeddings);
  f.require_all_known();
  return s;
}

rope_config read_rope(const json& j) {
  fields f(j, "rope");
  rope_config r;
  f.read("theta", r.theta);
  f.read("dim", r.dim);
  std::string pairing = "half";
  f.read("pairing", pairing);
  if (pairing != "half" && pairing != "interleaved") f.refuse("pairing", pairing, "half or interleaved");
  r.pairing = pairing == "half" ? rope_pairing::half : rope_pairing::interleaved;
  if (const json* scaling = f.find("scaling")) r.scaling = read_scaling(*scaling);
  f.require_all_known();
  return r;
}

/// The first difference, depth first in the order of the keys.
std::string first_difference(const json& a, const json& b, const std::string& name) {
  if (a == b) return {};
  if (!a.is_object() || !b.is_object()) return name + ": " + a.dump() + " and " + b.dump();
  for (const auto& [key, value] : a.items()) {
    const std::string path = name.empty() ? key : name + "." + key;
    const auto other = b.find(key);
    if (std::string found = first_difference(value, other == b.end() ? json(nullptr) : *other, path); !found.empty()) return found;
  }
  return first_difference(b.dump(), a.dump(), name);  // kinds of scaling with other keys: b has one that a lacks
}

}  // namespace

std::string to_json(const attention_config& config) { return config_json(config).dump(); }

attention_config config_from_json(std::string_view text) {
  constexpr std::size_t longest = 1 << 16;  // a config has about 500 bytes
  json j;
  if (text.size() <= longest) j = json::parse(text.begin(), text.end(), nullptr, false);
  if (text.size() > longest || j.is_discarded()) raise(errc::format, "config_from_json: not JSON of at most 65536 bytes");
  fields f(j, "");
  attention_config c;
  f.read("model_dim", c.model_dim);
  f.read("num_heads", c.num_heads);
  f.read("num_kv_heads", c.num_kv_heads);
  f.read("head_dim", c.head_dim);
  f.read("value_dim", c.value_dim);
  f.read("output_dim", c.output_dim);
  f.read("softmax_scale", c.softmax_scale);
  f.read("causal", c.causal);
  f.read("softcap", c.softcap);
  f.read("alibi", c.alibi);
  f.read("dropout_p", c.dropout_p);
  if (const json* w = f.find("window")) {
    if (!w->is_array() || w->size() != 2) f.refuse("window", *w, "[left, right]");
    const json sides = {{"left", (*w)[0]}, {"right", (*w)[1]}};
    fields side(sides, "window");
    side.read("left", c.window.left);
    side.read("right", c.window.right);
  }
  if (const json* norm = f.find("qk_norm")) {
    fields n(*norm, "qk_norm");
    c.qk_norm.emplace();
    n.read("eps", c.qk_norm->eps);
    n.require_all_known();
  }
  if (const json* rope = f.find("rope")) c.rope = read_rope(*rope);
  std::string kv_dtype;
  f.read("kv_dtype", kv_dtype);
  for (const dtype type : {dtype::f64, dtype::f32, dtype::bf16, dtype::f16})
    if (kv_dtype == name_of(type)) c.kv_dtype = type;
  if (!kv_dtype.empty() && !c.kv_dtype) f.refuse("kv_dtype", kv_dtype, "f64, f32, bf16 or f16");
  f.require_all_known();
  return c;
}

std::string difference(const attention_config& a, const attention_config& b) { return first_difference(config_json(a), config_json(b), ""); }

}  // namespace v0
}  // namespace rapt
