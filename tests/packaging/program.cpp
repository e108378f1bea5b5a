// What every consumer builds: one line with a hash of outputs. However it was compiled and linked, the line is the same.
#include <rapt/rapt.hpp>

#include <cstdint>
#include <cstdio>
#include <cstring>
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

// Multiples of 2^(exponent - 11) below 2^exponent, made from integers: -ffast-math has nothing to change here.
template <class T>
std::vector<T> inputs(index_t count, int exponent) {
  std::vector<T> values(static_cast<std::size_t>(count));
  std::uint32_t state = 12345;
  for (T& value : values) {
    state = state * 1664525u + 1013904223u;
    const std::int64_t integer = static_cast<std::int64_t>(state >> 20) - 2048;
    double scale = 1;
    for (int e = exponent - 11; e < 0; ++e) scale /= 2;
    value = T(static_cast<double>(integer) * scale);
  }
  return values;
}

// A prompt of 17 tokens, two tokens one by one, and a cross call; inputs as large as 2^exponent.
template <class T>
void forward(rapt::cpu::context& ctx, int exponent) {
  const rapt::attention_config config{
      .model_dim = 40, .num_heads = 6, .num_kv_heads = 2, .head_dim = 20, .causal = true, .rope = rapt::rope_config{}};
  const rapt::owned_weights weights = rapt::random_weights<T>(config, 7);
  const rapt::multi_head_attention<T> attention(ctx, config, weights.views);
  const std::vector<T> x = inputs<T>(19 * 40, exponent);
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
  for (const int exponent : {0, -130}) {  // 2^-130: subnormal floats, which a program built with -ffast-math flushes to zero outside of rapt
    forward<float>(ctx, exponent);
    forward<double>(ctx, exponent);
    forward<rapt::bf16>(ctx, exponent);
  }
  forward<rapt::f16>(ctx, 0);
  std::printf("rapt %s, outputs %016llx\n", RAPT_VERSION_STRING, static_cast<unsigned long long>(hash));
}
