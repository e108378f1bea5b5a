// The 200 cases of tests/numerics_lock.json, as functions of their number and the numerics id. FROZEN with the ids: an edit here changes hashes that
// must not change, so this file shares no generator with other tests. A new id may come with new cases. By pairs of bf16 all of them have bf16
// activations, keys and values.
#pragma once
#include <rapt/attention/multi_head_attention.hpp>
#include <rapt/ops/attend.hpp>

#include <xxhash.h>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

namespace rapt_test::lock {
using rapt::dtype;
using rapt::index_t;

constexpr int num_module_cases = 120, num_attend_cases = 80;

/// Uniform in [-1, 1): a function of case, tensor and element alone (SplitMix64's finaliser; Steele et al. 2014).
inline double value(int number, int tensor, std::uint64_t element) {
  std::uint64_t x =
      (static_cast<std::uint64_t>(number) * 64 + static_cast<std::uint64_t>(tensor)) * 0x9e3779b97f4a7c15u + element * 0xd1342543de82ef95u + 1;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1p-52 - 1;
}
template <class T>
std::vector<T> values(int number, int tensor, index_t count, double magnitude = 1, double offset = 0) {
  std::vector<T> all;
  for (index_t i = 0; i < count; ++i) all.push_back(static_cast<T>(offset + magnitude * value(number, tensor, static_cast<std::uint64_t>(i))));
  return all;
}
template <class T>
std::uint64_t hash(const std::vector<T>& x, std::uint64_t seed) {
  return XXH3_64bits_withSeed(x.data(), x.size() * sizeof(T), seed);
}

/// Calls f with the case's type of activations.
template <class F>
std::uint64_t with_type(int number, std::string_view numerics, F f) {
  if (rapt::adds_bf16_pairs(numerics)) return f(rapt::bf16{});
  switch (number % 6) {
    case 3:
      return f(double{});
    case 4:
      return f(rapt::bf16{});
    case 5:
      return f(rapt::f16{});
    default:
      return f(float{});
  }
}
inline index_t choose(int number, int divisor, std::initializer_list<index_t> of) {
  return of.begin()[static_cast<std::size_t>(number / divisor) % of.size()];
}

/// A module of its own config and weights, over x itself or another tensor; the hash of y and lse.
template <class T>
std::uint64_t run_module(rapt::cpu::context& ctx, int number, std::string_view numerics) {
  using A = rapt::accumulator_t<T>;
  rapt::attention_config c;
  c.head_dim = choose(number, 1, {8, 17, 64, 1, 65, 130, 3}), c.value_dim = number % 5 == 0 ? choose(number, 2, {16, 3, 65}) : c.head_dim;
  c.num_kv_heads = choose(number, 1, {1, 2, 3}), c.num_heads = c.num_kv_heads * choose(number, 3, {1, 2, 4});
  c.model_dim = choose(number, 1, {24, 61, 300, 7}), c.output_dim = number % 7 == 0 ? 19 : c.model_dim;
  c.causal = number % 3 != 0;
  if (number % 4 == 1) c.window.left = choose(number, 4, {0, 5, 40});
  if (number % 5 == 2) c.softcap = 15.0;
  if (number % 7 == 3) c.softmax_scale = 0.7;
  c.alibi = number % 6 == 2;
  if (number % 4 == 2) c.qk_norm = rapt::qk_norm_config{.eps = 1e-5};
  if (number % 2 == 1 && c.head_dim > 1) {
    c.rope = rapt::rope_config{.dim = number % 8 == 3 ? 2 : c.head_dim / 2 * 2};
    if (number % 4 == 3) c.rope->pairing = rapt::rope_pairing::interleaved;
    if (number % 10 == 5) c.rope->scaling = {.kind = rapt::rope_scaling_kind::llama3, .factor = 8, .original_max_position_embeddings = 64};
  }
  constexpr bool wide = sizeof(T) == 8;
  const dtype narrow[] = {dtype::f32, dtype::bf16, dtype::f16};
  c.kv_dtype = rapt::adds_bf16_pairs(numerics) ? dtype::bf16 : wide && number % 4 != 1 ? dtype::f64 : narrow[number % 5 % 3];
  c.numerics = numerics;

  const double scale = 2.0 / std::sqrt(static_cast<double>(c.model_dim));
  const index_t q = c.num_heads * c.head_dim, k = c.num_kv_heads * c.head_dim, v = c.num_kv_heads * c.value_dim, o = c.num_heads * c.value_dim;
  const auto run = [&]<class W>(W) {
    const auto wq = values<W>(number, 0, q * c.model_dim, scale), wk = values<W>(number, 1, k * c.model_dim, scale),
               wv = values<W>(number, 2, v * c.model_dim, scale), wo = values<W>(number, 3, o * c.output_dim, scale), bq = values<W>(number, 4, q),
               bk = values<W>(number, 5, k), bv = values<W>(number, 6, v), bo = values<W>(number, 7, c.output_dim),
               nq = values<W>(number, 8, c.head_dim, 0.5, 1), nk = values<W>(number, 9, c.head_dim, 0.5, 1),
               sinks = values<W>(number, 10, c.num_heads, 3);
    rapt::attention_weights w;
    w.w_q = rapt::view(wq.data(), q, c.model_dim), w.w_k = rapt::view(wk.data(), k, c.model_dim), w.w_v = rapt::view(wv.data(), v, c.model_dim);
    w.w_out = rapt::view(wo.data(), o, c.output_dim);
    if (number % 3 == 1)
      w.b_q = rapt::view(bq.data(), q), w.b_k = rapt::view(bk.data(), k), w.b_v = rapt::view(bv.data(), v),
      w.b_out = rapt::view(bo.data(), c.output_dim);
    if (c.qk_norm) w.q_norm = rapt::view(nq.data(), c.head_dim), w.k_norm = rapt::view(nk.data(), c.head_dim);
    if (number % 8 == 4) w.sink_logits = rapt::view(sinks.data(), c.num_heads);
    const rapt::multi_head_attention<T> module(ctx, c, w);
    const index_t batch = number % 4 == 0 ? 2 : 1, len = choose(number, 1, {1, 16, 33, 65, 7}), kv_len = choose(number, 1, {15, 130, 1, 64, 600, 17});
    const auto x = values<T>(number, 11, batch * len * c.model_dim), x_kv = values<T>(number, 12, batch * kv_len * c.model_dim);
    std::vector<T> y(static_cast<std::size_t>(batch * len * c.output_dim));
    std::vector<A> lse(static_cast<std::size_t>(batch * len * c.num_heads));
    const rapt::forward_options options{.residual = number % 2 == 0 && c.model_dim == c.output_dim,
                                        .lse = rapt::view(lse.data(), batch, c.num_heads, len)};
    const auto in = rapt::view(x.data(), batch, len, c.model_dim);
    const auto out = rapt::view(y.data(), batch, len, c.output_dim);
    if (number % 3 == 2)
      module.forward(ctx, in, rapt::cross(rapt::view(x_kv.data(), batch, kv_len, c.model_dim)), out, options);
    else
      module.forward(ctx, in, rapt::self_kv{}, out, options);
    return hash(lse, hash(y, 0));
  };
  switch (number % 9) {
    case 0:
      return run(double{});
    case 1:
      return run(rapt::bf16{});
    case 2:
      return run(rapt::f16{});
    default:
      return run(float{});
  }
}

/// attend on tensors, with masks, positions, lengths and dropout; the hash of out and lse.
template <class T>
std::uint64_t run_attend(rapt::cpu::context& ctx, int number, std::string_view numerics) {
  using A = rapt::accumulator_t<T>;
  const int tensors = 32;
  const index_t batch = choose(number, 1, {1, 2}), q_len = choose(number, 1, {1, 5, 17, 33}),
                kv_len = choose(number, 1, {17, 512, 65, 1'025, 63, 511, 16, 2'000, 8'200, 1});
  const index_t kv_heads = choose(number, 1, {1, 2}), heads = kv_heads * choose(number, 2, {1, 3}), dim = choose(number, 1, {64, 3, 128, 17, 1}),
                value_dim = choose(number, 3, {16, 5, 64});
  const auto q = values<T>(number, tensors, batch * q_len * heads * dim, 2), k = values<T>(number, tensors + 1, batch * kv_len * kv_heads * dim, 2),
             v = values<T>(number, tensors + 2, batch * kv_len * kv_heads * value_dim);
  std::vector<A> additive;
  const auto visible = std::make_unique<bool[]>(static_cast<std::size_t>(q_len * kv_len));
  std::vector<double> alibi, sinks;
  for (index_t i = 0; i < q_len * kv_len; ++i) {
    const double x = value(number, tensors + 3, static_cast<std::uint64_t>(i));
    additive.push_back(x < -0.5 ? -std::numeric_limits<A>::infinity() : static_cast<A>(3 * x));
    visible[static_cast<std::size_t>(i)] = x > -0.4;
  }
  for (index_t h = 0; h < heads; ++h) {
    alibi.push_back(std::abs(value(number, tensors + 4, static_cast<std::uint64_t>(h))));
    sinks.push_back(static_cast<double>(static_cast<float>(4 * value(number, tensors + 5, static_cast<std::uint64_t>(h)))));
  }
  std::vector<index_t> positions, lens;
  for (index_t i = 0; i < q_len; ++i)
    positions.push_back(static_cast<index_t>(std::abs(value(number, tensors + 6, static_cast<std::uint64_t>(i))) * static_cast<double>(kv_len)));
  for (index_t b = 0; b < batch; ++b)
    lens.push_back(static_cast<index_t>(std::abs(value(number, tensors + 7, static_cast<std::uint64_t>(b))) * static_cast<double>(kv_len)));

  rapt::attend_options options;
  options.numerics = numerics;
  options.causal = number % 3 == 0;
  if (number % 5 == 1) options.window = {.left = 20, .right = 3};
  if (number % 7 == 2) options.softcap = 9.0;
  if (number % 4 == 1) options.alibi_slopes = alibi;
  if (number % 6 == 3) options.sink_logits = sinks;
  if (number % 5 == 4) options.kv_lens = lens;
  if (number % 8 == 6) options.q_positions = positions;
  if (number % 4 == 2) options.mask = rapt::view(additive.data(), 1, 1, q_len, kv_len);
  if (number % 4 == 3) options.mask = rapt::view(visible.get(), 1, 1, q_len, kv_len);
  if (number % 9 == 5)
    options.dropout_p = 0.3, options.dropout = rapt::dropout_state{.seed = 0x123456789abcdef0u + static_cast<std::uint64_t>(number), .offset = 5};
  std::vector<T> out(static_cast<std::size_t>(batch * q_len * heads * value_dim));
  std::vector<A> lse(static_cast<std::size_t>(batch * q_len * heads));
  rapt::attend(ctx, rapt::view(q.data(), batch, q_len, heads, dim), rapt::view(k.data(), batch, kv_len, kv_heads, dim),
               rapt::view(v.data(), batch, kv_len, kv_heads, value_dim), rapt::view(out.data(), batch, q_len, heads, value_dim),
               rapt::view(lse.data(), batch, heads, q_len), options);
  return hash(lse, hash(out, 0));
}

/// Case 0 .. 199.
inline std::uint64_t run(rapt::cpu::context& ctx, int number, std::string_view numerics) {
  return with_type(number, numerics, [&](auto t) {
    using T = decltype(t);
    return number < num_module_cases ? run_module<T>(ctx, number, numerics) : run_attend<T>(ctx, number, numerics);
  });
}

}  // namespace rapt_test::lock
