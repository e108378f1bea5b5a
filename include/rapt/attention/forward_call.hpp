// One forward with its types erased, its options, and the checks that it passes before anything is written.
#pragma once
#include <rapt/attention/config.hpp>
#include <rapt/attention/sources.hpp>

namespace rapt {
inline namespace v0 {

/// Output for the log-sum-exp of each row: accumulators [batch, num_heads, len], or [num_heads, rows] for packed rows. Natural log, without sinks.
class lse_output {
 public:
  lse_output() = default;
  template <class A, int Rank, class Space>
  requires((std::same_as<A, float> || std::same_as<A, double>)&&(Rank == 2 || Rank == 3)) lse_output(const tensor_view<A, Rank, Space>& lse)
      : operand_(lse_operand_of(lse)), present_(true) {}
  bool present() const { return present_; }
  const operand& get() const { return operand_; }

 private:
  operand operand_;
  bool present_ = false;
};

struct forward_options {
  bool residual = false;   ///< y = T(x + attention(x)), rounded once; needs output_dim == model_dim
  index_t num_chunks = 1;  ///< cuts the batch into this many pieces, one after the other: less work memory, the same bits. Need not divide it
  /// Without a cache [batch | 1, num_heads | 1, len | 1, kv_len], or [len | 1, kv_len] for packed rows; with append or step, bool over the call's own
  /// new rows (attention_mask says how).
  attention_mask mask = {};
  std::span<const index_t> kv_lens = {};  ///< [batch], 0..kv_len: hides keys at or past it in this call; not with append or step
  /// Positions of x's rows, [len] for all or [batch * len]; with append [len]; a step takes them at begin_step. Default: row i has
  /// kv_len - len + i.
  std::span<const index_t> positions = {};
  lse_output lse = {};
  std::optional<dropout_state> dropout = std::nullopt;  ///< config.dropout_p acts; with self_kv and cross alone, else config_error
  bool accept_other_weights = false;                    ///< use a cache whose contents other weights made
};

/// A forward as the pipeline runs it. `packed` means x came as rows [rows, dim].
struct forward_call {
  operand x, y;
  bool packed = false;
};

/// What this module's config and weights say that checks need.
struct module_traits {
  const attention_config* config;  ///< resolved, kv_dtype filled in
  dtype activations;
  bool has_kv_weights;
  fingerprint made_by;
};

/// The checks that do not depend on a backend: x, y and options for `kind` with kv_len keys (of x_kv or stored) per batch row.
RAPT_API failure check_forward_call(const module_traits& module, const forward_call& call, source_kind kind, const operand& x_kv, index_t kv_len,
                                    const forward_options& options);
/// Whether keys and values of `held` can be read and written by a module of config `module`: the first field that differs.
RAPT_API failure check_kv_config(const char* holder, const attention_config& held, const attention_config& module);

/// shape_error where y or lse lies in memory that holds keys and values.
RAPT_API failure check_outside(const operand& y, const lse_output& lse, const std::byte* memory, std::size_t bytes);

/// What forward would throw, but for what the cache's begin_step refuses; nothing where it would run. `call` and `source` as in
/// multi_head_attention::forward.
template <class T, class Backend>
failure check_forward(const module_traits& module, const forward_call& call, const kv_source<T, Backend>& source, const forward_options& options) {
  const attention_config& c = *module.config;
  const fingerprint& own = module.made_by;
  const auto check_made_by = [&](const char* what, const fingerprint& stamp) -> failure {
    if (stamp.empty() || stamp == own || options.accept_other_weights) return {};
    return {errc::config, std::string("forward: ") + what + " weights " + stamp.hex() + "; this module's are " + own.hex() +
                              " (forward_options.accept_other_weights allows it)"};
  };
  index_t kv_len = call.x.len;
  switch (source.kind) {
    case source_kind::self:
      break;
    case source_kind::cross:
      kv_len = source.x_kv.len;
      break;
    case source_kind::store:
      kv_len = source.x_kv.len;
      if (failure f = source.projected->check_writable()) return f;
      if (failure f = check_kv_config("projected_kv", source.projected->config(), c)) return f;
      break;
    case source_kind::stored: {
      const basic_projected_kv<Backend>& kv = *source.projected;
      kv_len = kv.kv_len();
      if (kv.empty()) return {errc::state, "forward: stored(kv) holds nothing yet; store into it first"};
      if (failure f = check_kv_config("projected_kv", kv.config(), c)) return f;
      if (kv.batch() != call.x.batch)
        return {errc::shape,
                "forward: x has batch " + std::to_string(call.x.batch) + "; the stored keys and values have " + std::to_string(kv.batch())};
      if (failure f = check_outside(call.y, options.lse, kv.layout().base, kv.bytes())) return f;
      if (failure f = check_made_by("stored keys and values were made by", kv.made_by())) return f;
      break;
    }
    case source_kind::append: {
      if (failure f = source.cache->check_held("forward")) return f;
      if (failure f = check_kv_config("kv_cache", source.cache->config(), c)) return f;
      if (failure f = check_outside(call.y, options.lse, source.cache->data(), source.cache->bytes())) return f;
      if (source.cache->limits().num_layers != 1)
        return {errc::state, "forward: append needs a cache of one layer; this one has " + std::to_string(source.cache->limits().num_layers) +
                                 " (begin_step serves them)"};
      if (call.x.batch != 1) return {errc::shape, "forward: append takes one sequence; x has batch " + std::to_string(call.x.batch)};
      if (failure f = check_made_by("the cache holds keys and values of", source.cache->layer_fingerprint(0))) return f;
      break;
    }
    case source_kind::step: {
      if (failure f = source.step->check_open("forward")) return f;
      const auto& core = source.step->core("forward");
      if (failure f = check_kv_config("kv_cache", core.config, c)) return f;
      if (failure f = check_outside(call.y, options.lse, core.memory.data(), core.memory.bytes())) return f;
      if (failure f = source.step->check_layer(source.layer, module.made_by, options.accept_other_weights)) return f;
      if (call.packed && call.x.len != core.num_rows)
        return {errc::shape, "forward: x has " + std::to_string(call.x.len) + " rows; the step has " + std::to_string(core.num_rows)};
      if (!call.packed) {
        if (call.x.batch != static_cast<index_t>(core.rows.size()))
          return {errc::shape,
                  "forward: x has batch " + std::to_string(call.x.batch) + "; the step has " + std::to_string(core.rows.size()) + " sequences"};
        for (const sequence_rows& rows : core.rows)
          if (rows.num_rows != call.x.len)
            return {errc::shape, "forward: x has " + std::to_string(call.x.len) + " rows for each sequence; the step has one with " +
                                     std::to_string(rows.num_rows) + " (packed rows serve sequences of different lengths)"};
      }
      break;
    }
  }
  return check_forward_call(module, call, source.kind, source.x_kv, kv_len, options);
}

}  // namespace v0
}  // namespace rapt
