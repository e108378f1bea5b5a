// A warm call allocates nothing: neither operator new nor malloc, on no thread.
#include <contract/malloc_count.hpp>
#include <contract/module_case.hpp>
#include <rapt/ops/attend.hpp>
#include <rapt/ops/merge.hpp>
#include <rapt/ops/project.hpp>
#include <support/allocations_main.hpp>

#include <gtest/gtest.h>

namespace rapt_test::contract {
namespace {

/// Once to warm up, then three times without an allocation.
template <class Call>
void expect_no_allocation_when_warm(Call call) {
  if (!counts_new) GTEST_SKIP() << "the sanitizer owns operator new";
  call();
  const std::size_t new_before = allocations.calls, malloc_before = malloc_calls;
  for (int i = 0; i < 3; ++i) call();
  const std::size_t new_calls = allocations.calls - new_before, all_calls = malloc_calls - malloc_before;
  EXPECT_EQ(new_calls, 0u);
  EXPECT_EQ(all_calls, 0u);
}

TEST(allocations, the_counters_count) {
  if (!counts_malloc) GTEST_SKIP() << "the sanitizer owns malloc";
  std::unique_ptr<int> one;
  std::vector<int> many;
  EXPECT_GE(malloc_calls_of([&] { one = std::make_unique<int>(1), many.resize(100); }), 2u);
  EXPECT_EQ(malloc_calls_of([] {}), 0u);
}

TEST(allocations, none_in_a_warm_step_of_30_layers_and_16_sequences) {
  constexpr index_t num_layers = 30, num_sequences = 16, dim = 24;
  for (const int num_threads : {1, 2}) {
    rapt::cpu::context ctx({.num_threads = num_threads});
    random_source random(41);
    const attention_config config =
        rapt::resolve({.model_dim = dim, .num_heads = 3, .num_kv_heads = 1, .causal = true, .rope = rapt::rope_config{}, .kv_dtype = dtype::f16});
    std::vector<rapt::multi_head_attention<float>> layers;
    for (index_t l = 0; l < num_layers; ++l) layers.emplace_back(ctx, config, make_weights(random, config, dtype::f32).views);
    rapt::kv_cache cache(ctx, config, {.num_layers = num_layers, .max_tokens = num_sequences * 200, .max_sequences = num_sequences, .page_len = 16});
    std::vector<rapt::sequence> sequences;
    std::vector<rapt::kv_cache::entry> entries;
    for (index_t s = 0; s < num_sequences; ++s) sequences.push_back(cache.add_sequence());
    for (const rapt::sequence& s : sequences) entries.push_back({s, 20});
    std::vector<float> x = random_values<float>(random, num_sequences * 20 * dim), y(x.size());
    const auto step_of = [&](index_t rows) {
      rapt::step step = cache.begin_step(entries);
      for (index_t l = 0; l < num_layers; ++l)
        layers[static_cast<std::size_t>(l)].forward(ctx, rapt::view(x.data(), rows, dim), step.layer(l), rapt::view(y.data(), rows, dim));
      step.commit();
    };
    expect_no_allocation_when_warm([&] { step_of(num_sequences * 20); });
    entries.clear();
    for (const rapt::sequence& s : sequences) entries.push_back({s, 1});
    expect_no_allocation_when_warm([&] { step_of(num_sequences); });
    expect_no_allocation_when_warm([&] {
      for (rapt::sequence& s : sequences) s.truncate(40);
      step_of(num_sequences);
    });
  }
}

TEST(allocations, none_in_any_warm_call_of_a_module) {
  rapt::cpu::context ctx({.num_threads = 2});
  random_source random(42);
  const attention_config config =
      rapt::resolve({.model_dim = 40, .num_heads = 4, .num_kv_heads = 2, .softcap = 9.0, .alibi = true, .dropout_p = 0.2, .kv_dtype = dtype::f32});
  const rapt::multi_head_attention<float> module(ctx, config, make_weights(random, config, dtype::bf16).views);
  const std::vector<float> x = random_values<float>(random, 3 * 50 * 40);
  std::vector<float> y(x.size()), lse(3 * 4 * 50);
  const auto in = rapt::view(x.data(), 3, 50, 40);
  const auto out = rapt::view(y.data(), 3, 50, 40);
  const std::vector<index_t> lens{50, 0, 17};
  rapt::projected_kv kv(ctx, config);
  expect_no_allocation_when_warm([&] { module.forward(ctx, in, rapt::self_kv{}, out, {.residual = true, .lse = rapt::view(lse.data(), 3, 4, 50)}); });
  expect_no_allocation_when_warm([&] {
    module.forward(ctx, in, rapt::self_kv{}, out, {.num_chunks = 2, .kv_lens = lens, .dropout = rapt::dropout_state{1, 2}});
  });
  expect_no_allocation_when_warm([&] { module.forward(ctx, in, rapt::cross(in), out); });
  expect_no_allocation_when_warm([&] { module.forward(ctx, in, rapt::store(kv, in), out); });
  expect_no_allocation_when_warm([&] { module.forward(ctx, in, rapt::stored(kv), out); });

  rapt::kv_cache cache(ctx, config, {.max_tokens = 1'000, .max_sequences = 2});
  rapt::sequence sequence = cache.add_sequence();
  expect_no_allocation_when_warm(
      [&] { module.forward(ctx, rapt::view(x.data(), 7, 40), rapt::append(cache, sequence), rapt::view(y.data(), 7, 40)); });
  expect_no_allocation_when_warm([&] {
    const rapt::sequence fork = sequence.fork();
    module.forward(ctx, rapt::view(x.data(), 1, 40), rapt::append(cache, sequence), rapt::view(y.data(), 1, 40));
    sequence.truncate(sequence.kv_len() - 1);
  });
}

TEST(allocations, a_fixed_workspace_is_enough_where_it_was_reserved) {
  random_source random(43);
  const std::vector<float> q = random_values<float>(random, 4 * 8), k = random_values<float>(random, 3'000 * 2 * 8);
  std::vector<float> out(q.size());
  const auto attend = [&](rapt::cpu::context& ctx) {
    rapt::attend(ctx, rapt::view(q.data(), 1, 1, 4, 8), rapt::view(k.data(), 1, 3'000, 2, 8), rapt::view(k.data(), 1, 3'000, 2, 8),
                 rapt::view(out.data(), 1, 1, 4, 8));
  };
  rapt::cpu::context growing({.num_threads = 2});
  expect_no_allocation_when_warm([&] { attend(growing); });
  rapt::cpu::context fixed({.num_threads = 2, .grow = false});
  const std::vector<float> before = out;
  EXPECT_THROW(attend(fixed), rapt::capacity_error);
  EXPECT_EQ(out, before);
  fixed.reserve(growing.workspace_capacity());
  EXPECT_NO_THROW(attend(fixed));
}

// Where it is short, a call may be half done before that shows.
TEST(allocations, a_workspace_that_is_too_short_writes_nothing) {
  random_source random(45);
  constexpr index_t heads = 24, dim = 48, batch = 5, keys = 1'100;
  rapt::cpu::context growing({.num_threads = 1});
  // So wide that the output projection takes most.
  const attention_config config = rapt::resolve({.model_dim = dim, .num_heads = heads, .head_dim = 2, .value_dim = 64, .kv_dtype = dtype::f32});
  const rapt::multi_head_attention<float> module(growing, config, make_weights(random, config, dtype::f32).views);
  const std::vector<float> x = random_values<float>(random, batch * dim), x_kv = random_values<float>(random, batch * keys * dim);
  std::vector<float> y(x.size()), lse(batch * heads);
  const auto in = rapt::view(x.data(), batch, 1, dim), others = rapt::view(x_kv.data(), batch, keys, dim);
  const auto out = rapt::view(y.data(), batch, 1, dim);
  rapt::projected_kv kv(growing, config);
  module.forward(growing, in, rapt::store(kv, others), out);
  const auto never_written = [&](const char* name, const auto& call) {
    SCOPED_TRACE(name);
    const std::size_t needed = [&] {
      rapt::cpu::context ctx({.num_threads = 1});
      call(ctx);
      return ctx.workspace_capacity();
    }();
    std::fill(y.begin(), y.end(), 7.0f), std::fill(lse.begin(), lse.end(), 7.0f);
    const auto y_before = y, lse_before = lse;
    for (int i = 0; i < 100; ++i) {
      rapt::cpu::context fixed({.num_threads = 1, .grow = false});
      fixed.reserve(needed * static_cast<std::size_t>(i) / 100);
      EXPECT_THROW(call(fixed), rapt::capacity_error);
      ASSERT_TRUE(y == y_before && lse == lse_before) << i << " hundredths";
    }
  };
  never_written("self", [&](rapt::cpu::context& ctx) { module.forward(ctx, in, rapt::self_kv{}, out); });
  never_written("lse", [&](rapt::cpu::context& ctx) {
    module.forward(ctx, in, rapt::self_kv{}, out, {.lse = rapt::view(lse.data(), batch, heads, index_t{1})});
  });
  // Three sequences are blocks, the last two are split over their keys, which takes more.
  never_written("chunks", [&](rapt::cpu::context& ctx) { module.forward(ctx, in, rapt::stored(kv), out, {.num_chunks = 2}); });

  rapt::kv_cache cache(growing, config, {.max_tokens = 64});
  rapt::sequence sequence = cache.add_sequence();
  const auto append = [&](rapt::cpu::context& ctx) {
    module.forward(ctx, rapt::view(x.data(), batch, dim), rapt::append(cache, sequence), rapt::view(y.data(), batch, dim));
  };
  append(growing);
  const std::vector<float> committed = y;
  never_written("append", [&](rapt::cpu::context& ctx) {
    sequence.truncate(0);
    append(ctx);
  });
  EXPECT_EQ(sequence.kv_len(), 0);
  append(growing);
  EXPECT_EQ(y, committed);
}

TEST(allocations, none_in_warm_functions) {
  rapt::cpu::context ctx({.num_threads = 2});
  random_source random(44);
  const std::vector<float> q = random_values<float>(random, 2 * 30 * 4 * 8), k = random_values<float>(random, 2 * 600 * 2 * 8),
                           w = random_values<float>(random, 50 * 32);
  std::vector<float> out(q.size()), lse(2 * 4 * 30), y(2 * 30 * 50);
  const auto keys = rapt::view(k.data(), 2, 600, 2, 8);
  const auto outputs = rapt::view(out.data(), 2, 30, 4, 8);
  const auto lses = rapt::view(lse.data(), 2, 4, 30);
  expect_no_allocation_when_warm([&] { rapt::attend(ctx, rapt::view(q.data(), 2, 30, 4, 8), keys, keys, outputs, lses, {.causal = true}); });
  expect_no_allocation_when_warm([&] { rapt::merge(ctx, {outputs, lses}, {outputs, lses}, outputs, lses); });
  const auto packed = rapt::pack_linear<float>(ctx, rapt::view(w.data(), 50, 32));
  expect_no_allocation_when_warm([&] { rapt::project(ctx, rapt::view(q.data(), 60, 32), packed, rapt::view(y.data(), 60, 50)); });
}

}  // namespace
}  // namespace rapt_test::contract
