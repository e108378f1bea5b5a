// The decoder of examples/generate as C functions that ctypes can call. Every function returns 0 (make: a pointer), or 1 (null) after printing the
// error.
#include <decoder.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>

namespace {
using generate::token_id;

template <class F>
int guarded(F f) {
  try {
    f();
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rapt: %s\n", e.what());
    return 1;
  }
}

/// The model with one sequence.
struct model {
  model(int num_threads, const char* weights, rapt::dtype kv_dtype, rapt::index_t max_tokens)
      : threads(num_threads),
        ctx({.pool = threads.get()}),
        decoder(ctx, threads.get(), weights, kv_dtype),
        cache(decoder.make_cache(ctx, max_tokens)),
        sequence(cache.add_sequence()) {}

  rapt::thread_pool threads;
  rapt::cpu::context ctx;
  generate::decoder decoder;
  rapt::kv_cache cache;
  rapt::sequence sequence;
};
}  // namespace

extern "C" {

/// weights: the file that examples/models/fetch.py writes; f16_cache: keys and values are kept in f16, not f32.
void* peer_model(int num_threads, const char* weights, int f16_cache, rapt::index_t max_tokens) {
  std::unique_ptr<model> made;
  guarded([&] { made = std::make_unique<model>(num_threads, weights, f16_cache != 0 ? rapt::dtype::f16 : rapt::dtype::f32, max_tokens); });
  return made.release();
}

/// Forgets everything, feeds ids [count] at once; logits [vocabulary] of what follows.
int peer_model_prompt(void* made, const token_id* ids, rapt::index_t count, float* logits) {
  auto& m = *static_cast<model*>(made);
  return guarded([&] {
    m.sequence.truncate(0);
    std::ranges::copy(m.decoder.forward(m.ctx, m.cache, m.sequence, {ids, static_cast<std::size_t>(count)}), logits);
  });
}

/// Feeds ids [count] one by one, as if each had just been chosen, and takes them back; logits [vocabulary] of what follows the last.
int peer_model_decode(void* made, const token_id* ids, rapt::index_t count, float* logits) {
  auto& m = *static_cast<model*>(made);
  return guarded([&] {
    const rapt::index_t kv_len = m.sequence.kv_len();
    for (rapt::index_t i = 0; i < count; ++i) std::ranges::copy(m.decoder.forward(m.ctx, m.cache, m.sequence, {ids + i, 1}), logits);
    m.sequence.truncate(kv_len);
  });
}

void peer_free_model(void* made) { delete static_cast<model*>(made); }
}
