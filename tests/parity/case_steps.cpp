#include <parity/case_steps.hpp>

#include <parity/json_reader.hpp>

namespace parity {
namespace {

using json = nlohmann::json;

stride_map read_strides(object_reader& from, std::initializer_list<const char*> fields) {
  stride_map strides;
  const json* given = from.optional("strides");
  if (!given) return strides;
  object_reader all(*given, from.where() + ".strides");
  for (const char* field : fields)
    if (all.optional(field)) strides[field] = all.integers(field);
  all.require_all_known();
  return strides;
}

cache_use read_cache_use(object_reader& from) {
  constexpr std::pair<const char*, cache_use> uses[] = {
      {"none", cache_use::none}, {"replace", cache_use::replace}, {"append", cache_use::append}, {"use", cache_use::use}};
  const std::string text = from.text("cache");
  for (const auto& [name, use] : uses)
    if (text == name) return use;
  from.refuse("cache", text, "none, replace, append or use");
}

template <class Step>
void read_mask(object_reader& from, Step& s) {
  s.mask = from.optional_text("mask"), s.mask_kind = from.optional_text("mask_kind");
  if (s.mask.has_value() != s.mask_kind.has_value()) throw refusal(from.where() + ": mask and mask_kind come together");
  if (s.mask_kind && *s.mask_kind != "bool" && *s.mask_kind != "additive") from.refuse("mask_kind", *s.mask_kind, "bool or additive");
}

forward_step read_forward(object_reader& from) {
  forward_step s;
  s.x = from.text("x");
  s.x_kv = from.optional_text("x_kv");
  s.cache = read_cache_use(from);
  s.reuse_first_head_kv = from.truth("reuse_first_head_kv");
  s.only_cache_first_head_kv = from.truth("only_cache_first_head_kv");
  s.add_input = from.truth("add_input");
  s.kv_lens = from.optional_text("kv_lens");
  read_mask(from, s);
  s.peak_mem_factor = from.optional_integer("peak_mem_factor");
  from.required("expect");
  s.expect = from.optional_text("expect");
  s.expect_lse = from.optional_text("expect_lse");
  s.positions = from.optional_text("positions");
  s.strides = read_strides(from, {"x", "x_kv", "expect"});
  if (const json* entries = from.optional("sequences")) {
    s.sequences.emplace();
    for (const json& entry : from.array_of("sequences", *entries)) {
      const std::vector<index_t> pair = from.integers_of("sequences", entry);
      if (pair.size() != 2) from.refuse("sequences", entry, "[id, rows]");
      s.sequences->push_back({pair[0], pair[1]});
    }
    if (s.cache != cache_use::append) throw refusal(from.where() + ": sequences belong to append");
  }
  return s;
}

attend_step read_attend(object_reader& from) {
  attend_step s;
  s.q = from.text("q"), s.k = from.text("k"), s.v = from.text("v");
  s.kv_lens = from.optional_text("kv_lens");
  read_mask(from, s);
  s.positions = from.optional_text("positions");
  from.required("expect");
  s.expect = from.optional_text("expect");
  s.expect_lse = from.optional_text("expect_lse");
  s.strides = read_strides(from, {"q", "k", "v", "expect"});
  return s;
}

merge_step read_merge(object_reader& from) {
  merge_step s{from.texts("out"), from.texts("lse"), from.optional_text("expect"), from.optional_text("expect_lse")};
  if (s.out.empty() || s.out.size() != s.lse.size()) throw refusal(from.where() + ": out and lse name as many parts, one or more");
  return s;
}

expect_cache_step read_expect_cache(object_reader& from) {
  expect_cache_step s{from.optional_text("kv"), from.optional_text("k"), from.optional_text("v"), from.optional_integer("sequence")};
  if (s.k.has_value() != s.v.has_value() || s.k.has_value() == s.kv.has_value()) throw refusal(from.where() + ": needs kv, or k and v");
  return s;
}

construct_step read_construct(object_reader& from, json config) {
  for (const auto& [key, value] : from.required("config").items()) config[key] = value;
  return {config_text(std::move(config), from.where() + ".config"), from.texts("weights")};
}

/// Any step but expect_error; construct stands in that alone.
step read_call(const json& from, const json& config, const std::string& where, bool must_fail) {
  const std::string op = object_reader(from, where).text("op");
  object_reader fields(from, where + " (" + op + ")");
  fields.required("op");
  step s;
  s.op = op;
  if (op == "forward")
    s.call = read_forward(fields);
  else if (op == "attend")
    s.call = read_attend(fields);
  else if (op == "merge")
    s.call = read_merge(fields);
  else if (op == "expect_cache")
    s.call = read_expect_cache(fields);
  else if (op == "truncate")
    s.call = truncate_step{fields.integer("kv_len"), fields.optional_integer("sequence")};
  else if (op == "clear_cache")
    s.call = clear_cache_step{fields.optional_integer("sequence")};
  else if (op == "save_load")
    s.call = save_load_step{};
  else if (op == "fork")
    s.call = fork_step{fields.integer("from"), fields.integer("to")};
  else if (op == "set_static_kv")
    s.call = set_static_kv_step{fields.text("k"), fields.text("v")};
  else if (op == "construct" && must_fail)
    s.call = read_construct(fields, config);
  else
    throw refusal(where + ": the op '" + op + "' is not known here");
  fields.require_all_known();
  return s;
}

}  // namespace

std::string config_text(json config, const std::string& where) {
  object_reader known(config, where);
  for (const char* key : {"model_dim", "output_dim", "num_heads", "num_kv_heads", "head_dim", "value_dim", "softmax_scale", "bias", "dropout_p",
                          "qk_norm", "rope", "causal", "window", "softcap", "alibi", "sinks"})
    known.optional(key);
  known.require_all_known();
  config.erase("bias");
  config.erase("sinks");
  return config.dump();
}

step read_step(const json& from, const json& config, std::size_t number) {
  const std::string where = "step " + std::to_string(number);
  if (object_reader(from, where).text("op") != "expect_error") return read_call(from, config, where, false);
  object_reader fields(from, where + " (expect_error)");
  fields.required("op");
  step s = read_call(fields.required("call"), config, where + " (expect_error)", true);
  s.op = "expect_error, " + s.op;
  s.error = fields.text("error");
  fields.require_all_known();
  return s;
}

}  // namespace parity
