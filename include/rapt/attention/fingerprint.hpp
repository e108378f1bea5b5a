// Which weights and which config made a cache's keys and values.
#pragma once
#include <rapt/attention/config.hpp>

#include <string>
#include <vector>

namespace rapt {
inline namespace v0 {

/// XXH3-128 over canonical weights and config; two modules agree in it exactly where they compute the same keys and values.
struct fingerprint {
  std::uint64_t high = 0, low = 0;
  bool empty() const { return high == 0 && low == 0; }
  /// 32 lower-case hexadecimal digits.
  RAPT_API std::string hex() const;
  friend bool operator==(const fingerprint&, const fingerprint&) = default;
};

/// A parameter in its canonical layout (contiguous, the shapes of attention_weights) and stored dtype.
struct named_tensor {
  std::string name;  ///< "w_q", "b_out", "q_norm", ...
  dtype type = dtype::f32;
  std::vector<index_t> shape;
  std::vector<std::byte> bytes;
};

/// Two lists of numerics ids, "a + b" and "b + c", as one without repetition: "a + b + c".
RAPT_API std::string merged_numerics(const std::string& ids, const std::string& more);

/// Of the weights (sorted by name here) and the resolved config, all fields but numerics.
RAPT_API fingerprint fingerprint_of(const attention_config& config, const std::vector<named_tensor>& weights);

}  // namespace v0
}  // namespace rapt
