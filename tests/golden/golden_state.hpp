// The states in fixtures/golden: one for each kind of content, made of values that a formula gives, so that neither this library's writer nor its
// reader is needed to know what must be in a file. fixtures/golden_check.py has the formula too.
#pragma once
#include <rapt/cpu/context.hpp>
#include <rapt/state/save_load.hpp>

#include <ostream>
#include <string>
#include <vector>

namespace rapt_test::golden {
using rapt::dtype, rapt::index_t;

/// Element `idx` of the tensor `name`: a multiple of 1/64 in [-125/64, 125/64], exact in every floating type.
inline double value_of(std::string_view name, index_t idx) {
  std::uint32_t sum = 0;
  for (const char c : name) sum = 31 * sum + static_cast<unsigned char>(c);
  return (static_cast<double>((sum + 7 * static_cast<std::uint64_t>(idx)) % 251) - 125) / 64;
}

inline std::vector<std::byte> values_of(std::string_view name, dtype type, index_t count) {
  const auto size = static_cast<std::size_t>(rapt::size_of(type));
  std::vector<std::byte> bytes(static_cast<std::size_t>(count) * size);
  const auto put = [&](index_t i, auto value) { std::memcpy(bytes.data() + static_cast<std::size_t>(i) * size, &value, size); };
  for (index_t i = 0; i < count; ++i) {
    const double value = value_of(name, i);
    if (type == dtype::f64) put(i, value);
    if (type == dtype::f32) put(i, static_cast<float>(value));
    if (type == dtype::bf16) put(i, rapt::bf16(value));
    if (type == dtype::f16) put(i, rapt::f16(value));
  }
  return bytes;
}

enum class family { none, qkv, q_kv, q_k_v, q };

struct golden_state {
  std::string name;
  dtype kv = dtype::f32;
  family weights = family::none;
  dtype weight_type = dtype::f32;
  index_t static_heads = 0, projected_heads = 0;  ///< 0: the file has no such part
  std::vector<index_t> kv_lens = {};              ///< of the sequences; odd ones have positions of their own

  static constexpr index_t num_layers = 2, batch = 2, projected_len = 3;

  rapt::attention_config config() const {
    rapt::attention_config c{.model_dim = 4, .num_heads = 4, .num_kv_heads = 2, .head_dim = 2, .value_dim = 3, .output_dim = 5};
    c.softmax_scale = 0.25;
    c.causal = true;
    c.window.left = 7;
    c.rope = rapt::rope_config{.theta = 500, .dim = 2};
    if (weights == family::qkv || weights == family::q_kv) c.value_dim = c.head_dim;
    if (weights == family::qkv) c.num_kv_heads = c.num_heads;
    if (weights == family::q_k_v) c.qk_norm = rapt::qk_norm_config{};
    c.kv_dtype = kv;
    c.numerics = rapt::numerics_id::cpu_v1;
    return rapt::resolve(c);
  }
  rapt::cache_limits limits() const { return {.num_layers = num_layers, .max_tokens = 100, .max_sequences = 4, .page_len = 16}; }
  static index_t position(index_t sequence, index_t token) { return sequence % 2 == 0 ? token : (index_t{1} << 40) + 3 * token; }
};

inline void PrintTo(const golden_state& state, std::ostream* out) { *out << state.name; }  // for GoogleTest

inline const std::vector<golden_state>& golden_states() {
  static const std::vector<golden_state> all = {
      {.name = "weights_qkv_f32", .weights = family::qkv},
      {.name = "weights_q_kv_bf16", .weights = family::q_kv, .weight_type = dtype::bf16},
      {.name = "weights_q_k_v_f16", .weights = family::q_k_v, .weight_type = dtype::f16},
      {.name = "weights_q_f64", .kv = dtype::f64, .weights = family::q, .weight_type = dtype::f64},
      {.name = "static_f32", .static_heads = 2},
      {.name = "static_one_head_bf16", .kv = dtype::bf16, .static_heads = 1},
      {.name = "projected_f16", .kv = dtype::f16, .projected_heads = 2},
      {.name = "projected_one_head_f64", .kv = dtype::f64, .projected_heads = 1},
      {.name = "cache_f32", .kv_lens = {5}},
      {.name = "cache_f16", .kv = dtype::f16, .kv_lens = {17, 3, 0}},
      {.name = "cache_bf16", .kv = dtype::bf16, .kv_lens = {0, 4}},
      {.name = "cache_f64", .kv = dtype::f64, .kv_lens = {2, 1}},
      {.name = "everything_f32", .weights = family::q_k_v, .static_heads = 2, .projected_heads = 1, .kv_lens = {3, 2}},
  };
  return all;
}

/// Weights of the formula's values, with their memory.
struct golden_weights {
  rapt::attention_weights views;
  std::vector<std::vector<std::byte>> memory;

  explicit golden_weights(const golden_state& of) {
    const rapt::attention_config c = of.config();
    const auto add = [&](const char* name, std::vector<index_t> shape) {
      index_t count = 1;
      for (const index_t extent : shape) count *= extent;
      memory.push_back(values_of(std::string("weights.") + name, of.weight_type, count));
      return rapt::weight_view(memory.back().data(), of.weight_type, shape);
    };
    if (of.weights == family::qkv) {
      views.w_qkv = add("w_qkv", {3, c.num_heads, c.head_dim, c.model_dim});
      views.b_qkv = add("b_qkv", {3, c.num_heads, c.head_dim});
    } else {
      views.w_q = add("w_q", {1, c.num_heads, c.head_dim, c.model_dim});
    }
    if (of.weights == family::q_kv) {
      views.b_q = add("b_q", {1, c.num_heads, c.head_dim});
      views.w_kv = add("w_kv", {2, c.num_kv_heads, c.head_dim, c.model_dim});
      views.b_kv = add("b_kv", {2, c.num_kv_heads, c.head_dim});
    }
    if (of.weights == family::q_k_v) {
      views.w_k = add("w_k", {c.num_kv_heads, c.head_dim, c.model_dim});
      views.w_v = add("w_v", {c.num_kv_heads, c.value_dim, c.model_dim});
      views.b_v = add("b_v", {c.num_kv_heads, c.value_dim});
      views.q_norm = add("q_norm", {c.head_dim});
      views.k_norm = add("k_norm", {c.head_dim});
      views.sink_logits = add("sinks", {c.num_heads});
    }
    views.w_out = add("w_out", {c.num_heads, c.value_dim, c.output_dim});
    views.b_out = add("b_out", {c.output_dim});
  }
};

}  // namespace rapt_test::golden
