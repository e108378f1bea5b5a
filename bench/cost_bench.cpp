// What a call costs: few rows of small and large modules, with and without keys before them; decode steps of growing batches; prompts and decode on
// growing numbers of threads.
#include <peers/limits.hpp>
#include <random_cache.hpp>
#include <reference.hpp>

#include <optional>

namespace bench {
namespace {

struct cost_fixture {
  cost_shape shape;
  rapt::cpu::context ctx;
  rapt::attention_config config;
  rapt::owned_weights weights;
  rapt::multi_head_attention<float> module;
  std::optional<rapt::kv_cache> cache;
  std::vector<rapt::sequence> sequences;
  std::vector<rapt::kv_cache::entry> entries;
  std::vector<float> x, y;

  explicit cost_fixture(const cost_shape& s)
      : shape(s),
        ctx({.num_threads = s.num_threads == 0 ? options().num_threads : s.num_threads}),
        config(rapt::resolve(s.config())),
        weights(rapt::random_weights<float>(config, 1)),
        module(ctx, config, weights.views),
        x(random_values<float>(1, s.batch * s.rows * s.model_dim)),
        y(x.size()) {
    if (s.keys_before == 0) return;
    cache.emplace(ctx, module.config(),
                  rapt::cache_limits{.max_tokens = s.batch * rapt::round_up(s.keys_before + s.rows, index_t{64}), .max_sequences = s.batch});
    for (index_t b = 0; b < s.batch; ++b) sequences.push_back(cache->add_sequence());
    for (const rapt::sequence& sequence : sequences) entries.push_back({sequence, s.rows});
  }

  /// A step is dropped and leaves the cache as it was.
  void run() {
    const float* const in = x.data();
    if (cache) {
      rapt::step step = cache->begin_step(entries);
      module.forward(ctx, rapt::view(in, shape.batch * shape.rows, shape.model_dim), step.layer(0),
                     rapt::view(y.data(), shape.batch * shape.rows, shape.model_dim));
    } else {
      module.forward(ctx, rapt::view(in, shape.batch, shape.rows, shape.model_dim), rapt::self_kv{},
                     rapt::view(y.data(), shape.batch, shape.rows, shape.model_dim));
    }
  }
  /// The last row of every sequence.
  std::string verify() {
    const module_reference reference(config, weights.views);
    const auto row_at = [&](index_t row) { return static_cast<std::size_t>(row * shape.model_dim); };
    std::vector<random_tokens<float>> tokens;
    for (index_t b = 0; cache && b < shape.batch; ++b) {
      tokens.emplace_back(config, shape.keys_before, static_cast<std::uint64_t>(b) + 1);
      append_tokens<float>(ctx, *cache, sequences[static_cast<std::size_t>(b)], {&tokens.back(), 1}, module.fingerprint());
    }
    run();
    comparison all;
    for (index_t b = 0; b < shape.batch; ++b) {
      const float* const first = &x[row_at(b * shape.rows)];
      const float* const last = &x[row_at((b + 1) * shape.rows - 1)];
      std::vector<double> want;
      if (cache) {
        auto& [count, k, v] = tokens[static_cast<std::size_t>(b)];
        for (index_t r = 0; r < shape.rows; ++r) {
          const std::vector<float> new_k = reference.key<float>(first + row_at(r)), new_v = reference.value<float>(first + row_at(r));
          k.insert(k.end(), new_k.begin(), new_k.end());
          v.insert(v.end(), new_v.begin(), new_v.end());
        }
        want = reference.row_over_stored(last, k.data(), v.data(), count + shape.rows);
      } else {
        want = reference.row(last, first, shape.rows);
      }
      all.add(std::span(std::as_const(y)).subspan(row_at((b + 1) * shape.rows - 1), want.size()), std::span<const double>(want));
    }
    return all.complaint("cost");
  }
  double operations() const {
    const auto rows = static_cast<double>(shape.batch * shape.rows), width = static_cast<double>(shape.model_dim);
    const auto keys = static_cast<double>(shape.keys_before) + static_cast<double>(shape.rows + 1) / 2;
    const double queries = static_cast<double>(config.num_heads * config.head_dim),
                 stored = static_cast<double>(config.num_kv_heads * config.head_dim);
    return rows * (4 * width * (queries + stored) + 4 * keys * queries);
  }
};

void time_cost(benchmark::State& state, cost_fixture& f) {
  for (auto _ : state) {
    f.run();
    benchmark::ClobberMemory();
  }
  set_rate(state, "tokens/s", static_cast<double>(f.shape.batch * f.shape.rows));
  set_rate(state, "GFLOP/s", f.operations() * 1e-9);
  // What the multiplications and additions alone would take one thread.
  set_value(state, "arithmetic_us", f.operations() / peers::fma_peak(1) * 1e6);
}

void add_cost(const std::string& name, const cost_shape& shape) { add<cost_fixture>(name, time_cost, shape); }

}  // namespace

void add_cost_benches() {
  for (const index_t model_dim : few_rows_model_dims)
    for (const index_t keys_before : few_rows_keys_before)
      for (const index_t rows : few_rows)
        if (wanted(model_dim == few_rows_model_dims.front()))
          add_cost(
              "few_rows/model_dim:" + std::to_string(model_dim) + "/keys_before:" + std::to_string(keys_before) + "/rows:" + std::to_string(rows),
              few_rows_shape(model_dim, keys_before, rows));
  for (const index_t batch : cost_batches)
    if (wanted(batch <= cost_small_batch)) add_cost("batch/sequences:" + std::to_string(batch), batch_shape(batch));
  for (int threads = 1; threads <= context().num_workers(); ++threads) {
    if (options().small) break;
    add_cost("threads/call:prompt/workers:" + std::to_string(threads), prompt_shape(threads));
    add_cost("threads/call:decode/workers:" + std::to_string(threads), decode_shape(threads));
  }
}

}  // namespace bench
