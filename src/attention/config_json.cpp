#include <core/flat_json.hpp>
#include <rapt/attention/config_json.hpp>

namespace rapt {
inline namespace v0 {
namespace {

using detail::flat_json, detail::json_members, detail::json_number, detail::json_object, detail::json_value;

constexpr std::pair<rope_scaling_kind, const char*> scaling_kinds[] = {
    {rope_scaling_kind::linear, "linear"}, {rope_scaling_kind::ntk, "ntk"}, {rope_scaling_kind::llama3, "llama3"}, {rope_scaling_kind::yarn, "yarn"}};

std::string text_of(bool x) { return x ? "true" : "false"; }
std::string text_of(index_t x) { return std::to_string(x); }
std::string text_of(double x) { return json_number(x); }
std::string text_of(const char* x) { return '"' + std::string(x) + '"'; }
template <class T>
std::string text_of(const std::optional<T>& x) {
  return x ? text_of(*x) : "null";
}

json_members members_of(const rope_scaling& s) {
  const char* type = "";
  for (const auto& [kind, name] : scaling_kinds)
    if (kind == s.kind) type = name;
  if (s.kind == rope_scaling_kind::llama3)
    return {{"factor", text_of(s.factor)},
            {"high_freq_factor", text_of(s.high_freq_factor)},
            {"low_freq_factor", text_of(s.low_freq_factor)},
            {"original_max_position_embeddings", text_of(s.original_max_position_embeddings)},
            {"rope_type", text_of(type)}};
  if (s.kind == rope_scaling_kind::yarn)
    return {{"attention_factor", text_of(s.attention_factor)},
            {"beta_fast", text_of(s.beta_fast)},
            {"beta_slow", text_of(s.beta_slow)},
            {"factor", text_of(s.factor)},
            {"original_max_position_embeddings", text_of(s.original_max_position_embeddings)},
            {"rope_type", text_of(type)}};
  return {{"factor", text_of(s.factor)}, {"rope_type", text_of(type)}};
}

json_members members_of(const rope_config& r) {
  return {{"dim", text_of(r.dim)},
          {"pairing", text_of(r.pairing == rope_pairing::half ? "half" : "interleaved")},
          {"scaling", r.scaling.kind == rope_scaling_kind::none ? "null" : json_object(members_of(r.scaling))},
          {"theta", text_of(r.theta)}};
}

json_members members_of(const qk_norm_config& n) { return {{"eps", text_of(n.eps)}}; }

json_members members_of(const attention_config& c) {
  const bool windowed = c.window.left || c.window.right;
  return {{"alibi", text_of(c.alibi)},
          {"causal", text_of(c.causal)},
          {"dropout_p", text_of(c.dropout_p)},
          {"head_dim", text_of(c.head_dim)},
          {"kv_dtype", c.kv_dtype ? text_of(std::string(name_of(*c.kv_dtype)).c_str()) : "null"},
          {"model_dim", text_of(c.model_dim)},
          {"num_heads", text_of(c.num_heads)},
          {"num_kv_heads", text_of(c.num_kv_heads)},
          {"output_dim", text_of(c.output_dim)},
          {"qk_norm", c.qk_norm ? json_object(members_of(*c.qk_norm)) : "null"},
          {"rope", c.rope ? json_object(members_of(*c.rope)) : "null"},
          {"softcap", text_of(c.softcap)},
          {"softmax_scale", text_of(c.softmax_scale)},
          {"value_dim", text_of(c.value_dim)},
          {"window", windowed ? "[" + text_of(c.window.left) + "," + text_of(c.window.right) + "]" : "null"}};
}

/// The first difference of two objects with the same keys.
std::pair<std::string, std::string> first_difference(const json_members& a, const json_members& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].second != b[i].second) return {a[i].first, a[i].first + ": " + a[i].second + " and " + b[i].second};
  return {};
}

/// Reads fields of known kinds.
class config_reader {
 public:
  explicit config_reader(std::string_view text) : json_(text, "config_from_json: ") {}

  void read(const std::string& path, index_t& to) {
    const json_value* v = json_.find(path);
    if (!v) return;
    if (v->is != json_value::kind::integer) refuse(path, *v, "an integer below 2^63");
    to = v->integer;
  }
  void read(const std::string& path, double& to) {
    const json_value* v = json_.find(path);
    if (!v) return;
    if (v->is != json_value::kind::integer && v->is != json_value::kind::number) refuse(path, *v, "a number");
    to = v->number;
  }
  void read(const std::string& path, bool& to) {
    const json_value* v = json_.find(path);
    if (!v) return;
    if (v->is != json_value::kind::boolean) refuse(path, *v, "true or false");
    to = v->truth;
  }
  void read(const std::string& path, std::string& to) {
    const json_value* v = json_.find(path);
    if (!v) return;
    if (v->is != json_value::kind::string) refuse(path, *v, "a string");
    to = v->text;
  }
  template <class T>
  void read(const std::string& path, std::optional<T>& to) {
    T value{};
    read(path, value);
    if (json_.find(path)) to = value;
  }
  /// True where an object is there; the keys within it are asked for by their paths.
  bool enter(const std::string& path, json_value::kind kind = json_value::kind::object) {
    const json_value* v = json_.find(path);
    if (v && v->is != kind) refuse(path, *v, kind == json_value::kind::object ? "an object" : "an array");
    return v != nullptr;
  }
  void require_all_known() const {
    if (const std::string path = json_.first_unknown(); !path.empty())
      raise(errc::config, "config_from_json: " + path.substr(0, 120) + " is not a field that is known");
  }
  [[noreturn]] static void refuse(const std::string& path, const json_value& came, const std::string& needed) {
    raise(errc::config, "config_from_json: " + path + " is " + came.text.substr(0, 120) + "; " + needed + " is needed");
  }

 private:
  flat_json json_;
};

void read_scaling(config_reader& from, rope_scaling& s) {
  const std::string at = "rope.scaling.";
  std::string type;
  from.read(at + "rope_type", type);
  bool found = type == "default";
  for (const auto& [kind, name] : scaling_kinds)
    if (type == name) s.kind = kind, found = true;
  if (!found)
    raise(errc::config, "config_from_json: rope.scaling.rope_type is '" + type.substr(0, 120) + "'; default, linear, ntk, llama3 or yarn is needed");
  const bool llama3 = s.kind == rope_scaling_kind::llama3, yarn = s.kind == rope_scaling_kind::yarn;
  if (s.kind != rope_scaling_kind::none) from.read(at + "factor", s.factor);
  if (llama3) from.read(at + "low_freq_factor", s.low_freq_factor), from.read(at + "high_freq_factor", s.high_freq_factor);
  if (yarn) {
    from.read(at + "beta_fast", s.beta_fast);
    from.read(at + "beta_slow", s.beta_slow);
    from.read(at + "attention_factor", s.attention_factor);
  }
  if (llama3 || yarn) from.read(at + "original_max_position_embeddings", s.original_max_position_embeddings);
}

void read_rope(config_reader& from, rope_config& r) {
  from.read("rope.theta", r.theta);
  from.read("rope.dim", r.dim);
  std::string pairing = "half";
  from.read("rope.pairing", pairing);
  if (pairing != "half" && pairing != "interleaved")
    raise(errc::config, "config_from_json: rope.pairing is " + pairing.substr(0, 120) + "; half or interleaved is needed");
  r.pairing = pairing == "half" ? rope_pairing::half : rope_pairing::interleaved;
  if (from.enter("rope.scaling")) read_scaling(from, r.scaling);
}

}  // namespace

std::string to_json(const attention_config& config) { return json_object(members_of(config)); }

attention_config config_from_json(std::string_view text) {
  config_reader from(text);
  attention_config c;
  from.read("model_dim", c.model_dim);
  from.read("num_heads", c.num_heads);
  from.read("num_kv_heads", c.num_kv_heads);
  from.read("head_dim", c.head_dim);
  from.read("value_dim", c.value_dim);
  from.read("output_dim", c.output_dim);
  from.read("softmax_scale", c.softmax_scale);
  from.read("causal", c.causal);
  from.read("softcap", c.softcap);
  from.read("alibi", c.alibi);
  from.read("dropout_p", c.dropout_p);
  if (from.enter("window", json_value::kind::array)) {
    from.read("window.0", c.window.left);
    from.read("window.1", c.window.right);
  }
  if (from.enter("qk_norm")) from.read("qk_norm.eps", c.qk_norm.emplace().eps);
  if (from.enter("rope")) read_rope(from, c.rope.emplace());
  std::string kv_dtype;
  from.read("kv_dtype", kv_dtype);
  for (const dtype type : {dtype::f64, dtype::f32, dtype::bf16, dtype::f16})
    if (kv_dtype == name_of(type)) c.kv_dtype = type;
  if (!kv_dtype.empty() && !c.kv_dtype)
    raise(errc::config, "config_from_json: kv_dtype is " + kv_dtype.substr(0, 120) + "; f64, f32, bf16 or f16 is needed");
  from.require_all_known();
  return c;
}

std::string difference(const attention_config& a, const attention_config& b) {
  const auto [field, text] = first_difference(members_of(a), members_of(b));
  if (field == "qk_norm" && a.qk_norm && b.qk_norm) return "qk_norm." + first_difference(members_of(*a.qk_norm), members_of(*b.qk_norm)).second;
  if (field != "rope" || !a.rope || !b.rope) return text;
  const auto [rope_field, rope_text] = first_difference(members_of(*a.rope), members_of(*b.rope));
  // Kinds of scaling have keys of their own.
  if (rope_field != "scaling" || a.rope->scaling.kind != b.rope->scaling.kind) return "rope." + rope_text;
  return "rope.scaling." + first_difference(members_of(a.rope->scaling), members_of(b.rope->scaling)).second;
}

}  // namespace v0
}  // namespace rapt
