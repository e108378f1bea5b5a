#include <parity/case_file.hpp>

#include <parity/case_steps.hpp>
#include <parity/json_reader.hpp>

#include <rapt/attention/config_json.hpp>
#include <rapt/state/safetensors.hpp>

namespace parity {
namespace {

using json = nlohmann::json;

/// A key that stands twice in one object would be skipped in silence.
json parse_strictly(std::string_view text) {
  std::vector<std::set<std::string>> keys;
  const auto look = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      throw refusal("the key " + parsed.dump() + " stands twice in one object of the metadata 'case'");
    return true;
  };
  const json all = json::parse(text, look, false);
  if (all.is_discarded()) throw refusal("the metadata 'case' is no JSON");
  return all;
}

tensor read_tensor(const rapt::safetensors::tensor& from) {
  tensor t;
  t.shape.assign(from.shape().begin(), from.shape().end());
  const auto widen = [&](const auto& elements) {
    for (const auto x : elements) t.values.push_back(static_cast<double>(static_cast<rapt::accumulator_t<std::remove_cvref_t<decltype(x)>>>(x)));
  };
  t.type = from.type.value_or(dtype::u8);
  switch (t.type) {
    case dtype::f64:
      widen(from.copy<double>());
      break;
    case dtype::f32:
      widen(from.copy<float>());
      break;
    case dtype::bf16:
      widen(from.copy<rapt::bf16>());
      break;
    case dtype::f16:
      widen(from.copy<rapt::f16>());
      break;
    case dtype::i64:
      t.integers = from.copy<index_t>();
      break;
    case dtype::boolean:
      for (const std::byte b : from.bytes) t.truths.push_back(static_cast<char>(b != std::byte{0}));
      break;
    case dtype::u8:
      throw refusal("the tensor " + std::string(from.name) + " is " + from.describe() + "; F64, F32, F16, BF16, I64 or BOOL is needed");
  }
  return t;
}

/// Config keys that describe weights must agree with those that the case lists. Norm weights and sinks may be named by the config alone.
void join_config_and_weights(object_reader& config, case_file& c) {
  const auto listed = [&](const std::string& weight) { return std::find(c.weights.begin(), c.weights.end(), weight) != c.weights.end(); };
  for (const std::string& weight : c.weights)
    if (weight.starts_with("b_") && config.optional("bias") && !config.truth("bias"))
      throw refusal("config.bias is false, and the weights name " + weight);
  const name sinks = config.optional_text("sinks");
  if (sinks && *sinks != "sinks") config.refuse("sinks", *sinks, "null or \"sinks\"");
  const auto take = [&](const char* weight) {
    if (!listed(weight) && c.find("weights." + std::string(weight))) c.weights.push_back(weight);
  };
  if (sinks) {
    take("sinks");
    c.at("weights.sinks");
  }
  if (c.config.qk_norm) take("q_norm"), take("k_norm");
}

/// Every expected tensor is named by a step: none may go unread in silence.
void require_all_expected(const case_file& c) {
  std::set<std::string> named;
  const auto note = [&](const name& n) {
    if (n) named.insert("expected." + *n);
  };
  for (const step& s : c.steps)
    std::visit(
        [&](const auto& call) {
          if constexpr (requires { call.expect; }) note(call.expect), note(call.expect_lse);
          if constexpr (requires { call.kv; }) note(call.kv), note(call.k), note(call.v);
        },
        s.call);
  for (const auto& [tensor_name, t] : c.tensors)
    if (tensor_name.starts_with("expected.") && !named.contains(tensor_name)) throw refusal(tensor_name + " is named by no step");
}

}  // namespace

index_t tensor::size() const {
  index_t n = 1;
  for (const index_t extent : shape) n *= extent;
  return n;
}

dtype dtype_named(const std::string& text) {
  for (const dtype type : {dtype::f64, dtype::f32, dtype::bf16, dtype::f16})
    if (text == rapt::name_of(type)) return type;
  throw refusal("the dtype '" + text + "' is not known; f64, f32, bf16 or f16 is needed");
}

bool case_file::has_module() const { return std::find(weights.begin(), weights.end(), "w_out") != weights.end(); }

const tensor* case_file::find(const std::string& tensor_name) const {
  const auto found = tensors.find(tensor_name);
  return found == tensors.end() ? nullptr : &found->second;
}
const tensor& case_file::at(const std::string& tensor_name) const {
  if (const tensor* found = find(tensor_name)) return *found;
  throw refusal("the file has no tensor " + tensor_name);
}

cache_room case_file::room() const {
  index_t tokens = 0, copies = 1;
  std::set<index_t> ids;
  for (const step& s : steps) {
    if (const auto* fork = std::get_if<fork_step>(&s.call)) ++copies, ids.insert({fork->from, fork->to});
    const auto* call = std::get_if<forward_step>(&s.call);
    if (!call || call->cache != cache_use::append) continue;
    const std::vector<index_t>& shape = input(call->x).shape;
    const auto product = [&](std::size_t dims_left_out) {
      index_t n = 1;
      for (std::size_t i = 0; i + dims_left_out < shape.size(); ++i) n *= shape[i];
      return n;
    };
    tokens += product(1);
    if (call->sequences)
      for (const auto& [id, count] : *call->sequences) ids.insert(id);
    else
      for (index_t b = 0; b < product(2); ++b) ids.insert(b);
  }
  return {std::max<index_t>(1, tokens * copies), std::max<index_t>(1, static_cast<index_t>(ids.size()))};
}

case_file read_case(const std::string& path) {
  const rapt::safetensors::file file = rapt::safetensors::open(path);
  const auto text = file.find_metadata("case");
  if (!text) throw refusal("the file has no metadata key 'case'");
  const json header = parse_strictly(*text);

  case_file c;
  c.path = path;
  for (const rapt::safetensors::tensor t : file) {
    const std::string_view kind = t.name.substr(0, t.name.find('.'));
    if (kind != "weights" && kind != "inputs" && kind != "expected" && kind != "peer")
      throw refusal("the tensor " + std::string(t.name) + " is none of weights, inputs, expected and peer");
    c.tensors.emplace(t.name, read_tensor(t));
  }

  object_reader top(header, "header");
  if (const index_t format = top.integer("format"); format != 1) throw refusal("format is " + std::to_string(format) + "; 1 is known");
  c.case_name = top.text("case");
  for (const char* remark : {"note", "oracle", "seed"}) top.optional(remark);
  c.dtypes = {dtype::f64, dtype::f32, dtype::bf16, dtype::f16};
  const auto dtypes_of = [&](const char* key, std::vector<dtype>& to) {
    if (!top.optional(key)) return;
    to.clear();
    for (const std::string& text_of_one : top.texts(key)) to.push_back(dtype_named(text_of_one));
    if (to.empty()) throw refusal("header: '" + std::string(key) + "' is empty");
  };
  dtypes_of("dtypes", c.dtypes);
  dtypes_of("kv_dtype", c.kv_dtypes);
  c.page_len = top.optional_integer("page_len").value_or(c.page_len);
  c.weights = top.texts("weights");
  const json& config = top.required("config");
  c.config = rapt::config_from_json(config_text(config, "config"));
  object_reader config_reader(config, "config");
  join_config_and_weights(config_reader, c);
  const json& steps = top.array_of("steps", top.required("steps"));
  for (std::size_t i = 0; i < steps.size(); ++i) c.steps.push_back(read_step(steps[i], config, i));
  top.require_all_known();
  if (c.steps.empty()) throw refusal("the case has no steps");
  require_all_expected(c);
  return c;
}

}  // namespace parity
