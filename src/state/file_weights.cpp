#include <rapt/state/file_weights.hpp>

#include <state/header.hpp>
#include <state/state_names.hpp>

namespace rapt {
inline namespace v0 {
namespace {

weight_view view_of(const safetensors::file& file, const safetensors::tensor& t) {
  const auto refuse = [&](const std::string& what) { raise(errc::config, file.source() + ": tensor " + safetensors::in_quotes(t.name) + what); };
  if (!t.type || !is_floating(*t.type) || t.rank < 1 || t.rank > 4) refuse(" is " + t.describe() + "; a floating dtype of rank 1 to 4 is needed");
  if (reinterpret_cast<std::uintptr_t>(t.bytes.data()) % static_cast<std::size_t>(size_of(*t.type)) != 0)
    refuse(" is not aligned for its elements; copy it and make a view of the copy");
  return {t.bytes.data(), *t.type, t.shape()};
}

/// Rows first.. of a vector.
weight_view part_of(const weight_view& v, index_t first, index_t count) {
  if (!v.present()) return v;
  const index_t extents[] = {count};
  return {static_cast<const std::byte*>(v.data()) + first * size_of(v.type()), v.type(), extents};
}

}  // namespace

weight_view weight_of(const safetensors::file& file, const std::string& name) { return view_of(file, file.at(name)); }

weight_view optional_weight_of(const safetensors::file& file, const std::string& name) {
  const std::optional<safetensors::tensor> found = file.find(name);
  return found ? view_of(file, *found) : weight_view();
}

attention_weights hugging_face_weights(const safetensors::file& file, const std::string& prefix) {
  const auto required = [&](const char* name) { return weight_of(file, prefix + name); };
  const auto optional = [&](const char* name) { return optional_weight_of(file, prefix + name); };
  hugging_face_tensors t;
  t.q_proj = required("q_proj.weight"), t.k_proj = required("k_proj.weight"), t.v_proj = required("v_proj.weight"),
  t.o_proj = required("o_proj.weight");
  t.q_bias = optional("q_proj.bias"), t.k_bias = optional("k_proj.bias"), t.v_bias = optional("v_proj.bias"), t.o_bias = optional("o_proj.bias");
  t.q_norm = optional("q_norm.weight"), t.k_norm = optional("k_norm.weight"), t.sinks = optional("sinks");
  return hugging_face_weights(t);
}

attention_weights torch_weights(const safetensors::file& file, const std::string& prefix) {
  const auto optional = [&](const char* name) { return optional_weight_of(file, prefix + name); };
  const weight_view bias = optional("in_proj_bias"), out = weight_of(file, prefix + "out_proj.weight"), out_bias = optional("out_proj.bias");
  for (const char* name : {"bias_k", "bias_v"})
    if (file.contains(prefix + name))
      raise(errc::config, file.source() + ": tensor " + safetensors::in_quotes(prefix + name) + ": add_bias_kv is not supported");
  if (!file.contains(prefix + "q_proj_weight")) return torch_weights(weight_of(file, prefix + "in_proj_weight"), bias, out, out_bias);
  attention_weights w;
  w.w_q = weight_of(file, prefix + "q_proj_weight"), w.w_k = weight_of(file, prefix + "k_proj_weight"),
  w.w_v = weight_of(file, prefix + "v_proj_weight");
  const index_t width = w.w_q.extent(0);
  if (bias.present() && (bias.rank() != 1 || bias.extent(0) != 3 * width))
    raise(errc::config, file.source() + ": tensor " + safetensors::in_quotes(prefix + "in_proj_bias") + " has shape " + bias.shape() + "; [" +
                            std::to_string(3 * width) + "] is needed");
  w.b_q = part_of(bias, 0, width), w.b_k = part_of(bias, width, width), w.b_v = part_of(bias, 2 * width, width);
  w.w_out = out.transposed(), w.b_out = out_bias;
  return w;
}

attention_weights tabpfn_weights(const safetensors::file& file, const std::string& prefix) {
  const auto optional = [&](const char* name) { return optional_weight_of(file, prefix + name); };
  attention_weights w;
  w.w_out = weight_of(file, prefix + "_w_out");
  w.w_qkv = optional("_w_qkv");
  w.w_q = w.w_qkv.present() ? optional("_w_q") : weight_of(file, prefix + "_w_q");
  w.w_kv = optional("_w_kv"), w.w_k = optional("_w_k"), w.w_v = optional("_w_v");
  return w;
}

attention_weights state_weights(const safetensors::file& file) {
  attention_weights w;
  weight_view* const views[] = {&w.w_qkv, &w.w_q, &w.w_kv, &w.w_k,   &w.w_v,    &w.w_out,  &w.b_qkv,      &w.b_q,
                                &w.b_kv,  &w.b_k, &w.b_v,  &w.b_out, &w.q_norm, &w.k_norm, &w.sink_logits};
  static_assert(std::size(views) == std::size(detail::weight_names));
  for (std::size_t i = 0; i < std::size(views); ++i)
    *views[i] = optional_weight_of(file, std::string(detail::weights_prefix) + std::string(detail::weight_names[i]));
  return w;
}

}  // namespace v0
}  // namespace rapt
