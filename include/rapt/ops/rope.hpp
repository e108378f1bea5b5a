// Rotary position embedding: which pairs turn, how fast, and how long contexts are scaled.
#pragma once
#include <rapt/core/error.hpp>
#include <rapt/core/params.hpp>

#include <optional>
#include <vector>

namespace rapt {
inline namespace v0 {

enum class rope_pairing : std::uint8_t {
  half,        ///< (i, i + dim / 2): Hugging Face's Llama
  interleaved  ///< (2i, 2i + 1): the original paper, GGUF files
};

enum class rope_scaling_kind : std::uint8_t { none, linear, ntk, llama3, yarn };

/// How a trained context is stretched; the formulas and names are those of Hugging Face's `rope_scaling`.
struct rope_scaling {
  rope_scaling_kind kind = rope_scaling_kind::none;
  double factor = 1;
  double original_max_position_embeddings = 8192;         ///< llama3, yarn
  double low_freq_factor = 1, high_freq_factor = 4;       ///< llama3
  double beta_fast = 32, beta_slow = 1;                   ///< yarn
  std::optional<double> attention_factor = std::nullopt;  ///< yarn: multiplies cos and sin; default 0.1 ln(factor) + 1
  friend bool operator==(const rope_scaling&, const rope_scaling&) = default;
};

struct rope_config {
  double theta = 10'000.0;
  index_t dim = 0;  ///< even; the first `dim` entries of each head are rotated; 0: all of head_dim
  rope_pairing pairing = rope_pairing::half;
  rope_scaling scaling = {};
  friend bool operator==(const rope_config&, const rope_config&) = default;
};

/// What the kernels need of a rope_config, computed once.
struct rope_table {
  index_t dim = 0;
  rope_pairing pairing = rope_pairing::half;
  std::vector<double> inverse_frequencies;  ///< [dim / 2], radians per position
  double attention_factor = 1;
  rope_params params() const { return {dim, pairing == rope_pairing::interleaved, inverse_frequencies.data(), attention_factor}; }
};

RAPT_API failure check(const rope_config& config, index_t head_dim);
/// Throws config_error where check() finds something.
RAPT_API rope_table make_rope_table(const rope_config& config, index_t head_dim);

/// ALiBi's slope of each head: 2^(-8k/P), k = 1..P, P the largest power of two <= num_heads; the rest 2^(-8k/2P), k = 1, 3, 5, ...
/// Source: Press et al. 2022.
RAPT_API std::vector<double> alibi_slopes(index_t num_heads);

}  // namespace v0
}  // namespace rapt
