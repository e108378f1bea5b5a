#include <rapt/attention/weights.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {
namespace {

failure wrong(const std::string& rest) { return {errc::config, "attention_weights: " + rest}; }

/// True where `w` has these extents, or their leading ones merged into fewer.
bool fits(const weight_view& w, std::initializer_list<index_t> extents) {
  const auto* wanted = extents.begin();
  const auto wanted_rank = static_cast<int>(extents.size());
  int i = wanted_rank - 1;
  // From the last dimension inwards, each extent of w must be a product of consecutive wanted ones.
  for (int dim = w.rank() - 1; dim >= 0; --dim) {
    index_t product = 1;
    do {
      if (i < 0) {
        if (w.extent(dim) != product) return false;
        break;
      }
      product *= wanted[i--];
    } while (product < w.extent(dim));
    if (product != w.extent(dim)) return false;
  }
  for (; i >= 0; --i)
    if (wanted[i] != 1) return false;
  return true;
}

std::string text(std::initializer_list<index_t> extents) {
  std::string s = "[";
  for (const index_t e : extents) s += (s.size() > 1 ? ", " : "") + std::to_string(e);
  return s + "]";
}

failure check_one(const char* name, const weight_view& w, std::initializer_list<index_t> extents) {
  if (!w.present()) return {};
  if (!is_floating(w.type())) return wrong(std::string(name) + " has dtype " + std::string(name_of(w.type())) + "; a floating one is needed");
  if (!fits(w, extents)) return wrong(std::string(name) + " has shape " + w.shape() + "; " + text(extents) + " is needed");
  for (int i = 0; i < w.rank(); ++i)
    if (w.stride(i) < 0) return wrong(std::string(name) + " has a negative stride");
  if (w.data() == nullptr) return wrong(std::string(name) + " is null");
  return {};
}

failure check_combination(const attention_weights& w) {
  const auto excludes = [](const char* a, const char* b) { return wrong(std::string(a) + " excludes " + b + "; both are given"); };
  if (w.w_qkv.present() == w.w_q.present())
    return wrong(w.w_q.present() ? "w_qkv excludes w_q; both are given" : "neither w_qkv nor w_q is given; exactly one is needed");
  if (w.w_qkv.present()) {
    if (w.w_kv.present()) return excludes("w_qkv", "w_kv");
    if (w.w_k.present()) return excludes("w_qkv", "w_k");
    if (w.w_v.present()) return excludes("w_qkv", "w_v");
  }
  if (w.w_kv.present()) {
    if (w.w_k.present()) return excludes("w_kv", "w_k");
    if (w.w_v.present()) return excludes("w_kv", "w_v");
  }
  if (w.w_k.present() != w.w_v.present())
    return wrong(w.w_k.present() ? "w_k is given without w_v; they come together" : "w_v is given without w_k; they come together");
  if (!w.w_out.present()) return wrong("w_out is not given");
  const auto bias_of = [](const char* bias, const weight_view& b, const char* weight, const weight_view& of) {
    return b.present() && !of.present() ? wrong(std::string(bias) + " is given without " + weight) : failure{};
  };
  if (failure f = bias_of("b_qkv", w.b_qkv, "w_qkv", w.w_qkv)) return f;
  if (failure f = bias_of("b_q", w.b_q, "w_q", w.w_q)) return f;
  if (failure f = bias_of("b_kv", w.b_kv, "w_kv", w.w_kv)) return f;
  if (failure f = bias_of("b_k", w.b_k, "w_k", w.w_k)) return f;
  return bias_of("b_v", w.b_v, "w_v", w.w_v);
}
}  // namespace

weight_view::weight_view(const void* data, dtype type, std::span<const index_t> extents, std::span<const index_t> strides)
    : data_(data), type_(type), rank_(static_cast<int>(extents.size())) {
  if (extents.empty() || extents.size() > 4 || strides.size() != extents.size())
    raise(errc::config, "weight_view: " + std::to_string(extents.size()) + " extents and " + std::to_string(strides.size()) +
                            " strides came; 1 to 4 of each are needed");
  std::copy(extents.begin(), extents.end(), extents_.begin());
  std::copy(strides.begin(), strides.end(), strides_.begin());
}

weight_view::weight_view(const void* data, dtype type, std::span<const index_t> extents) : weight_view(data, type, extents, extents) {
  index_t stride = 1;
  for (int i = rank_ - 1; i >= 0; --i) {
    strides_[static_cast<std::size_t>(i)] = stride;
    stride *= extents_[static_cast<std::size_t>(i)];
  }
}

weight_view weight_view::transposed() const {
  weight_view t = *this;
  if (rank_ != 2) return t;
  std::swap(t.extents_[0], t.extents_[1]);
  std::swap(t.strides_[0], t.strides_[1]);
  return t;
}

std::string weight_view::shape() const {
  std::string s = "[";
  for (int i = 0; i < rank_; ++i) s += (i > 0 ? ", " : "") + std::to_string(extent(i));
  return s + "]";
}

failure check(const attention_weights& w, const attention_config& c) {
  if (failure f = check_combination(w)) return f;
  const index_t heads = c.num_heads, kv_heads = c.num_kv_heads, d = c.head_dim, dv = c.value_dim, e = c.model_dim;
  if (w.w_qkv.present() && (d != dv || kv_heads != heads))
    return wrong("w_qkv needs head_dim == value_dim and num_kv_heads == num_heads; config has " + std::to_string(d) + ", " + std::to_string(dv) +
                 ", " + std::to_string(kv_heads) + ", " + std::to_string(heads));
  if (w.w_kv.present() && d != dv) return wrong("w_kv needs head_dim == value_dim; config has " + std::to_string(d) + " and " + std::to_string(dv));
  if (failure f = check_one("w_qkv", w.w_qkv, {3, heads, d, e})) return f;
  if (failure f = check_one("w_q", w.w_q, {1, heads, d, e})) return f;
  if (failure f = check_one("w_kv", w.w_kv, {2, kv_heads, d, e})) return f;
  if (failure f = check_one("w_k", w.w_k, {kv_heads, d, e})) return f;
  if (failure f = check_one("w_v", w.w_v, {kv_heads, dv, e})) return f;
  if (failure f = check_one("w_out", w.w_out, {heads, dv, c.output_dim})) return f;
  if (failure f = check_one("b_qkv", w.b_qkv, {3, heads, d})) return f;
  if (failure f = check_one("b_q", w.b_q, {1, heads, d})) return f;
  if (failure f = check_one("b_kv", w.b_kv, {2, kv_heads, d})) return f;
  if (failure f = check_one("b_k", w.b_k, {kv_heads, d})) return f;
  if (failure f = check_one("b_v", w.b_v, {kv_heads, dv})) return f;
  if (failure f = check_one("b_out", w.b_out, {c.output_dim})) return f;
  if (failure f = check_one("q_norm", w.q_norm, {d})) return f;
  if (failure f = check_one("k_norm", w.k_norm, {d})) return f;
  if (failure f = check_one("sink_logits", w.sink_logits, {heads})) return f;
  if (w.q_norm.present() != w.k_norm.present()) return wrong("q_norm and k_norm come together; one is given");
  if (w.q_norm.present() != c.qk_norm.has_value())
    return wrong(c.qk_norm ? "config.qk_norm is set; q_norm and k_norm are needed" : "q_norm is given; config.qk_norm is not set");
  const dtype type = layout_of(w).type;
  struct {
    const char* name;
    const weight_view& view;
  } const matrices[] = {{"w_kv", w.w_kv}, {"w_k", w.w_k}, {"w_v", w.w_v}, {"w_out", w.w_out}};
  for (const auto& [name, view] : matrices)
    if (view.present() && view.type() != type)
      return wrong(std::string(name) + " has dtype " + std::string(name_of(view.type())) + "; the query weights' " + std::string(name_of(type)) +
                   " is needed");
  return {};
}

weight_layout layout_of(const attention_weights& w) {
  using family = weight_layout::family;
  const dtype type = w.w_qkv.present() ? w.w_qkv.type() : w.w_q.type();
  if (w.w_qkv.present()) return {family::fused_qkv, type};
  if (w.w_kv.present()) return {family::q_and_kv, type};
  return {w.w_k.present() ? family::q_k_v : family::query_only, type};
}

attention_weights torch_weights(const weight_view& in_proj_weight, const weight_view& in_proj_bias, const weight_view& out_proj_weight,
                                const weight_view& out_proj_bias) {
  attention_weights w;
  w.w_qkv = in_proj_weight, w.b_qkv = in_proj_bias, w.w_out = out_proj_weight.transposed(), w.b_out = out_proj_bias;
  return w;
}

attention_weights hugging_face_weights(const hugging_face_tensors& t) {
  attention_weights w;
  w.w_q = t.q_proj, w.w_k = t.k_proj, w.w_v = t.v_proj, w.w_out = t.o_proj.transposed();
  w.b_q = t.q_bias, w.b_k = t.k_bias, w.b_v = t.v_bias, w.b_out = t.o_bias;
  w.q_norm = t.q_norm, w.k_norm = t.k_norm, w.sink_logits = t.sinks;
  return w;
}

}  // namespace v0
}  // namespace rapt
