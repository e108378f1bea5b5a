// Caches that hold random keys and values of known bits, brought in as a state file's are: a prefill of 65,536 tokens would take longer than the
// benches.
#pragma once
#include <support.hpp>

namespace bench {

/// k [count, num_kv_heads, head_dim], v [count, num_kv_heads, value_dim], all elements of C.
template <class C>
struct random_tokens {
  index_t count;
  std::vector<C> k, v;
  random_tokens(const rapt::attention_config& resolved, index_t n, std::uint64_t seed)
      : count(n),
        k(random_values<C>(2 * seed, n * resolved.num_kv_heads * resolved.head_dim)),
        v(random_values<C>(2 * seed + 1, n * resolved.num_kv_heads * resolved.value_dim)) {}
};

/// Appends layers[l] to layer l of a sequence, as made by the module of the fingerprint.
template <class C>
void append_tokens(rapt::cpu::context& ctx, rapt::kv_cache& cache, const rapt::sequence& sequence, std::span<const random_tokens<C>> layers,
                   const rapt::fingerprint& made_by) {
  rapt::step step = cache.begin_step({{sequence, layers.front().count}});
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const rapt::kv_bits bits{layers[l].k.data(), layers[l].v.data()};
    cache.import_layer(ctx, step, static_cast<index_t>(l), {&bits, 1}, made_by);
  }
  step.commit();
}

/// Whether a sequence holds exactly the first kv_len tokens of what was appended to a layer.
template <class C>
bool holds(rapt::cpu::context& ctx, const rapt::kv_cache& cache, const rapt::sequence& sequence, index_t layer, const random_tokens<C>& tokens,
           index_t kv_len) {
  if (sequence.kv_len() != kv_len) return false;
  std::vector<C> k(tokens.k.size() / static_cast<std::size_t>(tokens.count) * static_cast<std::size_t>(kv_len));
  std::vector<C> v(tokens.v.size() / static_cast<std::size_t>(tokens.count) * static_cast<std::size_t>(kv_len));
  cache.export_layer(ctx, sequence, layer, 0, kv_len, k.data(), v.data());
  return std::equal(k.begin(), k.end(), tokens.k.begin()) && std::equal(v.begin(), v.end(), tokens.v.begin());
}

}  // namespace bench
