// What every consumer builds: one line with a hash of outputs. However it was compiled and linked, the line is the same.
#include <rapt/rapt.hpp>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using rapt::index_t;

std::uint64_t hash = 0xcbf29ce484222325u;
template <class T>
void add(const std::vector<T>& values) {
  for (const T& value : values) {
    unsigned char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    for (const unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3u;
  }
}

// Random bits with an exponent field of a few below 1, or with an exponent field of 0: subnormal. Made from integers, because a program built with
// -ffast-math flushes subnormals as soon as it computes with them.
template <class T>
std::vector<T> inputs(index_t count, bool subnormal) {
  constexpr int mantissa_bits = std::is_same_v<T, double> ? 52 : std::is_same_v<T, float> ? 23 : std::is_same_v<T, rapt::bf16> ? 7 : 10;
  constexpr int width = 8 * static_cast<int>(sizeof(T)), exponent_bits = width - 1 - mantissa_bits;
  constexpr std::uint64_t bias = (std::uint64_t{1} << (exponent_bits - 1)) - 1, mantissa_mask = (std::uint64_t{1} << mantissa_bits) - 1;
  std::vector<T> values(static_cast<std::size_t>(count));
  std::uint64_t state = 12345;
  for (T& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const std::uint64_t random = state ^ state >> 29;
    const std::uint64_t exponent = subnormal ? 0 : bias - 1 - (random >> 60) % 4;
    const std::uint64_t bits = (random >> 63) << (width - 1) | exponent << mantissa_bits | (random & mantissa_mask);
    std::memcpy(static_cast<void*>(&value), &bits, sizeof(T));  // little-endian, as all of x86-64
  }
  return values;
}

// A prompt of 17 tokens, two tokens one by one, and a cross call.
template <class T>
void forward(rapt::cpu::context& ctx, bool subnormal) {
  const rapt::attention_config config{
      .model_dim = 40, .num_heads = 6, .num_kv_heads = 2, .head_dim = 20, .causal = true, .rope = rapt::rope_config{}};
  const rapt::owned_weights weights = rapt::random_weights<T>(config, 7);
  const rapt::multi_head_attention<T> attention(ctx, config, weights.views);
  const std::vector<T> x = inputs<T>(19 * 40, subnormal);
  std::vector<T> y(19 * 40);

  rapt::kv_cache cache(ctx, attention.config(), {.max_tokens = 32});
  const rapt::sequence tokens = cache.add_sequence();
  for (const auto& [first, count] : {std::pair<index_t, index_t>{0, 17}, {17, 1}, {18, 1}})
    attention.forward(ctx, rapt::view(x.data() + first * 40, count, 40), rapt::append(cache, tokens), rapt::view(y.data() + first * 40, count, 40));
  add(y);
  attention.forward(ctx, rapt::view(x.data(), 1, 12, 40), rapt::cross(rapt::view(x.data(), 1, 19, 40)), rapt::view(y.data(), 1, 12, 40));
  add(y);
}

}  // namespace

int main() {
  rapt::cpu::context ctx({.num_threads = 2});
  for (const bool subnormal : {false, true}) {
    forward<float>(ctx, subnormal);
    forward<double>(ctx, subnormal);
    forward<rapt::bf16>(ctx, subnormal);
    forward<rapt::f16>(ctx, subnormal);
  }
  std::printf("rapt %s, outputs %016llx\n", RAPT_VERSION_STRING, static_cast<unsigned long long>(hash));
}
