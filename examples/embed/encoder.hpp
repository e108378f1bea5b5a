// all-MiniLM-L6-v2: texts to unit vectors of 384, in batches whose rows are padded to one length.
#pragma once
#include <rapt/rapt.hpp>
#include <string>
#include <vector>

#include <common/linear.hpp>

#include "wordpiece.hpp"

namespace embed {

class encoder {
 public:
  static constexpr int num_layers = 6;
  static constexpr rapt::index_t model_dim = 384, hidden_dim = 1536, max_len = 512;

  /// weights: all-MiniLM-L6-v2's model.safetensors as published. Throws rapt::error where it is another file.
  encoder(rapt::cpu::context& ctx, const std::string& weights);

  /// One vector [model_dim] of length 1 for each text. The bits of a text's vector do not depend on the other texts of the batch.
  std::vector<std::vector<float>> embed(rapt::cpu::context& ctx, const std::vector<std::vector<token_id>>& texts) const;

 private:
  struct norm {
    std::vector<float> weight, bias;
  };
  struct layer {
    rapt::multi_head_attention<float> attention;
    norm attention_norm;
    common::linear intermediate, output;
    norm output_norm;
  };
  static norm load_norm(const rapt::safetensors::file& file, const std::string& name);
  static layer load_layer(rapt::cpu::context& ctx, const rapt::safetensors::file& file, int number);
  std::vector<float> look_up(const std::vector<std::vector<token_id>>& texts, rapt::index_t len) const;

  std::vector<float> words_, positions_, types_;
  norm embedding_norm_;
  std::vector<layer> layers_;
};

}  // namespace embed
