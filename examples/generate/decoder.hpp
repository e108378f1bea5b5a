// SmolLM2-135M: a decoder of 30 layers whose attention, cache and matrix products are rapt's.
#pragma once
#include <rapt/rapt.hpp>
#include <span>
#include <string>
#include <vector>

#include <common/linear.hpp>

#include "tokenizer.hpp"

namespace generate {

class decoder {
 public:
  static constexpr int num_layers = 30;
  static constexpr rapt::index_t model_dim = 576, hidden_dim = 1536, vocabulary = 49152, max_positions = 8192;

  /// weights: the file that examples/models/fetch.py writes. Throws rapt::error where it is another one.
  /// threads: for what is not rapt's work; those of the contexts, so that both do not get into each other's way.
  decoder(rapt::cpu::context& ctx, const rapt::executor& threads, const std::string& weights, rapt::dtype kv_dtype);

  /// The config of each layer's attention, defaults filled in.
  const rapt::attention_config& config() const { return layers_.front().attention.config(); }
  rapt::kv_cache make_cache(rapt::cpu::context& ctx, rapt::index_t max_tokens, rapt::index_t max_sequences = 1) const;

  /// Appends tokens to the sequence; returns the logits [vocabulary] of what follows the last one, valid until the next call.
  std::span<const float> forward(rapt::cpu::context& ctx, rapt::kv_cache& cache, rapt::sequence& sequence, std::span<const token_id> ids);

 private:
  struct layer {
    std::vector<float> attention_norm, mlp_norm;
    rapt::multi_head_attention<float> attention;
    common::linear gate, up, down;
  };
  static layer load_layer(rapt::cpu::context& ctx, const rapt::safetensors::file& file, int number, rapt::dtype kv_dtype);
  /// y = down(silu(gate(n)) * up(n)).
  void feed_forward(rapt::cpu::context& ctx, const layer& l, common::const_rows n, common::rows y);

  rapt::executor threads_;
  rapt::safetensors::file file_;
  rapt::tensor_view<const rapt::f16, 2> embeddings_;  // [vocabulary, model_dim], in the file
  std::vector<layer> layers_;
  std::vector<float> final_norm_;
  common::linear unembed_;  // the embeddings again: input and output share them
  std::vector<float> x_, n_, y_, gate_, up_, logits_;
};

}  // namespace generate
