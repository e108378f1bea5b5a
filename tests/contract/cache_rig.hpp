// A small decoder of two attention layers and its cache, for tests of what a cache keeps.
#pragma once
#include <contract/module_case.hpp>

namespace rapt_test::contract {

class cache_rig {
 public:
  static constexpr index_t num_layers = 2;
  attention_config config;
  rapt::cpu::context ctx{{.num_threads = 2}};
  std::vector<rapt::multi_head_attention<float>> layers;
  std::vector<float> x;  ///< [len, model_dim], the input of both layers

  explicit cache_rig(index_t len, std::uint64_t seed = 7) {
    config = rapt::resolve({.model_dim = 12,
                            .num_heads = 4,
                            .num_kv_heads = 2,
                            .head_dim = 17,
                            .value_dim = 5,
                            .causal = true,
                            .rope = rapt::rope_config{.dim = 16},
                            .kv_dtype = dtype::f16});
    random_source random(seed);
    for (index_t l = 0; l < num_layers; ++l) layers.emplace_back(ctx, config, make_weights(random, config, dtype::f32).views);
    x = random_values<float>(random, len * config.model_dim);
  }
  rapt::cache_limits limits(index_t max_tokens, index_t max_sequences = 3) const {
    return {.num_layers = num_layers, .max_tokens = max_tokens, .max_sequences = max_sequences, .page_len = 16};
  }
  rapt::kv_cache make_cache(index_t max_tokens, index_t max_sequences = 3) { return {ctx, config, limits(max_tokens, max_sequences)}; }

  /// Forwards layers first_layer .. end_layer - 1 of an open step whose rows are x's rows `rows`; the bits of the outputs, layer after layer.
  std::vector<std::byte> forward(rapt::step& step, const std::vector<index_t>& rows, index_t first_layer = 0, index_t end_layer = num_layers) {
    std::vector<float> input;
    std::vector<std::byte> outputs;
    for (const index_t row : rows) input.insert(input.end(), x.begin() + row * config.model_dim, x.begin() + (row + 1) * config.model_dim);
    const auto count = static_cast<index_t>(rows.size());
    for (index_t l = first_layer; l < end_layer; ++l) {
      std::vector<float> y(static_cast<std::size_t>(count * config.output_dim));
      layers[static_cast<std::size_t>(l)].forward(ctx, rapt::view(input.data(), count, config.model_dim), step.layer(l),
                                                  rapt::view(y.data(), count, config.output_dim));
      const std::vector<std::byte> bytes = bytes_of(y);
      outputs.insert(outputs.end(), bytes.begin(), bytes.end());
    }
    return outputs;
  }
  static std::vector<index_t> rows(index_t first, index_t count) {
    std::vector<index_t> all;
    for (index_t i = 0; i < count; ++i) all.push_back(first + i);
    return all;
  }
  /// x's rows first .. first + count appended to one sequence in one step.
  std::vector<std::byte> append(rapt::kv_cache& cache, const rapt::sequence& sequence, index_t first, index_t count) {
    rapt::step step = cache.begin_step({{sequence, count}});
    std::vector<std::byte> y = forward(step, rows(first, count));
    step.commit();
    return y;
  }

  /// All that can be seen of a sequence: length, positions, keys and values of every layer.
  std::string bits(const rapt::kv_cache& cache, const rapt::sequence& sequence) {
    std::string all = std::to_string(sequence.kv_len()) + (sequence.positions_are_default() ? "d" : "p");
    for (index_t i = 0; i < sequence.kv_len(); ++i) all += " " + std::to_string(sequence.position(i));
    const auto len = static_cast<std::size_t>(sequence.kv_len() * config.num_kv_heads * size_of(*config.kv_dtype));
    for (index_t l = 0; l < num_layers; ++l) {
      std::string k(len * static_cast<std::size_t>(config.head_dim), '\0'), v(len * static_cast<std::size_t>(config.value_dim), '\0');
      cache.export_layer(ctx, sequence, l, 0, sequence.kv_len(), k.data(), v.data());
      all += k + v + cache.layer_fingerprint(l).hex();
    }
    return all;
  }
  /// The cache's books and the bits of some sequences.
  std::string bits(const rapt::kv_cache& cache, std::initializer_list<const rapt::sequence*> sequences) {
    std::string all = std::to_string(cache.num_free_pages()) + " free, " + std::to_string(cache.num_sequences()) + " sequences " + cache.numerics();
    for (const rapt::sequence* s : sequences) all += bits(cache, *s);
    return all;
  }
};

}  // namespace rapt_test::contract
