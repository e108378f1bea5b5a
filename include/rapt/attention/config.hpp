// What a module computes: extents, scale, masks and positions. Weights are elsewhere.
#pragma once
#include <rapt/core/dtype.hpp>
#include <rapt/core/numerics.hpp>
#include <rapt/ops/mask.hpp>
#include <rapt/ops/rope.hpp>

#include <optional>
#include <string>

namespace rapt {
inline namespace v0 {

/// RMS norm of each query and key head over head_dim, before RoPE; its weights are attention_weights::q_norm and k_norm.
struct qk_norm_config {
  double eps = 1e-6;
  friend bool operator==(const qk_norm_config&, const qk_norm_config&) = default;
};

/// Zeros and empty optionals take the default that stands beside them; resolve() fills them in.
struct attention_config {
  index_t model_dim = 0;  ///< width of x (and x_kv)
  index_t num_heads = 0;
  index_t num_kv_heads = 0;                            ///< divides num_heads; default num_heads
  index_t head_dim = 0;                                ///< of queries and keys; default model_dim / num_heads
  index_t value_dim = 0;                               ///< of values; default head_dim
  index_t output_dim = 0;                              ///< width of y; default model_dim
  std::optional<double> softmax_scale = std::nullopt;  ///< multiplies q.k; default 1 / sqrt(head_dim); 0 and negative are legal
  bool causal = false;
  rapt::window window = {};
  std::optional<double> softcap = std::nullopt;  ///< cap * tanh(score / cap)
  bool alibi = false;                            ///< score -= alibi_slopes(num_heads)[h] * |q_pos - k_pos|
  std::optional<qk_norm_config> qk_norm = std::nullopt;
  std::optional<rope_config> rope = std::nullopt;
  double dropout_p = 0;  ///< acts only where forward_options.dropout is given
  /// Element type of stored keys and values; default the activations' type. f64 only with double activations.
  std::optional<dtype> kv_dtype = std::nullopt;
  std::string numerics = {};  ///< id of the order of operations; default the backend's

  index_t group_size() const { return num_heads / num_kv_heads; }
  friend bool operator==(const attention_config&, const attention_config&) = default;
};

/// What resolve() would throw.
RAPT_API failure check(const attention_config& config);
/// The config with every default filled in but kv_dtype and numerics, which depend on activations and backend. Throws config_error.
RAPT_API attention_config resolve(const attention_config& config);

/// The first field in which two configs differ, with both values, numerics apart: "head_dim: 64 and 32"; empty where they agree.
RAPT_API std::string difference(const attention_config& a, const attention_config& b);

}  // namespace v0
}  // namespace rapt
