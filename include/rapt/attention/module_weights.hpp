// A module's parameters as kernels read them: packed once, when the module is made.
#pragma once
#include <rapt/attention/fingerprint.hpp>
#include <rapt/attention/weights.hpp>
#include <rapt/ops/project.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {

/// Part `part` of `num_parts` equal parts of the leading rows of w, as a source for packing: [depth, heads, dim] with depth the last dimension of w.
RAPT_API operand columns_of(const weight_view& w, index_t part, index_t num_parts);
/// w_out [H, dv, O] as [H * dv, O].
RAPT_API operand rows_of(const weight_view& w_out);
/// A vector (a bias, a norm's weight): part `part` of `num_parts`.
RAPT_API operand entries_of(const weight_view& v, index_t part, index_t num_parts);
/// Sink logits in the accumulator's precision.
RAPT_API std::vector<double> sinks_of(const weight_view& sinks, dtype accumulator);

template <class Backend>
class module_weights {
 public:
  using context = typename Backend::context;
  using family = weight_layout::family;

  module_weights() = default;
  /// `config` is resolved, with numerics. Throws config_error where check(weights, config) finds something.
  module_weights(context& ctx, const attention_config& config, const attention_weights& w, dtype activations) {
    raise_if(check(w, config));
    const weight_layout layout = layout_of(w);
    const dtype accumulator = accumulator_of(activations), type = packed_type(layout.type, activations, config.numerics);
    kind_ = layout.kind;
    const index_t q_columns = config.num_heads * config.head_dim, k_columns = config.num_kv_heads * config.head_dim,
                  v_columns = config.num_kv_heads * config.value_dim;
    const auto make = [&](packed_weights<Backend>& to, index_t columns, const weight_view& from, const weight_view& bias, index_t part,
                          index_t parts) {
      to = packed_weights<Backend>(ctx, config.model_dim, columns, type, bias.present());
      to.pack(ctx, columns_of(from, part, parts), 0);
      if (bias.present()) to.pack_bias(ctx, entries_of(bias, part, parts), 0);
    };
    const bool fused = kind_ == family::fused_qkv;
    make(q, q_columns, fused ? w.w_qkv : w.w_q, fused ? w.b_qkv : w.b_q, 0, fused ? 3 : 1);
    if (kind_ == family::fused_qkv) {
      make(k, k_columns, w.w_qkv, w.b_qkv, 1, 3);
      make(v, v_columns, w.w_qkv, w.b_qkv, 2, 3);
    } else if (kind_ == family::q_and_kv) {
      make(k, k_columns, w.w_kv, w.b_kv, 0, 2);
      make(v, v_columns, w.w_kv, w.b_kv, 1, 2);
    } else if (kind_ == family::q_k_v) {
      make(k, k_columns, w.w_k, w.b_k, 0, 1);
      make(v, v_columns, w.w_v, w.b_v, 0, 1);
    }
    out = packed_weights<Backend>(ctx, config.num_heads * config.value_dim, config.output_dim, type, w.b_out.present());
    out.pack(ctx, rows_of(w.w_out), 0);
    if (w.b_out.present()) out.pack_bias(ctx, entries_of(w.b_out, 0, 1), 0);
    const auto make_norm = [&](packed_weights<Backend>& to, const weight_view& from) {
      if (!from.present()) return;
      to = packed_weights<Backend>(ctx, 1, config.head_dim, accumulator, false);
      to.pack(ctx, entries_of(from, 0, 1), 0);
    };
    make_norm(q_norm, w.q_norm);
    make_norm(k_norm, w.k_norm);
    sinks = sinks_of(w.sink_logits, accumulator);
  }

  bool has_kv() const { return k.matrix().data != nullptr; }
  family kind() const { return kind_; }
  /// Of the matrices, as held.
  dtype type() const { return q.matrix().type; }
  std::size_t bytes() const { return q.bytes() + k.bytes() + v.bytes() + out.bytes() + q_norm.bytes() + k_norm.bytes(); }

  /// Every parameter in its canonical layout and held type, sorted by name.
  std::vector<named_tensor> canonical(context& ctx, const attention_config& c) const {
    std::vector<named_tensor> all;
    struct part {
      const packed_weights<Backend>* from;
      index_t heads, dim;
    };
    const part pq{&q, c.num_heads, c.head_dim}, pk{&k, c.num_kv_heads, c.head_dim}, pv{&v, c.num_kv_heads, c.value_dim};
    // A weight and, where a part has one, its bias; parts without a bias among parts with one have zeros.
    const auto add = [&](const std::string& suffix, std::vector<index_t> leading, std::initializer_list<part> parts) {
      named_tensor w{"w_" + suffix, type(), leading, {}}, b{"b_" + suffix, bias_type(), leading, {}};
      w.shape.push_back(c.model_dim);
      index_t rows = 0, row = 0;
      for (const part& p : parts) rows += p.heads * p.dim;
      w.bytes.resize(static_cast<std::size_t>(rows * c.model_dim * size_of(w.type)));
      b.bytes.resize(static_cast<std::size_t>(rows * size_of(b.type)));
      bool biased = false;
      for (const part& p : parts) {
        operand to{
            w.bytes.data() + row * c.model_dim * size_of(w.type), w.type, 1, c.model_dim, p.heads, p.dim, 0, 1, p.dim * c.model_dim, c.model_dim};
        p.from->unpack(ctx, to, 0);
        if (p.from->has_bias()) p.from->unpack_bias(ctx, vector_at(b, row, p.heads * p.dim), 0);
        biased |= p.from->has_bias();
        row += p.heads * p.dim;
      }
      all.push_back(std::move(w));
      if (biased) all.push_back(std::move(b));
    };
    if (kind_ == family::fused_qkv)
      add("qkv", {3, c.num_heads, c.head_dim}, {pq, pk, pv});
    else
      add("q", {1, c.num_heads, c.head_dim}, {pq});
    if (kind_ == family::q_and_kv) add("kv", {2, c.num_kv_heads, c.head_dim}, {pk, pv});
    if (kind_ == family::q_k_v) {
      add("k", {c.num_kv_heads, c.head_dim}, {pk});
      add("v", {c.num_kv_heads, c.value_dim}, {pv});
    }
    const index_t depth = c.num_heads * c.value_dim;
    named_tensor w{"w_out", type(), {c.num_heads, c.value_dim, c.output_dim}, {}};
    w.bytes.resize(static_cast<std::size_t>(depth * c.output_dim * size_of(w.type)));
    out.unpack(ctx, operand{w.bytes.data(), w.type, 1, depth, 1, c.output_dim, 0, c.output_dim, 0, 1}, 0);
    all.push_back(std::move(w));
    if (out.has_bias()) {
      all.push_back({"b_out", bias_type(), {c.output_dim}, std::vector<std::byte>(static_cast<std::size_t>(c.output_dim * size_of(bias_type())))});
      out.unpack_bias(ctx, vector_at(all.back(), 0, c.output_dim), 0);
    }
    for (const auto& [name, norm] : {std::pair{"q_norm", &q_norm}, {"k_norm", &k_norm}}) {
      if (norm->matrix().data == nullptr) continue;
      all.push_back({name, bias_type(), {c.head_dim}, std::vector<std::byte>(static_cast<std::size_t>(c.head_dim * size_of(bias_type())))});
      norm->unpack(ctx, vector_at(all.back(), 0, c.head_dim), 0);
    }
    if (!sinks.empty()) {
      const auto* bytes = reinterpret_cast<const std::byte*>(sinks.data());
      all.push_back({"sinks", dtype::f64, {c.num_heads}, std::vector<std::byte>(bytes, bytes + sinks.size() * sizeof(double))});
    }
    std::sort(all.begin(), all.end(), [](const named_tensor& a, const named_tensor& b) { return a.name < b.name; });
    return all;
  }

  packed_weights<Backend> q, k, v, out;
  packed_weights<Backend> q_norm, k_norm;  ///< matrices of depth 1
  std::vector<double> sinks;               ///< [num_heads] or empty

 private:
  dtype bias_type() const { return type() == dtype::f64 ? dtype::f64 : dtype::f32; }
  static operand vector_at(named_tensor& t, index_t first, index_t count) {
    return {t.bytes.data() + first * size_of(t.type), t.type, 1, 1, 1, count, 0, 0, 0, 1};
  }
  family kind_ = family::query_only;
};

}  // namespace v0
}  // namespace rapt
