// Weights as a module takes them: views of the caller's memory in any of the published layouts.
#pragma once
#include <rapt/attention/config.hpp>
#include <rapt/core/operand_check.hpp>

#include <array>
#include <vector>

namespace rapt {
inline namespace v0 {

/// A parameter of any floating dtype and strides, in host memory, read while a module is made. Leading extents may be merged: [num_heads, head_dim,
/// model_dim] may come as [num_heads * head_dim, model_dim].
class weight_view {
 public:
  weight_view() = default;
  template <class T, int Rank>
  requires(activation<std::remove_const_t<T>>&& Rank >= 1 && Rank <= 4) weight_view(const tensor_view<T, Rank>& w)
      : data_(w.data()), type_(dtype_of<T>), rank_(Rank) {
    for (std::size_t i = 0; i < Rank; ++i) extents_[i] = w.extents()[i], strides_[i] = w.strides()[i];
  }
  /// Type-erased: rank = extents.size(), 1 to 4.
  RAPT_API weight_view(const void* data, dtype type, std::span<const index_t> extents, std::span<const index_t> strides);
  /// Contiguous.
  RAPT_API weight_view(const void* data, dtype type, std::span<const index_t> extents);

  bool present() const { return rank_ > 0; }
  const void* data() const { return data_; }
  dtype type() const { return type_; }
  int rank() const { return rank_; }
  index_t extent(int i) const { return extents_[static_cast<std::size_t>(i)]; }
  index_t stride(int i) const { return strides_[static_cast<std::size_t>(i)]; }
  /// A matrix with its two extents swapped.
  RAPT_API weight_view transposed() const;
  /// "[3, 64]", for messages.
  RAPT_API std::string shape() const;

 private:
  const void* data_ = nullptr;
  dtype type_ = dtype::f32;
  int rank_ = 0;
  std::array<index_t, 4> extents_{}, strides_{};
};

/// Exactly one of w_qkv and w_q; w_qkv excludes w_kv, w_k, w_v; w_kv excludes w_k, w_v; w_k and w_v come together. w_q without key and value weights
/// makes a module that only attends to stored keys and values. H = num_heads, Hk = num_kv_heads, d = head_dim, dv = value_dim, E = model_dim, O =
/// output_dim.
struct attention_weights {
  weight_view w_qkv = {};  ///< [3, H, d, E]; needs d == dv and Hk == H
  weight_view w_q = {};    ///< [1, H, d, E] or [H, d, E]
  weight_view w_kv = {};   ///< [2, Hk, d, E]; needs d == dv
  weight_view w_k = {};    ///< [Hk, d, E]
  weight_view w_v = {};    ///< [Hk, dv, E]
  weight_view w_out = {};  ///< [H, dv, O]
  weight_view b_qkv = {};  ///< [3, H, d]; biases have the shape of their weight without its last extent
  weight_view b_q = {}, b_kv = {}, b_k = {}, b_v = {};
  weight_view b_out = {};                ///< [O]
  weight_view q_norm = {}, k_norm = {};  ///< [d], with config.qk_norm
  weight_view sink_logits = {};          ///< [H]
};

/// Which parameters a set holds, and where each part of the projections lies in them.
struct weight_layout {
  enum class family : std::uint8_t { fused_qkv, q_and_kv, q_k_v, query_only } kind;
  dtype type;  ///< of all weights
};

/// config_error naming the fields for every combination or shape that does not fit, nothing otherwise. `config` is resolved.
RAPT_API failure check(const attention_weights& weights, const attention_config& config);
/// Of weights that check() accepts.
RAPT_API weight_layout layout_of(const attention_weights& weights);

/// torch.nn.MultiheadAttention: in_proj_weight [3E, E], in_proj_bias [3E] or absent, out_proj.weight [E, E], out_proj.bias [E] or absent.
RAPT_API attention_weights torch_weights(const weight_view& in_proj_weight, const weight_view& in_proj_bias, const weight_view& out_proj_weight,
                                         const weight_view& out_proj_bias);
/// Hugging Face's Llama-type layers: {q,k,v}_proj.weight [heads * dim, E], o_proj.weight [E, H * dv], biases or absent.
struct hugging_face_tensors {
  weight_view q_proj = {}, k_proj = {}, v_proj = {}, o_proj = {}, q_bias = {}, k_bias = {}, v_bias = {}, o_bias = {}, q_norm = {}, k_norm = {},
              sinks = {};
};
RAPT_API attention_weights hugging_face_weights(const hugging_face_tensors& tensors);

/// Weights that own their memory.
struct owned_weights {
  attention_weights views;
  std::vector<std::vector<std::byte>> memory;
};
struct initialisation {
  double init_gain = 1;  ///< multiplies the inputs' bounds, not w_out's
  bool initialize_output_to_zero = false;
  weight_layout::family kind = weight_layout::family::q_k_v;
};
/// Random weights as TabPFN's module draws them: inputs uniform within sqrt(3) * sqrt(2 / (H * d + E)) * init_gain, w_out within
/// sqrt(6 / (O * (dv + H))). Counter-based: element i of parameter p depends on (seed, p, i) alone. Throws config_error.
template <activation T>
owned_weights random_weights(const attention_config& config, std::uint64_t seed, const initialisation& how = {});
extern template RAPT_API owned_weights random_weights<double>(const attention_config&, std::uint64_t, const initialisation&);
extern template RAPT_API owned_weights random_weights<float>(const attention_config&, std::uint64_t, const initialisation&);
extern template RAPT_API owned_weights random_weights<bf16>(const attention_config&, std::uint64_t, const initialisation&);
extern template RAPT_API owned_weights random_weights<f16>(const attention_config&, std::uint64_t, const initialisation&);

}  // namespace v0
}  // namespace rapt
