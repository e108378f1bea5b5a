// A small module on the CPU and on the emulated device, with the same weights.
#pragma once
#include <rapt/cuda.hpp>

#include <contract/module_case.hpp>
#include <support/cpu_placement.hpp>
#include <support/cuda_placement.hpp>

#include <gtest/gtest.h>

namespace rapt_test::cuda {
using rapt::bf16;
using rapt::index_t;

template <class Backend>
struct rows_of {
  placed_vector<bf16, Backend> x, y;
  rows_of(typename Backend::context& ctx, std::vector<bf16> values) : x(ctx, values), y(ctx, std::vector<bf16>(values.size())) {}
  rapt::tensor_view<const bf16, 2, typename Backend::space> in(index_t first, index_t count, index_t dim) {
    return rapt::tensor_view<const bf16, 2, typename Backend::space>(x.data() + first * dim, {count, dim});
  }
  rapt::tensor_view<bf16, 2, typename Backend::space> out(index_t first, index_t count, index_t dim) {
    return rapt::tensor_view<bf16, 2, typename Backend::space>(y.data() + first * dim, {count, dim});
  }
};

/// Causal, with RoPE and grouped heads; `len` rows of input.
struct rig {
  static constexpr index_t dim = 48, len = 70;
  rapt::cpu::context cpu{{.num_threads = 1}};
  rapt::cuda::context ctx;
  contract::random_source random{7};
  rapt::attention_config config = rapt::resolve({.model_dim = dim,
                                                 .num_heads = 4,
                                                 .num_kv_heads = 2,
                                                 .head_dim = 24,
                                                 .causal = true,
                                                 .rope = rapt::rope_config{},
                                                 .kv_dtype = rapt::dtype::bf16});
  contract::random_weights weights = contract::make_weights(random, config, rapt::dtype::bf16);
  rapt::multi_head_attention<bf16> on_cpu{cpu, config, weights.views};
  rapt::multi_head_attention<bf16, rapt::cuda::backend> on_device{ctx, config, weights.views};
  std::vector<bf16> x = contract::random_values<bf16>(random, len* dim, 2);
  rows_of<rapt::cuda::backend> rows{ctx, x};

  rapt::cuda::kv_cache cache(index_t num_layers = 1, index_t max_sequences = 1) {
    return {ctx, on_device.config(), {.num_layers = num_layers, .max_tokens = 3 * len, .max_sequences = max_sequences, .page_len = 16}};
  }
  /// Rows first.. through every layer of a step.
  void step(rapt::cuda::kv_cache& to, const rapt::basic_sequence<rapt::cuda::backend>& sequence, index_t first, index_t count) {
    auto open = to.begin_step({{sequence, count}});
    for (index_t l = 0; l < to.limits().num_layers; ++l) forward(open, l, first, count);
    open.commit();
  }
  void forward(rapt::basic_step<rapt::cuda::backend>& open, index_t layer, index_t first, index_t count) {
    on_device.forward(ctx, rows.in(first, count, dim), open.layer(layer), rows.out(first, count, dim));
  }
  /// A row's result, of all rows at once and without a cache.
  std::vector<bf16> whole() {
    rows_of<rapt::cuda::backend> all(ctx, x);
    on_device.forward(ctx, all.in(0, len, dim), rapt::self_kv{}, all.out(0, len, dim));
    return all.y.fetch();
  }
};

template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const rapt::error& e) { return e.what(); }
  return "none";
}

}  // namespace rapt_test::cuda
