// Weights of a module from an open file, under the names that other programs give them. The views point into the file, which must live until the
// module is made.
#pragma once
#include <rapt/attention/weights.hpp>
#include <rapt/state/safetensors.hpp>

#include <string_view>

namespace rapt {
inline namespace v0 {

/// One parameter. Throws format_error where it is missing, config_error where its dtype is not floating or its elements are not aligned.
RAPT_API weight_view weight_of(const safetensors::file& file, const std::string& name);
/// As weight_of; a view that is not present() where the file lacks it.
RAPT_API weight_view optional_weight_of(const safetensors::file& file, const std::string& name);

/// Llama-type layers: prefix + {q,k,v,o}_proj.weight, and where present .bias, q_norm.weight, k_norm.weight, sinks.
/// hugging_face_weights(file, "model.layers.0.self_attn.")
RAPT_API attention_weights hugging_face_weights(const safetensors::file& file, const std::string& prefix);
/// torch.nn.MultiheadAttention: prefix + in_proj_weight, or q_proj_weight, k_proj_weight and v_proj_weight where kdim or vdim was given;
/// out_proj.weight; in_proj_bias and out_proj.bias where present. torch_weights(file, "encoder.self_attn.")
RAPT_API attention_weights torch_weights(const safetensors::file& file, const std::string& prefix);
/// TabPFN v2: prefix + _w_qkv, or _w_q with _w_kv or with _w_k and _w_v; _w_out. tabpfn_weights(file, "layers.0.self_attn_between_items.")
RAPT_API attention_weights tabpfn_weights(const safetensors::file& file, const std::string& prefix);
/// The weights of a state file of rapt.
RAPT_API attention_weights state_weights(const safetensors::file& file);

}  // namespace v0
}  // namespace rapt
