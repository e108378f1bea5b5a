// What peers.py times, as C functions that ctypes can call: rapt, attention written plainly with Eigen, and the limits of the machine.
// Every function that works with rapt returns 0, or 1 after printing the error.
#include <eigen_attention.hpp>
#include <limits.hpp>

#include <rapt/rapt.hpp>

#include <cstdio>
#include <memory>
#include <optional>

namespace {
using rapt::index_t;

template <class F>
int guarded(F f) {
  try {
    f();
    return 0;
  } catch (const rapt::error& e) {
    std::fprintf(stderr, "rapt: %s\n", e.what());
    return 1;
  }
}

/// [batch, len, heads, dim] with any strides, in elements.
struct peer_tensor {
  void* data;
  index_t extents[4], strides[4];

  template <class T>
  rapt::tensor_view<T, 4> of() const {
    return rapt::view(static_cast<T*>(data), extents[0], extents[1], extents[2], extents[3]).strided(strides[0], strides[1], strides[2], strides[3]);
  }
};
template <class T>
void attend(void* ctx, const peer_tensor& q, const peer_tensor& k, const peer_tensor& v, const peer_tensor& out,
            const rapt::attend_options& options) {
  rapt::attend(*static_cast<rapt::cpu::context*>(ctx), q.of<const T>(), k.of<const T>(), v.of<const T>(), out.of<T>(), options);
}

/// Weights as torch.nn.MultiheadAttention keeps them.
rapt::attention_weights torch_weights(rapt::dtype type, index_t width, const void* in_weight, const void* in_bias, const void* out_weight,
                                      const void* out_bias) {
  const auto matrix = [&](const void* data, index_t rows) { return rapt::weight_view(data, type, std::array{rows, width}); };
  const auto row = [&](const void* data, index_t length) { return rapt::weight_view(data, type, std::array{length}); };
  return rapt::torch_weights(matrix(in_weight, 3 * width), row(in_bias, 3 * width), matrix(out_weight, width), row(out_bias, width));
}

/// A module with one sequence in a cache of its own.
struct cached_module {
  rapt::cpu::context& ctx;
  rapt::multi_head_attention<float> module;
  std::unique_ptr<rapt::kv_cache> cache = nullptr;
  std::optional<rapt::sequence> sequence = std::nullopt;
  index_t kv_len = 0;
};

using bf16_module = rapt::multi_head_attention<rapt::bf16>;
}  // namespace

extern "C" {

void* peer_context(int num_threads) { return new rapt::cpu::context({.num_threads = num_threads}); }

/// Tensors of f32, or of bf16 by cpu-bf16dot-v1.
int peer_attend(void* ctx, const peer_tensor* q, const peer_tensor* k, const peer_tensor* v, const peer_tensor* out, int causal, int bf16) {
  return guarded([&] {
    if (bf16 != 0)
      attend<rapt::bf16>(ctx, *q, *k, *v, *out, {.causal = causal != 0, .numerics = rapt::numerics_id::cpu_bf16dot_v1});
    else
      attend<float>(ctx, *q, *k, *v, *out, {.causal = causal != 0});
  });
}

/// Null where the weights are refused.
void* peer_torch_module(void* ctx, index_t model_dim, index_t heads, const float* in_weight, const float* in_bias, const float* out_weight,
                        const float* out_bias) {
  cached_module* made = nullptr;
  guarded([&] {
    auto& context = *static_cast<rapt::cpu::context*>(ctx);
    made = new cached_module{context,
                             rapt::multi_head_attention<float>(context, {.model_dim = model_dim, .num_heads = heads},
                                                               torch_weights(rapt::dtype::f32, model_dim, in_weight, in_bias, out_weight, out_bias))};
  });
  return made;
}
/// The same of bf16, by cpu-bf16dot-v1.
void* peer_bf16_module(void* ctx, index_t model_dim, index_t heads, const void* in_weight, const void* in_bias, const void* out_weight,
                       const void* out_bias) {
  bf16_module* made = nullptr;
  guarded([&] {
    made = new bf16_module(*static_cast<rapt::cpu::context*>(ctx),
                           {.model_dim = model_dim, .num_heads = heads, .numerics = std::string(rapt::numerics_id::cpu_bf16dot_v1)},
                           torch_weights(rapt::dtype::bf16, model_dim, in_weight, in_bias, out_weight, out_bias));
  });
  return made;
}
/// y [len, model_dim] of x.
int peer_bf16_forward(void* ctx, void* module, const void* x, void* y, index_t len) {
  const auto& m = *static_cast<bf16_module*>(module);
  const index_t width = m.config().model_dim;
  return guarded([&] {
    m.forward(*static_cast<rapt::cpu::context*>(ctx), rapt::view(static_cast<const rapt::bf16*>(x), len, width), rapt::self_kv{},
              rapt::view(static_cast<rapt::bf16*>(y), len, width));
  });
}
void peer_free_bf16_module(void* module) { delete static_cast<bf16_module*>(module); }

/// Weights apart: w_q [heads * dim, model_dim], w_k and w_v [kv_heads * dim, model_dim], w_out [heads * dim, model_dim]; kv_dtype "f32", "f16",
/// "bf16".
void* peer_grouped_module(void* ctx, index_t model_dim, index_t heads, index_t kv_heads, index_t dim, const char* kv_dtype, const float* w_q,
                          const float* w_k, const float* w_v, const float* w_out) {
  cached_module* made = nullptr;
  guarded([&] {
    auto& context = *static_cast<rapt::cpu::context*>(ctx);
    rapt::attention_config config{.model_dim = model_dim, .num_heads = heads, .num_kv_heads = kv_heads, .head_dim = dim, .causal = true};
    for (const rapt::dtype type : {rapt::dtype::f32, rapt::dtype::f16, rapt::dtype::bf16})
      if (name_of(type) == kv_dtype) config.kv_dtype = type;
    made = new cached_module{context, rapt::multi_head_attention<float>(context, config,
                                                                        {.w_q = rapt::view(w_q, heads * dim, model_dim),
                                                                         .w_k = rapt::view(w_k, kv_heads * dim, model_dim),
                                                                         .w_v = rapt::view(w_v, kv_heads * dim, model_dim),
                                                                         .w_out = rapt::view(w_out, heads * dim, model_dim)})};
  });
  return made;
}

/// Fills a cache: k, v [kv_len, kv_heads, dim] in the module's kv_dtype.
int peer_fill_cache(void* module, index_t kv_len, const void* k, const void* v) {
  auto& m = *static_cast<cached_module*>(module);
  return guarded([&] {
    m.cache = std::make_unique<rapt::kv_cache>(m.ctx, m.module.config(), rapt::cache_limits{.max_tokens = kv_len + 1});
    m.sequence = m.cache->add_sequence();
    m.kv_len = kv_len;
    rapt::step step = m.cache->begin_step({{*m.sequence, kv_len}});
    const rapt::kv_bits bits{k, v};
    m.cache->import_layer(m.ctx, step, 0, {&bits, 1}, m.module.fingerprint());
    step.commit();
  });
}

/// y [len, model_dim] of x, without a cache.
int peer_forward(void* module, const float* x, float* y, index_t len) {
  auto& m = *static_cast<cached_module*>(module);
  const index_t width = m.module.config().model_dim;
  return guarded([&] { m.module.forward(m.ctx, rapt::view(x, len, width), rapt::self_kv{}, rapt::view(y, len, width)); });
}

/// y [model_dim] of one more row x, which is taken back.
int peer_step(void* module, const float* x, float* y) {
  auto& m = *static_cast<cached_module*>(module);
  const index_t width = m.module.config().model_dim;
  return guarded([&] {
    m.module.forward(m.ctx, rapt::view(x, 1, width), rapt::append(*m.cache, *m.sequence), rapt::view(y, 1, width));
    m.sequence->truncate(m.kv_len);
  });
}

void peer_free_module(void* module) { delete static_cast<cached_module*>(module); }

/// q, out [q_len, heads, dim], k, v [kv_len, kv_heads, dim].
void eigen_attend(const float* q, const float* k, const float* v, float* out, index_t q_len, index_t kv_len, index_t heads, index_t kv_heads,
                  index_t dim, int num_threads) {
  peers::eigen_attention(q, k, v, out, q_len, kv_len, heads, kv_heads, dim, num_threads);
}

/// Rates that no program on num_threads threads of this machine exceeds: float operations (an FMA counts two), bytes read from memory, each per
/// second.
double fma_peak(int num_threads) { return peers::fma_peak(num_threads); }
/// Of vdpbf16ps, which counts four; 0 where the processor lacks it.
double bf16_pair_peak(int num_threads) { return __builtin_cpu_supports("avx512bf16") ? peers::bf16_pair_peak(num_threads) : 0; }
double read_rate(int num_threads) { return peers::read_rate(num_threads); }
}
