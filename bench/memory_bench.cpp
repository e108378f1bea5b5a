// Memory against length: what a call takes from its context and what a cache holds. The planner's figures are held against what was taken.
#include <random_cache.hpp>
#include <reference.hpp>

#include <optional>

namespace bench {
namespace {

/// kv_len keys, the call's own rows included: a prompt without a cache, or rows appended to a cache.
struct memory_fixture {
  index_t rows, kv_len;
  bool cached;
  rapt::cpu::context ctx;  // its own: its workspace has the size of the largest call it has seen
  rapt::attention_config config;
  rapt::owned_weights weights;
  rapt::multi_head_attention<float> module;
  std::optional<rapt::kv_cache> cache;
  rapt::sequence sequence;
  std::vector<float> x, y;

  memory_fixture(index_t num_rows, index_t num_keys, bool with_cache)
      : rows(num_rows),
        kv_len(num_keys),
        cached(with_cache),
        ctx({.num_threads = options().num_threads}),
        config(memory_config()),
        weights(rapt::random_weights<float>(config, 1)),
        module(ctx, config, weights.views),
        x(random_values<float>(1, num_rows * config.model_dim)),
        y(x.size()) {
    if (!cached) return;
    cache.emplace(ctx, module.config(), rapt::cache_limits{.max_tokens = num_keys});
    sequence = cache->add_sequence();
  }

  static rapt::attention_config memory_config() {
    return rapt::resolve({.model_dim = memory_heads.num_heads * memory_heads.head_dim,
                          .num_heads = memory_heads.num_heads,
                          .num_kv_heads = memory_heads.num_kv_heads,
                          .head_dim = memory_heads.head_dim,
                          .causal = true});
  }
  void run() {
    const auto in = rapt::view(std::as_const(x).data(), rows, config.model_dim);
    const auto out = rapt::view(y.data(), rows, config.model_dim);
    if (!cached) return module.forward(ctx, in, rapt::self_kv{}, out);
    module.forward(ctx, in, rapt::append(*cache, sequence), out);
    sequence.truncate(kv_len - rows);
  }
  std::size_t planned_bytes() {
    return rapt::workspace_bytes<float>(ctx, config,
                                        {.q_len = rows, .kv_len = kv_len, .source = cached ? rapt::source_kind::append : rapt::source_kind::self});
  }
  std::string verify() {
    const module_reference reference(config, weights.views);
    const index_t width = config.model_dim, last = rows - 1;
    const float* const last_x = &x[static_cast<std::size_t>(last * width)];
    std::vector<double> want;
    if (cached) {
      random_tokens<float> tokens(config, kv_len - rows, 1);
      if (tokens.count > 0) append_tokens<float>(ctx, *cache, sequence, {&tokens, 1}, module.fingerprint());
      for (index_t r = 0; r < rows; ++r) {
        const std::vector<float> k = reference.key<float>(&x[static_cast<std::size_t>(r * width)]);
        const std::vector<float> v = reference.value<float>(&x[static_cast<std::size_t>(r * width)]);
        tokens.k.insert(tokens.k.end(), k.begin(), k.end());
        tokens.v.insert(tokens.v.end(), v.begin(), v.end());
      }
      want = reference.row_over_stored(last_x, tokens.k.data(), tokens.v.data(), kv_len);
    } else {
      want = reference.row(last_x, x.data(), rows);
    }
    run();
    comparison all;
    all.add(std::span(std::as_const(y)).subspan(static_cast<std::size_t>(last * width)), std::span<const double>(want));
    if (const std::string complaint = all.complaint("memory"); !complaint.empty()) return complaint;
    if (ctx.workspace_capacity() != planned_bytes())
      return "workspace_bytes() is " + std::to_string(planned_bytes()) + "; the call took " + std::to_string(ctx.workspace_capacity());
    if (cached && cache->bytes() != rapt::cache_bytes(module.config(), cache->limits()))
      return "cache_bytes() is " + std::to_string(rapt::cache_bytes(module.config(), cache->limits())) + "; the cache has " +
             std::to_string(cache->bytes());
    return {};
  }
};

void time_memory(benchmark::State& state, memory_fixture& f) {
  for (auto _ : state) {
    f.run();
    benchmark::ClobberMemory();
  }
  set_value(state, "workspace_bytes", static_cast<double>(f.ctx.workspace_capacity()));
  set_value(state, "cache_bytes", f.cached ? static_cast<double>(f.cache->bytes()) : 0);
  // For comparison, by arithmetic: f32 scores of all heads, as a textbook attention keeps them.
  set_value(state, "score_matrix_bytes", static_cast<double>(f.rows * f.kv_len * f.config.num_heads * 4));
  set_rate(state, "tokens/s", static_cast<double>(f.rows));
}

}  // namespace

void add_memory_benches() {
  for (const index_t kv_len : memory_kv_lens) {
    if (!wanted(kv_len <= memory_small_kv_len)) continue;
    const std::string suffix = "/kv_len:" + std::to_string(kv_len);
    if (kv_len <= memory_longest_prompt) add<memory_fixture>("memory/call:prompt" + suffix, time_memory, kv_len, kv_len, false);
    for (const index_t rows : {index_t{1}, index_t{32}})
      add<memory_fixture>("memory/call:append_" + std::to_string(rows) + suffix, time_memory, rows, kv_len, true);
  }
}

}  // namespace bench
