// A module with everything that steps can leave behind in it: stored and static keys and values, the sequences of a growing cache.
#pragma once
#include <parity/host_array.hpp>

#include <rapt/rapt.hpp>

#include <memory>

namespace parity {

/// Weights of a case rounded to T, and the views that a module is made from.
template <class T>
class weight_set {
 public:
  weight_set(const case_file& c, const std::vector<std::string>& names) {
    for (const std::string& weight : names) {
      arrays_.push_back(array_of<T>(c.at("weights." + weight)));
      host_array<T>& a = arrays_.back();
      if (a.rank() < 1 || a.rank() > 4) throw refusal("weights." + weight + " has rank " + std::to_string(a.rank()) + "; 1 to 4 is needed");
      slot(weight) = rapt::weight_view(a.memory().data(), rapt::dtype_of<T>, a.shape());
    }
  }
  const rapt::attention_weights& views() const { return views_; }

 private:
  rapt::weight_view& slot(const std::string& weight) {
    using w = rapt::attention_weights;
    static const std::map<std::string, rapt::weight_view w::*> slots = {
        {"w_qkv", &w::w_qkv}, {"w_q", &w::w_q},     {"w_kv", &w::w_kv},     {"w_k", &w::w_k},       {"w_v", &w::w_v},
        {"w_out", &w::w_out}, {"b_qkv", &w::b_qkv}, {"b_q", &w::b_q},       {"b_kv", &w::b_kv},     {"b_k", &w::b_k},
        {"b_v", &w::b_v},     {"b_out", &w::b_out}, {"q_norm", &w::q_norm}, {"k_norm", &w::k_norm}, {"sinks", &w::sink_logits}};
    const auto found = slots.find(weight);
    if (found == slots.end()) throw refusal("the weight '" + weight + "' is not known");
    return views_.*found->second;
  }
  std::vector<host_array<T>> arrays_;
  rapt::attention_weights views_;
};

template <class T, class Backend>
struct module_state {
  using context = typename Backend::context;
  using sequence_type = rapt::basic_sequence<Backend>;
  using projected_kv = rapt::basic_projected_kv<Backend>;
  using kv_cache = rapt::basic_kv_cache<Backend>;

  std::optional<rapt::multi_head_attention<T, Backend>> module;
  std::optional<projected_kv> stored;
  std::optional<projected_kv> given;  ///< static
  std::optional<kv_cache> cache;
  std::map<index_t, sequence_type> sequences;
  rapt::cache_limits limits;

  sequence_type& at(index_t id) {
    const auto found = sequences.find(id);
    if (found == sequences.end()) throw refusal("there is no sequence " + std::to_string(id));
    return found->second;
  }
  kv_cache& growing(context& ctx) {
    if (!cache) cache.emplace(ctx, module->config(), limits);
    return *cache;
  }

  /// Everything through a file into fresh objects.
  void save_and_load(context& ctx) {
    std::vector<sequence_type> in_order;
    std::vector<index_t> ids;
    const bool keeps_stored = stored && !stored->empty(), keeps_sequences = !sequences.empty();
    for (auto& [id, sequence] : sequences) ids.push_back(id), in_order.push_back(std::move(sequence));
    sequences.clear();

    const auto write = [&](const auto&... parts) { return rapt::save_state(ctx, parts...); };
    const auto with_static = [&](const auto&... parts) { return given ? write(parts..., *given) : write(parts...); };
    const auto with_stored = [&](const auto&... parts) { return keeps_stored ? with_static(parts..., *stored) : with_static(parts...); };
    const std::vector<std::byte> file = keeps_sequences ? with_stored(*module, *cache, in_order) : with_stored(*module);
    in_order.clear();
    this->module.reset();

    this->module.emplace(rapt::load_module<T>(ctx, file));
    const auto load_into = [&](std::optional<projected_kv>& kv, auto load) {
      kv.reset();
      load(kv.emplace(ctx, module->config()));
    };
    if (given) load_into(given, [&](projected_kv& kv) { rapt::load_static_kv(ctx, file, kv); });
    if (keeps_stored)
      load_into(stored, [&](projected_kv& kv) { rapt::load_state(ctx, file, kv); });
    else
      stored.reset();
    cache.reset();
    if (!keeps_sequences) return;
    rapt::load_state(ctx, file, growing(ctx), in_order);
    if (in_order.size() != ids.size())
      throw refusal("save_load: " + std::to_string(in_order.size()) + " sequences came back of " + std::to_string(ids.size()));
    for (std::size_t i = 0; i < ids.size(); ++i) sequences[ids[i]] = std::move(in_order[i]);
  }

  /// Keys and values as their bits, and what else a later call could see: equal before and after a call that failed.
  std::vector<std::byte> snapshot(context& ctx) const {
    std::vector<std::byte> bits;
    const auto add = [&](const auto& numbers) {
      const auto bytes = std::as_bytes(std::span(numbers));
      bits.insert(bits.end(), bytes.begin(), bytes.end());
    };
    for (const auto* kv : {&stored, &given}) {
      if (!*kv || (*kv)->empty()) continue;
      add(std::array{(*kv)->batch(), (*kv)->kv_len(), (*kv)->stored_heads()});
      add(rows_of(ctx, **kv).bytes);
    }
    for (const auto& [id, s] : sequences) {
      add(std::array{id, s.kv_len()});
      for (index_t i = 0; i < s.kv_len(); ++i) add(std::array{s.position(i)});
      add(rows_of(ctx, s).bytes);
    }
    return bits;
  }

  /// Keys and values in their own dtype: k [batch, len, heads, head_dim], and behind them v [batch, len, heads, value_dim].
  struct kv_rows {
    index_t batch, len, heads, head_dim, value_dim;
    dtype type;
    std::vector<std::byte> bytes;
    index_t k_elements() const { return batch * len * heads * head_dim; }
    index_t v_elements() const { return batch * len * heads * value_dim; }
    std::vector<double> values() const {
      switch (type) {
        case dtype::f64:
          return as<double>();
        case dtype::f32:
          return as<float>();
        case dtype::bf16:
          return as<rapt::bf16>();
        default:
          return as<rapt::f16>();
      }
    }
    template <class C>
    std::vector<double> as() const {
      std::vector<C> elements(bytes.size() / sizeof(C));
      if (!elements.empty()) std::memcpy(elements.data(), bytes.data(), bytes.size());
      std::vector<double> widened_elements;
      for (const C x : elements) widened_elements.push_back(widened(x));
      return widened_elements;
    }
  };
  kv_rows rows_of(context& ctx, const projected_kv& kv) const {
    kv_rows rows = empty_rows(kv.batch(), kv.kv_len(), kv.stored_heads());
    for (index_t b = 0; b < rows.batch; ++b) {
      const index_t k_row = rows.k_elements() / rows.batch, v_row = rows.v_elements() / rows.batch;
      kv.export_row(ctx, b, address(rows, b * k_row), address(rows, rows.k_elements() + b * v_row));
    }
    return rows;
  }
  kv_rows rows_of(context& ctx, const sequence_type& s) const {
    kv_rows rows = empty_rows(1, s.kv_len(), module->config().num_kv_heads);
    cache->export_layer(ctx, s, 0, 0, rows.len, address(rows, 0), address(rows, rows.k_elements()));
    return rows;
  }

 private:
  kv_rows empty_rows(index_t batch, index_t len, index_t heads) const {
    const rapt::attention_config& c = module->config();
    kv_rows rows{batch, len, heads, c.head_dim, c.value_dim, *c.kv_dtype, {}};
    rows.bytes.resize(static_cast<std::size_t>((rows.k_elements() + rows.v_elements()) * rapt::size_of(rows.type)));
    return rows;
  }
  static std::byte* address(kv_rows& rows, index_t element) { return rows.bytes.data() + element * rapt::size_of(rows.type); }
};

}  // namespace parity
