// What the planner says against what calls take.
#include <gtest/gtest.h>
#include <rapt/attention/multi_head_attention.hpp>
#include <rapt/attention/planner.hpp>
#include <rapt/cpu/context.hpp>

#include <random>

namespace {
using rapt::index_t;
using rapt::source_kind;
using rapt::view;

TEST(planner, workspace_bytes_is_what_a_forward_takes_and_one_byte_less_does_not_do) {
  std::mt19937_64 random(3);
  const auto pick = [&](std::initializer_list<index_t> from) { return from.begin()[random() % from.size()]; };
  for (int i = 0; i < 60; ++i) {
    const rapt::attention_config config{.model_dim = pick({8, 33}),
                                        .num_heads = 4,
                                        .num_kv_heads = pick({1, 2, 4}),
                                        .head_dim = pick({3, 16, 130}),
                                        .value_dim = pick({5, 16}),
                                        .causal = true,
                                        .kv_dtype = pick({0, 1}) != 0 ? rapt::dtype::f16 : rapt::dtype::f32};
    rapt::forward_shape shape{.batch = pick({1, 3}), .q_len = pick({1, 7, 40}), .num_chunks = pick({1, 2}), .page_len = pick({16, 48})};
    shape.source = static_cast<source_kind>(pick({0, 1, 2, 3, 5}));
    shape.positions = pick({0, 1}) != 0;
    const bool steps = shape.source == source_kind::step;
    shape.first_head_only = !steps && shape.source != source_kind::self && shape.source != source_kind::stored && pick({0, 1}) != 0;
    shape.kv_len = shape.source == source_kind::self ? shape.q_len : shape.q_len + pick({0, 30, 9000});
    const index_t e = config.model_dim, extra = shape.kv_len - shape.q_len;
    std::vector<float> x(static_cast<std::size_t>(shape.batch * shape.kv_len * e), 0.25f),
        y(static_cast<std::size_t>(shape.batch * shape.kv_len * e));
    const auto x_view = view(x.data(), shape.batch, shape.q_len, e), x_kv = view(x.data(), shape.batch, shape.kv_len, e);
    const auto y_view = view(y.data(), shape.batch, shape.q_len, e);
    std::vector<index_t> positions(shape.positions ? static_cast<std::size_t>(shape.q_len) : 0);
    for (std::size_t p = 0; p < positions.size(); ++p) positions[p] = static_cast<index_t>(2 * p + 1);  // never all of them the index
    rapt::forward_options options{.num_chunks = shape.num_chunks};
    if (!steps) options.positions = positions;

    rapt::cpu::context setup({.num_threads = 2});
    const rapt::owned_weights weights = rapt::random_weights<float>(config, 1);
    const rapt::multi_head_attention<float> module(setup, config, weights.views);
    rapt::kv_cache cache(setup, module.config(),
                         {.max_tokens = shape.batch * shape.kv_len, .max_sequences = shape.batch, .page_len = shape.page_len});
    rapt::projected_kv kv(setup, module.config());
    std::vector<rapt::sequence> sequences;
    std::vector<rapt::step_entry<rapt::cpu::backend>> history, rows;
    for (index_t b = 0; b < shape.batch; ++b) sequences.push_back(cache.add_sequence());
    for (const rapt::sequence& s : sequences) history.push_back({s, extra}), rows.push_back({s, shape.q_len, positions});
    if (steps && extra > 0) {
      rapt::step fill = cache.begin_step(history);
      module.forward(setup, view(x.data(), shape.batch, extra, e), fill.layer(0), view(y.data(), shape.batch, extra, e));
      fill.commit();
    }
    if (shape.source == source_kind::stored) module.forward(setup, x_view, rapt::store(kv, x_kv), y_view);

    const auto call = [&](rapt::cpu::context& ctx) {
      switch (shape.source) {
        case source_kind::self:
          return module.forward(ctx, x_view, rapt::self_kv{}, y_view, options);
        case source_kind::cross:
          return module.forward(ctx, x_view, rapt::cross(x_kv, {shape.first_head_only}), y_view, options);
        case source_kind::store:
          return module.forward(ctx, x_view, rapt::store(kv, x_kv, {shape.first_head_only}), y_view, options);
        case source_kind::stored:
          return module.forward(ctx, x_view, rapt::stored(kv), y_view, options);
        default: {
          rapt::step step = cache.begin_step(rows);
          module.forward(ctx, x_view, step.layer(0), y_view, options);  // not committed: the next call finds the same cache
        }
      }
    };
    rapt::cpu::context ctx({.num_threads = 2, .grow = false});
    const std::size_t planned = rapt::workspace_bytes<float>(ctx, module.config(), shape);
    ASSERT_GT(planned, 0u);
    ctx.reserve(planned - 1);
    if (ctx.workspace_capacity() < planned) { EXPECT_THROW(call(ctx), rapt::capacity_error) << "case " << i; }
    ctx.reserve(planned);
    EXPECT_EQ(ctx.workspace_capacity(), planned);
    EXPECT_NO_THROW(call(ctx)) << "case " << i << " source " << name_of(shape.source);
  }
}

TEST(planner, cache_bytes_is_what_a_cache_takes) {
  for (const rapt::dtype type : {rapt::dtype::f64, rapt::dtype::f32, rapt::dtype::f16, rapt::dtype::bf16})
    for (const index_t page_len : {16, 48, 64}) {
      rapt::cpu::context ctx({.num_threads = 1});
      const rapt::attention_config config{.model_dim = 64, .num_heads = 4, .num_kv_heads = 2, .head_dim = 17, .value_dim = 5, .kv_dtype = type};
      const rapt::cache_limits limits{.num_layers = 3, .max_tokens = 100, .max_sequences = 4, .page_len = page_len};
      const rapt::kv_cache cache(ctx, config, limits);
      EXPECT_EQ(cache.bytes(), rapt::cache_bytes(config, limits));
      EXPECT_GE(cache.capacity(), 100);
    }
}

TEST(planner, explain_names_kernel_numerics_and_bytes) {
  rapt::cpu::context ctx({.num_threads = 2});
  const rapt::attention_config config{
      .model_dim = 576, .num_heads = 9, .num_kv_heads = 3, .head_dim = 64, .causal = true, .kv_dtype = rapt::dtype::f16};
  const rapt::explanation e =
      rapt::explain<float>(ctx, config, {.q_len = 1, .kv_len = 4096, .source = source_kind::step, .weights = rapt::dtype::f16});
  EXPECT_EQ(e.numerics, "cpu-v1");
  EXPECT_EQ(e.kv_bytes_per_token, 3u * (64 + 64) * 2);
  EXPECT_EQ(e.kv_bytes_read, 4096u * 3 * 128 * 2);
  EXPECT_EQ(e.weight_bytes, 2u * 576 * (576 + 192 + 192 + 576));
  EXPECT_EQ(e.workspace_bytes,
            rapt::workspace_bytes<float>(ctx, config, {.q_len = 1, .kv_len = 4096, .source = source_kind::step, .weights = rapt::dtype::f16}));
  EXPECT_EQ(e.attention_kernel, "keys split by segments of 512, merged upwards, f32 sums, keys and values f16");
  EXPECT_NE(e.text().find("cpu-v1"), std::string::npos);
}
TEST(planner, explain_says_which_way_attention_goes) {
  rapt::cpu::context ctx({.num_threads = 1});
  rapt::attention_config config{.model_dim = 64, .num_heads = 4, .causal = true, .kv_dtype = rapt::dtype::f32};
  const auto way = [&](index_t q_len, index_t kv_len) {
    const std::string kernel = rapt::explain<float>(ctx, config, {.q_len = q_len, .kv_len = kv_len, .source = source_kind::step}).attention_kernel;
    return kernel.substr(0, kernel.find(','));
  };
  EXPECT_EQ(way(1, 512), "lone queries");
  EXPECT_EQ(way(1, 513), "blocks of rows that walk all segments of 512 keys");
  EXPECT_EQ(way(1, 1025), "keys split by segments of 512");
  EXPECT_EQ(way(2, 512), "blocks of rows that walk all segments of 512 keys");
  config.softcap = 20.0;
  EXPECT_EQ(way(1, 512), "blocks of rows that walk all segments of 512 keys");
  config.softcap.reset(), config.alibi = true;
  EXPECT_EQ(way(1, 512), "blocks of rows that walk all segments of 512 keys");
}
}  // namespace
