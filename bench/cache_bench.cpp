// A cache's life: append, fork, truncate, steps of many sequences and steps that never happened; and keys and values that are stored whole.
#include <random_cache.hpp>
#include <reference.hpp>

namespace bench {
namespace {

using stored = rapt::f16;

/// One layer whose first sequence holds kv_len tokens.
struct cache_fixture {
  index_t kv_len;
  rapt::attention_config config;
  rapt::owned_weights weights;
  rapt::multi_head_attention<float> module;
  rapt::kv_cache cache;
  rapt::sequence first;
  random_tokens<stored> tokens;

  cache_fixture(index_t n, index_t max_sequences, index_t extra_tokens)
      : kv_len(n),
        config(cache_config()),
        weights(rapt::random_weights<float>(config, 1)),
        module(context(), config, weights.views),
        cache(context(), module.config(), {.max_tokens = n + extra_tokens, .max_sequences = max_sequences}),
        first(cache.add_sequence()),
        tokens(config, n, 1) {
    append_tokens<stored>(context(), cache, first, {&tokens, 1}, module.fingerprint());
  }
  static rapt::attention_config cache_config() {
    return rapt::resolve({.model_dim = cache_model_dim,
                          .num_heads = cache_heads.num_heads,
                          .num_kv_heads = cache_heads.num_kv_heads,
                          .head_dim = cache_heads.head_dim,
                          .causal = true,
                          .kv_dtype = rapt::dtype_of<stored>});
  }
  bool first_is_whole() const { return holds(context(), cache, first, 0, tokens, kv_len); }
};

/// Rows of x appended to `num_sequences` sequences of the same length, `rows` to each; after every call all are cut back.
struct step_fixture : cache_fixture {
  index_t rows;
  std::vector<rapt::sequence> forks;
  std::vector<rapt::kv_cache::entry> entries;
  std::vector<float> x, y;

  step_fixture(index_t n, index_t num_sequences, index_t rows_of_each)
      : cache_fixture(n, num_sequences, num_sequences * (rows_of_each + 64)),
        rows(rows_of_each),
        x(random_values<float>(2, num_sequences * rows_of_each * cache_model_dim)),
        y(x.size()) {
    for (index_t s = 1; s < num_sequences; ++s) forks.push_back(first.fork());
    entries.push_back({first, rows});
    for (const rapt::sequence& fork : forks) entries.push_back({fork, rows});
  }
  index_t num_rows() const { return static_cast<index_t>(entries.size()) * rows; }
  void run() {
    rapt::step step = cache.begin_step(entries);
    module.forward(context(), rapt::view(std::as_const(x).data(), num_rows(), cache_model_dim), step.layer(0),
                   rapt::view(y.data(), num_rows(), cache_model_dim));
    step.commit();
    first.truncate(kv_len);
    for (rapt::sequence& fork : forks) fork.truncate(kv_len);
  }
  /// The last row of the first and of the last sequence.
  std::string verify() {
    run();
    const module_reference reference(config, weights.views);
    comparison all;
    for (const index_t begin : {index_t{0}, num_rows() - rows}) {
      std::vector<stored> k = tokens.k, v = tokens.v;
      for (index_t r = begin; r < begin + rows; ++r) {
        const std::vector<stored> new_k = reference.key<stored>(&x[at(r)]), new_v = reference.value<stored>(&x[at(r)]);
        k.insert(k.end(), new_k.begin(), new_k.end());
        v.insert(v.end(), new_v.begin(), new_v.end());
      }
      const std::size_t last = at(begin + rows - 1);
      const std::vector<double> want = reference.row_over_stored(&x[last], k.data(), v.data(), kv_len + rows);
      all.add(std::span(std::as_const(y)).subspan(last, want.size()), std::span(want));
    }
    return first_is_whole() ? all.complaint("step") : "step: truncate did not leave the tokens as they were";
  }
  static std::size_t at(index_t row) { return static_cast<std::size_t>(row * cache_model_dim); }
};
void time_step(benchmark::State& state, step_fixture& f) {
  for (auto _ : state) {
    f.run();
    benchmark::ClobberMemory();
  }
  set_rate(state, "tokens/s", static_cast<double>(f.num_rows()));
  set_value(state, "cache_bytes", static_cast<double>(f.cache.bytes()));
}

struct rollback_fixture : step_fixture {
  using step_fixture::step_fixture;
  void run_rollback() { static_cast<void>(cache.begin_step(entries)); }
  std::string verify() {
    const index_t free_pages = cache.num_free_pages();
    run_rollback();
    return first_is_whole() && cache.num_free_pages() == free_pages ? "" : "rollback: the cache is not as it was before the step";
  }
};
void time_rollback(benchmark::State& state, rollback_fixture& f) {
  for (auto _ : state) {
    f.run_rollback();
    benchmark::ClobberMemory();
  }
  set_rate(state, "steps/s", 1);
}

struct fork_fixture : cache_fixture {
  explicit fork_fixture(index_t n) : cache_fixture(n, 2, 64), added(config, 1, 2) {}
  random_tokens<stored> added;

  void append_to(const rapt::sequence& fork) { append_tokens<stored>(context(), cache, fork, {&added, 1}, module.fingerprint()); }
  std::string verify() {
    const index_t free_pages = cache.num_free_pages();
    {
      rapt::sequence fork = first.fork();
      if (cache.num_free_pages() != free_pages || !holds(context(), cache, fork, 0, tokens, kv_len)) return "fork: the copy is not what was forked";
      append_to(fork);
      if (fork.kv_len() != kv_len + 1 || !first_is_whole()) return "fork: an append to the copy changed the original";
      fork.truncate(kv_len / 2);
      if (!holds(context(), cache, fork, 0, tokens, kv_len / 2) || !first_is_whole()) return "truncate: the tokens before the cut have changed";
    }
    return cache.num_free_pages() == free_pages ? "" : "fork: pages are lost";
  }
};
void time_fork(benchmark::State& state, fork_fixture& f) {
  for (auto _ : state) {
    rapt::sequence fork = f.first.fork();
    benchmark::DoNotOptimize(fork);
  }
  set_rate(state, "forks/s", 1);
}
/// The first append to a fork copies the page that both write to.
void time_fork_append(benchmark::State& state, fork_fixture& f) {
  for (auto _ : state) {
    const rapt::sequence fork = f.first.fork();
    f.append_to(fork);
  }
  set_rate(state, "forks/s", 1);
}
/// A truncation has to have something to cut; what cache/fork takes is a part of this.
void time_fork_truncate(benchmark::State& state, fork_fixture& f) {
  for (auto _ : state) {
    rapt::sequence fork = f.first.fork();
    fork.truncate(f.kv_len / 2);
    benchmark::DoNotOptimize(fork);
  }
  set_rate(state, "forks/s", 1);
}

/// Queries of many batch rows against keys and values of which one head is stored and serves all.
struct stored_fixture {
  stored_shape shape;
  rapt::attention_config config;
  rapt::owned_weights weights;
  rapt::multi_head_attention<float> module;
  rapt::projected_kv kv;
  std::vector<float> x, x_kv, y;

  explicit stored_fixture(const stored_shape& s)
      : shape(s),
        config(stored_config()),
        weights(rapt::random_weights<float>(config, 1)),
        module(context(), config, weights.views),
        kv(context(), module.config()),
        x(random_values<float>(1, s.batch * s.q_len * config.model_dim)),
        x_kv(random_values<float>(2, s.batch * s.kv_len * config.model_dim)),
        y(x.size()) {}
  static rapt::attention_config stored_config() {
    return rapt::resolve({.model_dim = stored_heads.num_heads * stored_heads.head_dim,
                          .num_heads = stored_heads.num_heads,
                          .num_kv_heads = stored_heads.num_kv_heads,
                          .head_dim = stored_heads.head_dim});
  }
  void run(const rapt::multi_head_attention<float>::source& from) {
    module.forward(context(), rapt::view(std::as_const(x).data(), shape.batch, shape.q_len, config.model_dim), from,
                   rapt::view(y.data(), shape.batch, shape.q_len, config.model_dim));
  }
  void run_store() {
    run(rapt::store(kv, rapt::view(std::as_const(x_kv).data(), shape.batch, shape.kv_len, config.model_dim), {.first_head_only = true}));
  }
  void run_stored() { run(rapt::stored(kv)); }

  std::string compare(const char* what, bool first_head_only) const {
    const module_reference reference(config, weights.views);
    comparison all;
    for (index_t b = 0; b < shape.batch; ++b) {
      const index_t row = b * shape.q_len + (b * 7) % shape.q_len;
      const std::vector<double> want = reference.row(&x[at(row)], &x_kv[at(b * shape.kv_len)], shape.kv_len, first_head_only);
      all.add(std::span(y).subspan(at(row), want.size()), std::span(want));
    }
    return all.complaint(what);
  }
  std::string verify() {
    run_store();
    const std::string complaint = compare("store", false);
    if (!complaint.empty()) return complaint;
    run_stored();
    return compare("stored", true);
  }
  std::size_t at(index_t row) const { return static_cast<std::size_t>(row * config.model_dim); }
};
void time_stored(benchmark::State& state, stored_fixture& f, void (stored_fixture::*run)()) {
  for (auto _ : state) {
    (f.*run)();
    benchmark::ClobberMemory();
  }
  set_rate(state, "tokens/s", static_cast<double>(f.shape.batch * f.shape.q_len));
  set_value(state, "kv_bytes", static_cast<double>(f.kv.bytes()));
}

}  // namespace

void add_cache_benches() {
  const index_t kv_len = options().small ? cache_small_kv_len : cache_kv_len;
  const std::string suffix = "/kv_len:" + std::to_string(kv_len);
  for (const index_t rows : appended_rows)
    add<step_fixture>("cache/append/rows:" + std::to_string(rows) + suffix, time_step, kv_len, index_t{1}, rows);
  for (const index_t n : step_sequences) {
    const std::string sequences = "/sequences:" + std::to_string(n) + suffix;
    if (n > 1) add<step_fixture>("cache/step" + sequences, time_step, kv_len, n, index_t{1});
    add<rollback_fixture>("cache/step_rollback" + sequences, time_rollback, kv_len, n, index_t{1});
  }
  add<fork_fixture>("cache/fork" + suffix, time_fork, kv_len);
  add<fork_fixture>("cache/fork_append" + suffix, time_fork_append, kv_len);
  add<fork_fixture>("cache/fork_truncate" + suffix, time_fork_truncate, kv_len);
  for (const stored_shape& shape : stored_shapes) {
    if (!wanted(shape.small)) continue;
    const std::string name = std::string("/shape:") + shape.name;
    const auto timed = [](auto run) { return [run](benchmark::State& state, stored_fixture& f) { time_stored(state, f, run); }; };
    add<stored_fixture>("cache/store" + name, timed(&stored_fixture::run_store), shape);
    add<stored_fixture>("cache/stored" + name, timed(&stored_fixture::run_stored), shape);
  }
}

}  // namespace bench
