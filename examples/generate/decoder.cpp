#include "decoder.hpp"

#include <common/parts.hpp>

namespace generate {
namespace {

constexpr double norm_eps = 1e-5;

common::rows as_rows(std::vector<float>& memory, rapt::index_t num_rows, rapt::index_t dim) {
  memory.resize(static_cast<std::size_t>(num_rows * dim));
  return rapt::view(memory.data(), num_rows, dim);
}

rapt::attention_config attention_of_smollm2(rapt::dtype kv_dtype) {
  return {.model_dim = decoder::model_dim,
          .num_heads = 9,
          .num_kv_heads = 3,
          .head_dim = 64,
          .causal = true,
          .rope = rapt::rope_config{.theta = 100'000.0},
          .kv_dtype = kv_dtype};
}

}  // namespace

decoder::layer decoder::load_layer(rapt::cpu::context& ctx, const rapt::safetensors::file& file, int number, rapt::dtype kv_dtype) {
  const std::string prefix = "model.layers." + std::to_string(number) + ".";
  return {common::floats(file.at(prefix + "input_layernorm.weight")),
          common::floats(file.at(prefix + "post_attention_layernorm.weight")),
          {ctx, attention_of_smollm2(kv_dtype), rapt::hugging_face_weights(file, prefix + "self_attn.")},
          {ctx, file, prefix + "mlp.gate_proj"},
          {ctx, file, prefix + "mlp.up_proj"},
          {ctx, file, prefix + "mlp.down_proj"}};
}

decoder::decoder(rapt::cpu::context& ctx, const rapt::executor& threads, const std::string& weights, rapt::dtype kv_dtype)
    : threads_(threads),
      file_(rapt::safetensors::open(weights, {.mmap = true})),
      embeddings_(file_.at("model.embed_tokens.weight").view<rapt::f16, 2>()),
      final_norm_(common::floats(file_.at("model.norm.weight"))),
      unembed_(ctx, file_, "model.embed_tokens") {
  for (int number = 0; number < num_layers; ++number) layers_.push_back(load_layer(ctx, file_, number, kv_dtype));
}

rapt::kv_cache decoder::make_cache(rapt::cpu::context& ctx, rapt::index_t max_tokens, rapt::index_t max_sequences) const {
  return rapt::kv_cache(ctx, config(), {.num_layers = num_layers, .max_tokens = max_tokens, .max_sequences = max_sequences});
}

void decoder::feed_forward(rapt::cpu::context& ctx, const layer& l, common::const_rows n, common::rows y) {
  const rapt::index_t num_rows = n.extent(0);
  const common::rows gate = as_rows(gate_, num_rows, hidden_dim), up = as_rows(up_, num_rows, hidden_dim);
  l.gate(ctx, n, gate);
  l.up(ctx, n, up);
  common::for_each_part(threads_, num_rows, [&](rapt::index_t first, rapt::index_t count) {
    common::silu_times(common::part_of(gate, first, count), common::part_of(up, first, count));
  });
  l.down(ctx, gate, y);
}

std::span<const float> decoder::forward(rapt::cpu::context& ctx, rapt::kv_cache& cache, rapt::sequence& sequence, std::span<const token_id> ids) {
  const auto num_rows = static_cast<rapt::index_t>(ids.size());
  const common::rows x = as_rows(x_, num_rows, model_dim), n = as_rows(n_, num_rows, model_dim), y = as_rows(y_, num_rows, model_dim);
  for (rapt::index_t r = 0; r < num_rows; ++r)
    for (rapt::index_t i = 0; i < model_dim; ++i) x(r, i) = static_cast<float>(embeddings_(ids[static_cast<std::size_t>(r)], i));

  const auto norm = [&](const std::vector<float>& weight) {
    common::for_each_part(threads_, num_rows, [&](rapt::index_t first, rapt::index_t count) {
      common::rms_norm(common::part_of(x, first, count), weight, norm_eps, common::part_of(n, first, count));
    });
  };
  const auto add_y = [&] {
    common::for_each_part(threads_, num_rows, [&](rapt::index_t first, rapt::index_t count) {
      common::add(common::part_of(x, first, count), common::part_of(y, first, count));
    });
  };
  rapt::step step = cache.begin_step({{sequence, num_rows}});
  for (int number = 0; number < num_layers; ++number) {
    const layer& l = layers_[static_cast<std::size_t>(number)];
    norm(l.attention_norm);
    l.attention.forward(ctx, n, step.layer(number), y);
    add_y();
    norm(l.mlp_norm);
    feed_forward(ctx, l, n, y);
    add_y();
  }
  step.commit();

  const common::rows last = rapt::view(&x(num_rows - 1, 0), 1, model_dim), logits = as_rows(logits_, 1, vocabulary);
  common::rms_norm(last, final_norm_, norm_eps, last);
  unembed_(ctx, last, logits);
  return logits_;
}

}  // namespace generate
