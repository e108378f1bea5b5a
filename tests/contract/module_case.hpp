// Random modules: a config, weights of any family and dtype, and the module made of them.
#pragma once
#include <contract/random_operands.hpp>
#include <rapt/attention/multi_head_attention.hpp>
#include <rapt/cpu/context.hpp>

namespace rapt_test::contract {
using rapt::attention_config;

/// Parameters in memory, with views on them.
struct random_weights {
  rapt::attention_weights views;
  std::vector<std::vector<std::byte>> memory;

  rapt::weight_view add(random_source& random, dtype type, std::vector<index_t> extents, double magnitude, double offset = 0) {
    index_t count = 1;
    for (const index_t e : extents) count *= e;
    memory.emplace_back(static_cast<std::size_t>(count * size_of(type)));
    for (index_t i = 0; i < count; ++i) store<double>(type, memory.back().data(), i, offset + magnitude * random.symmetric());
    return {memory.back().data(), type, extents};
  }
};

inline random_weights make_weights(random_source& random, const attention_config& c, dtype type) {
  random_weights w;
  const double magnitude = 1.5 / std::sqrt(static_cast<double>(c.model_dim));
  const bool equal = c.head_dim == c.value_dim, fused = equal && c.num_heads == c.num_kv_heads && random.chance(0.5),
             pair = equal && random.chance(0.5);
  const bool biased = random.chance(0.3);
  const auto bias = [&](std::vector<index_t> extents) { return biased ? w.add(random, type, std::move(extents), 0.3) : rapt::weight_view(); };
  if (fused) {
    w.views.w_qkv = w.add(random, type, {3, c.num_heads, c.head_dim, c.model_dim}, magnitude);
    w.views.b_qkv = bias({3, c.num_heads, c.head_dim});
  } else {
    w.views.w_q = w.add(random, type, {1, c.num_heads, c.head_dim, c.model_dim}, magnitude);
    w.views.b_q = bias({1, c.num_heads, c.head_dim});
    if (pair) {
      w.views.w_kv = w.add(random, type, {2, c.num_kv_heads, c.head_dim, c.model_dim}, magnitude);
      w.views.b_kv = bias({2, c.num_kv_heads, c.head_dim});
    } else {
      w.views.w_k = w.add(random, type, {c.num_kv_heads, c.head_dim, c.model_dim}, magnitude);
      w.views.w_v = w.add(random, type, {c.num_kv_heads, c.value_dim, c.model_dim}, magnitude);
      w.views.b_k = bias({c.num_kv_heads, c.head_dim});
      w.views.b_v = bias({c.num_kv_heads, c.value_dim});
    }
  }
  w.views.w_out = w.add(random, type, {c.num_heads, c.value_dim, c.output_dim}, magnitude);
  w.views.b_out = bias({c.output_dim});
  if (c.qk_norm) w.views.q_norm = w.add(random, type, {c.head_dim}, 0.3, 1), w.views.k_norm = w.add(random, type, {c.head_dim}, 0.3, 1);
  if (random.chance(0.2)) w.views.sink_logits = w.add(random, type, {c.num_heads}, 2);
  return w;
}

struct config_limits {
  std::vector<index_t> dims = {1, 3, 8, 16, 17};
  index_t max_kv_heads = 3, max_group = 3, max_model_dim = 40;
  bool must_be_causal = true;  ///< so that a token's visible keys do not depend on how a sequence is chunked
};

inline attention_config make_config(random_source& random, const config_limits& limits, dtype activations) {
  const auto dim = [&] { return random.pick(limits.dims); };
  attention_config c;
  c.num_kv_heads = random.between(1, limits.max_kv_heads), c.num_heads = c.num_kv_heads * random.between(1, limits.max_group);
  c.head_dim = dim(), c.value_dim = random.chance(0.7) ? c.head_dim : dim();
  c.model_dim = random.between(1, limits.max_model_dim), c.output_dim = random.chance(0.7) ? c.model_dim : random.between(1, limits.max_model_dim);
  if (random.chance(0.2)) c.softmax_scale = random.pick<double>({0.3, 1.0, 4.0, -0.5});
  c.causal = limits.must_be_causal || random.chance(0.5);
  if (random.chance(0.25)) c.window.left = random.pick<index_t>({0, 1, 5, 16, 100, 600});
  if (!c.causal && random.chance(0.2)) c.window.right = random.pick<index_t>({0, 3, 20});
  if (random.chance(0.2)) c.softcap = random.pick<double>({1.0, 20.0});
  c.alibi = random.chance(0.2);
  if (random.chance(0.25)) c.qk_norm = rapt::qk_norm_config{};
  if (c.head_dim >= 2 && random.chance(0.5)) {
    c.rope = rapt::rope_config{.theta = random.pick<double>({100.0, 10'000.0, 500'000.0}), .dim = 2 * random.between(1, c.head_dim / 2)};
    if (random.chance(0.4)) c.rope->pairing = rapt::rope_pairing::interleaved;
    if (random.chance(0.2)) c.rope->scaling = {.kind = rapt::rope_scaling_kind::linear, .factor = 4};
  }
  c.kv_dtype = activations == dtype::f64 ? random.pick({dtype::f64, dtype::f64, dtype::f32, dtype::bf16, dtype::f16})
                                         : random.pick({dtype::f32, dtype::f32, dtype::bf16, dtype::f16});
  return rapt::resolve(c);
}

template <class T>
std::vector<T> random_values(random_source& random, index_t count, double magnitude = 1) {
  std::vector<T> x(static_cast<std::size_t>(count));
  for (T& value : x) store<double>(rapt::dtype_of<T>, &value, 0, magnitude * random.symmetric());
  return x;
}

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& x) {
  std::vector<std::byte> bytes(x.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), x.data(), bytes.size());
  return bytes;
}

/// Calls f with a value of one of the types of activations, mostly float.
template <class F>
void with_activation(random_source& random, F f) {
  switch (random.below(10)) {
    case 0:
    case 1:
      return f(double{});
    case 2:
      return f(rapt::bf16{});
    case 3:
      return f(rapt::f16{});
    default:
      return f(float{});
  }
}

}  // namespace rapt_test::contract
