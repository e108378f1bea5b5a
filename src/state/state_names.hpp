// The names of a state file, version 1: tensors and metadata keys. A tensor that has none of these names is no part of a state.
#pragma once
#include <rapt/core/index.hpp>

#include <string>
#include <string_view>

namespace rapt {
inline namespace v0 {
namespace detail {

inline constexpr std::string_view config_key = "rapt.config", numerics_key = "rapt.numerics", cache_key = "rapt.cache",
                                  fingerprint_prefix = "rapt.fingerprint.", weights_prefix = "weights.";
inline constexpr std::string_view weight_names[] = {"w_qkv", "w_q", "w_kv", "w_k",   "w_v",    "w_out",  "b_qkv", "b_q",
                                                    "b_kv",  "b_k", "b_v",  "b_out", "q_norm", "k_norm", "sinks"};

inline std::string positions_name(index_t sequence) { return "cache." + std::to_string(sequence) + ".positions"; }
inline std::string first_index_name(index_t sequence) { return "cache." + std::to_string(sequence) + ".first_index"; }
inline std::string layer_name(index_t layer, index_t sequence, std::string_view which) {
  return "layers." + std::to_string(layer) + ".cache." + std::to_string(sequence) + "." + std::string(which);
}

}  // namespace detail
}  // namespace v0
}  // namespace rapt
