// Caches, modules and stored keys of random bits for the tests of save_state and load_state, and everything of them that a user can see as text.
#pragma once
#include <rapt/state/save_load.hpp>
#include <support/bits_backend.hpp>
#include <support/reseal.hpp>
#include <support/unchanged.hpp>

#include <random>

namespace rapt_test {

using bits_cache = rapt::basic_kv_cache<bits_backend>;
using bits_sequence = rapt::basic_sequence<bits_backend>;
using bits_projected = rapt::basic_projected_kv<bits_backend>;
using bits_module = rapt::multi_head_attention<float, bits_backend>;
using rapt::dtype, rapt::index_t;

#define EXPECT_SAYS(message, part) EXPECT_NE((message).find(part), std::string::npos) << (message)

inline rapt::attention_config small_config() {
  rapt::attention_config c{.model_dim = 10, .num_heads = 6, .num_kv_heads = 3, .head_dim = 4, .value_dim = 5, .output_dim = 7};
  c.causal = true;
  c.rope = rapt::rope_config{.theta = 500.0, .dim = 2};
  c.kv_dtype = dtype::f16;
  return c;
}
constexpr rapt::cache_limits small_limits = {.num_layers = 2, .max_tokens = 100, .max_sequences = 4, .page_len = 16};

inline std::vector<std::byte> random_bytes(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  return bytes;
}
inline rapt::fingerprint some_fingerprint(std::uint64_t number) { return {0x0123456789abcdef, number}; }

inline std::size_t k_bytes(const rapt::attention_config& c, index_t len) {
  return static_cast<std::size_t>(len * c.num_kv_heads * c.head_dim * rapt::size_of(*c.kv_dtype));
}
inline std::size_t v_bytes(const rapt::attention_config& c, index_t len) {
  return static_cast<std::size_t>(len * c.num_kv_heads * c.value_dim * rapt::size_of(*c.kv_dtype));
}

/// Appends random bits in every layer, as a forward would.
inline void append_bits(bits_context& ctx, bits_cache& cache, const bits_sequence& s, index_t count, unsigned seed, const rapt::fingerprint& made_by,
                        std::span<const index_t> positions = {}) {
  rapt::basic_step<bits_backend> step = cache.begin_step({{s, count, positions}});
  for (index_t l = 0; l < cache.limits().num_layers; ++l) {
    const auto k = random_bytes(k_bytes(cache.config(), count), 2 * seed + 1000 * static_cast<unsigned>(l)),
               v = random_bytes(v_bytes(cache.config(), count), 2 * seed + 1);
    const rapt::kv_bits bits = {k.data(), v.data()};
    cache.import_layer(ctx, step, l, std::span(&bits, 1), made_by);
  }
  step.commit();
}

inline std::string text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// Stands for the bytes in messages.
inline std::string hash_of(std::span<const std::byte> bytes) {
  return std::to_string(bytes.size()) + ":" + hex16(XXH3_64bits(bytes.data(), bytes.size())) + " ";
}

inline std::string visible(bits_context& ctx, const bits_cache& cache, const bits_sequence& s) {
  const index_t len = s.kv_len();
  std::string all = std::to_string(len) + (s.positions_are_default() ? " default " : " ");
  for (index_t i = 0; i < len; ++i) all += std::to_string(s.position(i)) + " ";
  for (index_t l = 0; l < cache.limits().num_layers; ++l) {
    std::vector<std::byte> k(k_bytes(cache.config(), len)), v(v_bytes(cache.config(), len));
    cache.export_layer(ctx, s, l, 0, len, k.data(), v.data());
    all += hash_of(k) + hash_of(v);
  }
  return all;
}
inline std::string visible(const bits_cache& cache) {
  std::string all = std::to_string(cache.num_sequences()) + " " + std::to_string(cache.num_free_pages()) + " " + cache.numerics();
  for (index_t l = 0; l < cache.limits().num_layers; ++l) all += " " + cache.layer_fingerprint(l).hex();
  return all;
}
inline std::string visible(bits_context& ctx, const bits_projected& kv) {
  std::string all = std::to_string(kv.empty()) + std::to_string(kv.is_static()) + kv.numerics() + kv.made_by().hex();
  if (kv.empty()) return all;
  const rapt::attention_config& c = kv.config();
  const auto size = static_cast<std::size_t>(kv.kv_len() * kv.stored_heads() * rapt::size_of(*c.kv_dtype));
  for (index_t b = 0; b < kv.batch(); ++b) {
    std::vector<std::byte> k(size * static_cast<std::size_t>(c.head_dim)), v(size * static_cast<std::size_t>(c.value_dim));
    kv.export_row(ctx, b, k.data(), v.data());
    all += hash_of(k) + hash_of(v);
  }
  return all;
}
inline std::string visible(bits_context& ctx, const bits_module& module) {
  std::string all = module.fingerprint().hex();
  for (const rapt::named_tensor& w : module.weights(ctx)) all += w.name + std::string(rapt::name_of(w.type)) + hash_of(w.bytes);
  return all;
}

inline bits_module some_module(bits_context& ctx, unsigned seed, const rapt::attention_config& config = small_config()) {
  return {ctx, config, rapt::random_weights<float>(config, seed).views};
}
inline bits_projected some_projected(bits_context& ctx, bool is_static, index_t batch, index_t len, index_t heads, unsigned seed,
                                     const rapt::fingerprint& made_by = {}) {
  const rapt::attention_config c = small_config();
  const auto size = static_cast<std::size_t>(batch * len * heads * rapt::size_of(*c.kv_dtype));
  const auto k = random_bytes(size * static_cast<std::size_t>(c.head_dim), seed),
             v = random_bytes(size * static_cast<std::size_t>(c.value_dim), seed + 1);
  return bits_projected::import(ctx, c, batch, len, heads, k.data(), v.data(), is_static, made_by);
}

}  // namespace rapt_test
