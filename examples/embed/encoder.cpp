#include "encoder.hpp"

#include <algorithm>

namespace embed {
namespace {

constexpr double norm_eps = 1e-12;

std::size_t at(rapt::index_t i) { return static_cast<std::size_t>(i); }

}  // namespace

encoder::norm encoder::load_norm(const rapt::safetensors::file& file, const std::string& name) {
  return {common::floats(file.at(name + ".weight")), common::floats(file.at(name + ".bias"))};
}

encoder::layer encoder::load_layer(rapt::cpu::context& ctx, const rapt::safetensors::file& file, int number) {
  const std::string prefix = "encoder.layer." + std::to_string(number) + ".";
  const auto parameter = [&](const std::string& name) {
    const rapt::safetensors::tensor t = file.at(prefix + "attention." + name);
    return rapt::weight_view(t.bytes.data(), t.type.value(), t.shape());
  };
  rapt::hugging_face_tensors parts;
  parts.q_proj = parameter("self.query.weight"), parts.q_bias = parameter("self.query.bias");
  parts.k_proj = parameter("self.key.weight"), parts.k_bias = parameter("self.key.bias");
  parts.v_proj = parameter("self.value.weight"), parts.v_bias = parameter("self.value.bias");
  parts.o_proj = parameter("output.dense.weight"), parts.o_bias = parameter("output.dense.bias");
  return {{ctx, {.model_dim = model_dim, .num_heads = 12}, rapt::hugging_face_weights(parts)},
          load_norm(file, prefix + "attention.output.LayerNorm"),
          {ctx, file, prefix + "intermediate.dense"},
          {ctx, file, prefix + "output.dense"},
          load_norm(file, prefix + "output.LayerNorm")};
}

encoder::encoder(rapt::cpu::context& ctx, const std::string& weights) {
  const rapt::safetensors::file file = rapt::safetensors::open(weights);
  words_ = common::floats(file.at("embeddings.word_embeddings.weight"));
  positions_ = common::floats(file.at("embeddings.position_embeddings.weight"));
  types_ = common::floats(file.at("embeddings.token_type_embeddings.weight"));
  embedding_norm_ = load_norm(file, "embeddings.LayerNorm");
  for (int number = 0; number < num_layers; ++number) layers_.push_back(load_layer(ctx, file, number));
}

/// [texts, len, model_dim]; rows past a text's end are zero.
std::vector<float> encoder::look_up(const std::vector<std::vector<token_id>>& texts, rapt::index_t len) const {
  std::vector<float> x(texts.size() * at(len * model_dim));
  for (std::size_t b = 0; b < texts.size(); ++b)
    for (std::size_t t = 0; t < texts[b].size(); ++t)
      for (std::size_t i = 0; i < model_dim; ++i)
        x[(b * at(len) + t) * model_dim + i] = words_[at(texts[b][t]) * model_dim + i] + positions_[t * model_dim + i] + types_[i];
  return x;
}

std::vector<std::vector<float>> encoder::embed(rapt::cpu::context& ctx, const std::vector<std::vector<token_id>>& texts) const {
  std::vector<rapt::index_t> lens;
  for (const auto& text : texts) lens.push_back(static_cast<rapt::index_t>(text.size()));
  const auto batch = static_cast<rapt::index_t>(texts.size());
  const rapt::index_t len = lens.empty() ? 0 : *std::max_element(lens.begin(), lens.end()), num_rows = batch * len;

  std::vector<float> x_memory = look_up(texts, len), y_memory(x_memory.size()), hidden_memory(at(num_rows * hidden_dim));
  const common::rows x = rapt::view(x_memory.data(), num_rows, model_dim), y = rapt::view(y_memory.data(), num_rows, model_dim);
  const common::rows hidden = rapt::view(hidden_memory.data(), num_rows, hidden_dim);
  common::layer_norm(x, embedding_norm_.weight, embedding_norm_.bias, norm_eps);
  for (const layer& l : layers_) {
    // kv_lens hides the padding: it is computed, but no text sees it.
    l.attention.forward(ctx, rapt::view(x_memory.data(), batch, len, model_dim), rapt::self_kv{}, rapt::view(y_memory.data(), batch, len, model_dim),
                        {.kv_lens = lens});
    common::add(x, y);
    common::layer_norm(x, l.attention_norm.weight, l.attention_norm.bias, norm_eps);
    l.intermediate(ctx, x, hidden);
    common::gelu(hidden);
    l.output(ctx, hidden, y);
    common::add(x, y);
    common::layer_norm(x, l.output_norm.weight, l.output_norm.bias, norm_eps);
  }

  std::vector<std::vector<float>> vectors;
  for (rapt::index_t b = 0; b < batch; ++b) {
    std::vector<double> sum(model_dim);
    double square = 0;
    for (rapt::index_t i = 0; i < model_dim; ++i) {
      for (rapt::index_t t = 0; t < lens[at(b)]; ++t) sum[at(i)] += x(b * len + t, i);
      sum[at(i)] /= double(lens[at(b)]);
      square += sum[at(i)] * sum[at(i)];
    }
    std::vector<float>& vector = vectors.emplace_back();
    for (const double value : sum) vector.push_back(static_cast<float>(value / std::sqrt(square)));
  }
  return vectors;
}

}  // namespace embed
