// One case of the bitwise matrix. A stream of tokens is computed once, in one step on one thread: the truth. Then a cache of another paging and
// capacity lives through random steps, forks, truncations, dropped steps, saves and loads on random contexts, and every row that comes out must have
// the truth's bits.
#pragma once
#include <contract/module_case.hpp>
#include <rapt/state/save_load.hpp>
#include <support/cpu_placement.hpp>

namespace rapt_test::contract {

/// Rows of one layer as computed: y in T, lse in A.
template <class T>
struct layer_rows {
  std::vector<T> y;
  std::vector<rapt::accumulator_t<T>> lse;  ///< [rows, num_heads]
};

/// Tokens of one kind: inputs of every layer, positions, and what they give.
template <class T>
struct token_stream {
  index_t len = 0;
  std::vector<index_t> positions;            ///< empty: the index
  std::vector<std::vector<T>> x;             ///< per layer [len, model_dim]
  std::vector<layer_rows<T>> truth;          ///< per layer
  std::vector<std::vector<std::byte>> k, v;  ///< per layer, canonical
};

struct matrix_limits {
  config_limits config;
  index_t min_len = 1, max_len = 40;
  index_t max_layers = 2, max_sequences = 4, max_streams = 2, max_actions = 12;
  bool portable = true;  ///< the portable set, many times slower than the others, takes part
  std::string_view numerics = rapt::numerics_id::cpu_v1;
};

/// Where cases run: any of a backend's contexts.
struct cpu_contexts {
  using backend = rapt::cpu::backend;
  explicit cpu_contexts(const matrix_limits& limits) : isas(usable_isas(rapt::adds_bf16_pairs(limits.numerics))), portable(limits.portable) {}
  rapt::cpu::context& any(random_source& random) {
    const auto usable = static_cast<index_t>(isas.size()) - (portable || isas.size() == 1 ? 0 : 1);
    return context_for(isas[static_cast<std::size_t>(random.below(usable))], static_cast<int>(random.between(1, 4)));
  }
  /// That of the truth.
  rapt::cpu::context& plain() { return context_for(isas.front(), 1); }

  std::vector<rapt::cpu::isa> isas;
  bool portable;
};

template <class T, class Contexts = cpu_contexts>
class matrix_case {
 public:
  using A = rapt::accumulator_t<T>;
  using backend = typename Contexts::backend;
  using context = typename backend::context;
  using kv_cache = rapt::basic_kv_cache<backend>;
  using sequence_type = rapt::basic_sequence<backend>;

  matrix_case(random_source& random, const matrix_limits& limits)
      : random_(random),
        limits_(limits),
        contexts_(limits),
        config_(make_config(random, limits.config, rapt::dtype_of<T>)),
        num_layers_(random.between(1, limits.max_layers)) {
    config_.numerics = limits.numerics;
    if (rapt::takes_rounded_operands(limits.numerics)) config_.kv_dtype = rapt::dtype_of<T>;
    residual_ = config_.model_dim == config_.output_dim && random.chance(0.3);
    for (index_t l = 0; l < num_layers_; ++l) {
      const random_weights weights = make_weights(random, config_, random.pick({dtype::f64, dtype::f32, dtype::bf16, dtype::f16}));
      layers_.push_back(std::make_unique<module>(any_context(), config_, weights.views));
    }
    for (index_t n = random.between(1, limits.max_streams); n > 0; --n) streams_.push_back(make_stream());
  }

  void run() {
    without_cache();
    if (testing::Test::HasFailure()) return;
    with_cache();
  }

 private:
  using module = rapt::multi_head_attention<T, backend>;
  template <class U>
  using placed = rapt_test::placed_vector<U, backend>;
  template <class U, class... Extents>
  static auto view(U* data, Extents... extents) {
    return rapt::tensor_view<U, sizeof...(Extents), typename backend::space>(data, {extents...});
  }

  struct live_sequence {
    std::size_t stream;
    sequence_type handle;
  };

  context& any_context() { return contexts_.any(random_); }
  static std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

  token_stream<T> make_stream() {
    token_stream<T> s;
    s.len = random_.between(limits_.min_len, limits_.max_len);
    // Increasing, as a row must not see one that comes later in another cut.
    if (random_.chance(0.25))
      for (index_t i = 0, position = random_.below(50); i < s.len; ++i) s.positions.push_back(position += random_.between(1, 9));
    context& ctx = contexts_.plain();
    kv_cache cache(ctx, config_, {.num_layers = num_layers_, .max_tokens = s.len});
    const sequence_type sequence = cache.add_sequence();
    rapt::basic_step<backend> step = cache.begin_step({{sequence, s.len, s.positions}});
    for (index_t l = 0; l < num_layers_; ++l) {
      s.x.push_back(random_values<T>(random_, s.len * config_.model_dim, 2));
      s.truth.push_back(forward_rows(ctx, *layers_[at(l)], s.x.back(), s.len, step.layer(l)));
    }
    step.commit();
    export_all(cache, sequence, s.len, s.k, s.v);
    return s;
  }

  layer_rows<T> forward_rows(context& ctx, const module& layer, const std::vector<T>& x, index_t rows, const typename module::source& source,
                             rapt::forward_options options = {}) {
    placed<T> in(ctx, x), y(ctx, std::vector<T>(at(rows * config_.output_dim)));
    placed<A> lse(ctx, std::vector<A>(at(rows * config_.num_heads)));
    options.residual = residual_;
    options.lse = view(lse.data(), config_.num_heads, rows).strided(1, config_.num_heads);
    layer.forward(ctx, view(in.data(), rows, config_.model_dim), source, view(y.data(), rows, config_.output_dim), options);
    return {y.fetch(), lse.fetch()};
  }

  void export_all(const kv_cache& cache, const sequence_type& sequence, index_t len, std::vector<std::vector<std::byte>>& k,
                  std::vector<std::vector<std::byte>>& v) {
    const index_t size = config_.num_kv_heads * size_of(*config_.kv_dtype);
    for (index_t l = 0; l < num_layers_; ++l) {
      k.emplace_back(at(len * size * config_.head_dim));
      v.emplace_back(at(len * size * config_.value_dim));
      cache.export_layer(any_context(), sequence, l, 0, len, k.back().data(), v.back().data());
    }
  }

  /// `count` rows of y and lse from row `row` are the stream's from token `token`.
  void expect_rows(const layer_rows<T>& got, index_t row, const token_stream<T>& s, index_t layer, index_t token, index_t count, const char* what) {
    const auto part = [&](const auto& all, index_t first, index_t width) {
      const auto* bytes = reinterpret_cast<const std::byte*>(all.data());
      const auto size = static_cast<index_t>(sizeof(all[0])) * width;
      return std::vector<std::byte>(bytes + first * size, bytes + (first + count) * size);
    };
    const layer_rows<T>& truth = s.truth[at(layer)];
    expect_same_bytes(part(got.y, row, config_.output_dim), part(truth.y, token, config_.output_dim), rapt::dtype_of<T>, what);
    expect_same_bytes(part(got.lse, row, config_.num_heads), part(truth.lse, token, config_.num_heads), rapt::dtype_of<A>, what);
  }

  // ---- Calls without a cache

  void without_cache() {
    const token_stream<T>& s = streams_[at(random_.below(static_cast<index_t>(streams_.size())))];
    const index_t layer = random_.below(num_layers_), len = random_.between(1, s.len), batch = random_.between(1, 3);
    const module& m = *layers_[at(layer)];
    const std::vector<T> x(s.x[at(layer)].begin(), s.x[at(layer)].begin() + len * config_.model_dim);
    std::vector<T> xs;
    for (index_t b = 0; b < batch; ++b) xs.insert(xs.end(), x.begin(), x.end());
    const index_t visible = random_.chance(0.5) ? len : random_.between(0, len);
    const std::vector<index_t> kv_lens(at(batch), visible);
    context& ctx = any_context();
    placed<T> in(ctx, xs), y(ctx, std::vector<T>(at(batch * len * config_.output_dim)));
    placed<A> lse(ctx, std::vector<A>(at(batch * len * config_.num_heads)));
    rapt::forward_options options{.residual = residual_, .num_chunks = random_.between(1, 4)};
    if (visible < len) options.kv_lens = kv_lens;
    if (!s.positions.empty()) options.positions = std::span(s.positions).first(at(len));
    options.lse = view(lse.data(), batch, config_.num_heads, len).strided(len * config_.num_heads, 1, config_.num_heads);
    m.forward(ctx, view(in.data(), batch, len, config_.model_dim), rapt::self_kv{}, view(y.data(), batch, len, config_.output_dim), options);
    const layer_rows<T> r{y.fetch(), lse.fetch()};
    for (index_t b = 0; b < batch; ++b) expect_rows(r, b * len, s, layer, 0, visible, "self_kv");
    if (!s.positions.empty()) return;

    // The last rows against keys that were stored, by default at the positions that they had.
    rapt::basic_projected_kv<backend> kv(ctx, config_);
    placed<T> kept(ctx, x);
    expect_rows(forward_rows(ctx, m, x, len, rapt::store(kv, view(kept.data(), len, config_.model_dim))), 0, s, layer, 0, len, "store");
    const index_t last = random_.between(1, len);
    expect_rows(forward_rows(any_context(), m, std::vector<T>(x.end() - last * config_.model_dim, x.end()), last, rapt::stored(kv)), 0, s, layer,
                len - last, last, "stored");
  }

  // ---- The life of a cache

  void with_cache() {
    index_t tokens = 0;
    for (const token_stream<T>& s : streams_) tokens = std::max(tokens, s.len);
    const rapt::cache_limits limits{.num_layers = num_layers_,
                                    .max_tokens = tokens * limits_.max_sequences + (random_.chance(0.5) ? 0 : random_.between(1, 2'000)),
                                    .max_sequences = limits_.max_sequences,
                                    .page_len = random_.pick<index_t>({16, 48, 64, 80})};
    kv_cache cache(any_context(), config_, limits);
    std::vector<live_sequence> live;
    live.push_back({0, cache.add_sequence()});
    for (index_t action = random_.between(3, limits_.max_actions); action > 0 && !testing::Test::HasFailure(); --action) act(cache, live);
    while (!testing::Test::HasFailure() && step_once(cache, live, true)) {}
    for (const live_sequence& s : live) {
      if (testing::Test::HasFailure()) return;
      std::vector<std::vector<std::byte>> k, v;
      export_all(cache, s.handle, s.handle.kv_len(), k, v);
      for (index_t l = 0; l < num_layers_; ++l) {
        expect_same_bytes(k[at(l)], streams_[s.stream].k[at(l)], *config_.kv_dtype, "cached keys");
        expect_same_bytes(v[at(l)], streams_[s.stream].v[at(l)], *config_.kv_dtype, "cached values");
      }
    }
  }

  void act(kv_cache& cache, std::vector<live_sequence>& live) {
    const auto any = [&]() -> live_sequence& { return live[at(random_.below(static_cast<index_t>(live.size())))]; };
    const double choice = random_.uniform();
    const bool room = static_cast<index_t>(live.size()) < limits_.max_sequences;
    if (choice < 0.1 && room) {
      live.push_back({at(random_.below(static_cast<index_t>(streams_.size()))), cache.add_sequence()});
    } else if (choice < 0.25 && room) {
      const live_sequence& from = any();
      const std::size_t stream = from.stream;
      sequence_type fork = from.handle.fork();
      live.push_back({stream, std::move(fork)});
    } else if (choice < 0.35) {
      live_sequence& s = any();
      s.handle.truncate(random_.between(0, s.handle.kv_len()));
    } else if (choice < 0.42 && live.size() > 1) {
      live.erase(live.begin() + random_.below(static_cast<index_t>(live.size())));
    } else if (choice < 0.5 && room) {
      // Saved and loaded in its own place, which is free once the copy is complete.
      live_sequence& s = any();
      const std::vector<std::byte> file = rapt::save_state(any_context(), cache, s.handle);
      rapt::load_state(any_context(), file, cache, s.handle);
    } else {
      step_once(cache, live, !random_.chance(0.15));
    }
  }

  /// Some sequences grow by some rows each. False where all are complete.
  bool step_once(kv_cache& cache, std::vector<live_sequence>& live, bool commits) {
    std::vector<live_sequence*> chosen;
    std::vector<typename kv_cache::entry> entries;
    index_t rows = 0;
    bool incomplete = false;
    for (live_sequence& s : live) {
      const index_t done = s.handle.kv_len(), left = streams_[s.stream].len - done;
      incomplete |= left > 0;
      if (random_.chance(0.25)) continue;
      const index_t count = left == 0 || random_.chance(0.05) ? 0 : random_.chance(0.4) ? 1 : random_.between(1, left);
      const std::vector<index_t>& positions = streams_[s.stream].positions;
      entries.push_back({s.handle, count, positions.empty() ? std::span<const index_t>() : std::span(positions).subspan(at(done), at(count))});
      chosen.push_back(&s);
      rows += count;
    }
    if (!incomplete) return false;
    rapt::basic_step<backend> step = cache.begin_step(entries);
    for (index_t l = 0; l < num_layers_; ++l) {
      if (!commits && random_.chance(0.5)) return true;  // dropped between two layers, or after none
      std::vector<T> x;
      for (std::size_t i = 0; i < chosen.size(); ++i) {
        const auto first = streams_[chosen[i]->stream].x[at(l)].begin() + chosen[i]->handle.kv_len() * config_.model_dim;
        x.insert(x.end(), first, first + entries[i].count * config_.model_dim);
      }
      const layer_rows<T> got = forward_rows(any_context(), *layers_[at(l)], x, rows, step.layer(l));
      index_t row = 0;
      for (std::size_t i = 0; i < chosen.size(); row += entries[i].count, ++i)
        expect_rows(got, row, streams_[chosen[i]->stream], l, chosen[i]->handle.kv_len(), entries[i].count, "step");
    }
    if (commits) step.commit();
    return true;
  }

  random_source& random_;
  const matrix_limits& limits_;
  Contexts contexts_;
  attention_config config_;
  index_t num_layers_;
  bool residual_;
  std::vector<std::unique_ptr<module>> layers_;
  std::vector<token_stream<T>> streams_;
};

}  // namespace rapt_test::contract
