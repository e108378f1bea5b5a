// One test for each known error of the two modules that this one replaces, the port in Rust and the original in Python.
#include <contract/module_model.hpp>
#include <rapt/state/save_load.hpp>

#include <type_traits>

namespace rapt_test::contract {
namespace {

/// A module of two KV heads with separate weights, or one with fused weights; and inputs [2, len, 12].
struct module_rig {
  rapt::cpu::context ctx{{.num_threads = 1}};
  attention_config config;
  random_source random{31};
  random_weights weights;
  rapt::multi_head_attention<float> module;
  std::vector<float> x = random_values<float>(random, 2 * 9 * 12), x_kv = random_values<float>(random, 2 * 9 * 12);

  explicit module_rig(bool fused, attention_config with = {})
      : config(of_kind(fused, with)), weights(of_kind(random, config, fused)), module(ctx, config, weights.views) {}

  static attention_config of_kind(bool fused, attention_config c) {
    c.model_dim = 12, c.num_heads = 4, c.num_kv_heads = fused ? 4 : 2, c.head_dim = 5, c.kv_dtype = dtype::f32;
    return rapt::resolve(c);
  }
  static random_weights of_kind(random_source& random, const attention_config& c, bool fused) {
    random_weights w;
    if (fused)
      w.views.w_qkv = w.add(random, dtype::f32, {3, c.num_heads, c.head_dim, 12}, 0.5);
    else {
      w.views.w_q = w.add(random, dtype::f32, {1, c.num_heads, c.head_dim, 12}, 0.5);
      w.views.w_k = w.add(random, dtype::f32, {c.num_kv_heads, c.head_dim, 12}, 0.5);
      w.views.w_v = w.add(random, dtype::f32, {c.num_kv_heads, c.head_dim, 12}, 0.5);
    }
    w.views.w_out = w.add(random, dtype::f32, {c.num_heads, c.head_dim, 12}, 0.5);
    return w;
  }
  rapt::tensor_view<const float, 3> in() const { return rapt::view(x.data(), 2, 9, 12); }
  rapt::tensor_view<const float, 3> keys() const { return rapt::view(x_kv.data(), 2, 9, 12); }
  template <class Source>
  std::vector<std::byte> run(const Source& source, const rapt::forward_options& options = {}) {
    std::vector<float> y(x.size());
    module.forward(ctx, in(), source, rapt::view(y.data(), 2, 9, 12), options);
    return bytes_of(y);
  }
};

TEST(rust_port, forward_concatenated_a_cache_of_zeros) {
  module_rig rig(false);
  rapt::projected_kv kv(rig.ctx, rig.config);
  rig.run(rapt::store(kv, rig.keys()));
  EXPECT_EQ(kv.kv_len(), 9);
  rig.run(rapt::store(kv, rig.keys()));
  EXPECT_EQ(kv.kv_len(), 9) << "store replaces";
  rapt::kv_cache cache(rig.ctx, rig.config, {.max_tokens = 40});
  const rapt::sequence sequence = cache.add_sequence();
  std::vector<float> y(9 * 12);
  for (const index_t expected : {9, 18}) {
    rig.module.forward(rig.ctx, rapt::view(rig.x.data(), 9, 12), rapt::append(cache, sequence), rapt::view(y.data(), 9, 12));
    EXPECT_EQ(sequence.kv_len(), expected) << "append adds the call's rows, no others";
  }
  std::vector<float> k(18 * 2 * 5), v(k.size());
  cache.export_layer(rig.ctx, sequence, 0, 0, 18, k.data(), v.data());
  for (const std::vector<float>* all : {&k, &v}) EXPECT_EQ(std::count(all->begin(), all->end(), 0.0f), 0);
}

TEST(rust_port, fused_self_attention_did_not_write_the_cache) {
  module_rig rig(true);
  rapt::projected_kv kv(rig.ctx, rig.config);
  const std::vector<std::byte> expected = rig.run(rapt::self_kv{});
  EXPECT_EQ(rig.run(rapt::store(kv, rig.in())), expected);
  EXPECT_EQ(kv.kv_len(), 9);
  EXPECT_EQ(rig.run(rapt::stored(kv)), expected);
}

TEST(rust_port, equal_shapes_were_taken_for_self_attention) {
  for (const bool fused : {false, true}) {
    module_rig rig(fused);
    const std::vector<std::byte> crossed = rig.run(rapt::cross(rig.keys()));
    EXPECT_NE(crossed, rig.run(rapt::self_kv{}));
    EXPECT_EQ(rig.run(rapt::cross(rig.in())), rig.run(rapt::self_kv{})) << "x itself may be given";
  }
}

TEST(rust_port, reuse_first_head_kv_panicked_for_several_kv_heads) {
  module_rig rig(false);
  // The same as a module whose every KV head is the first.
  random_weights repeated = rig.weights;
  for (std::size_t i : {1, 2})
    std::copy_n(repeated.memory[i].begin(), repeated.memory[i].size() / 2,
                repeated.memory[i].begin() + static_cast<std::ptrdiff_t>(repeated.memory[i].size() / 2));
  const auto view = [&](std::size_t i, std::initializer_list<index_t> extents) {
    return rapt::weight_view(repeated.memory[i].data(), dtype::f32, std::span(extents.begin(), extents.size()));
  };
  repeated.views.w_k = view(1, {2, 5, 12}), repeated.views.w_v = view(2, {2, 5, 12});
  const rapt::multi_head_attention<float> other(rig.ctx, rig.config, repeated.views);
  std::vector<float> y(rig.x.size());
  other.forward(rig.ctx, rig.in(), rapt::cross(rig.keys()), rapt::view(y.data(), 2, 9, 12));
  EXPECT_EQ(rig.run(rapt::cross(rig.keys(), {.first_head_only = true})), bytes_of(y));
  EXPECT_NE(rig.run(rapt::cross(rig.keys())), bytes_of(y));
}

TEST(rust_port, chunking_cut_the_sequence) {
  module_rig rig(false);
  for (const index_t chunks : {1, 2, 3, 8, 1'000}) EXPECT_EQ(rig.run(rapt::self_kv{}, {.num_chunks = chunks}), rig.run(rapt::self_kv{})) << chunks;
  std::vector<float> whole(9 * 12), chunked(9 * 12);
  const auto one = rapt::view(rig.x.data(), 1, 9, 12);
  rig.module.forward(rig.ctx, one, rapt::self_kv{}, rapt::view(whole.data(), 1, 9, 12));
  rig.module.forward(rig.ctx, one, rapt::self_kv{}, rapt::view(chunked.data(), 1, 9, 12), {.num_chunks = 4});
  EXPECT_EQ(bytes_of(chunked), bytes_of(whole)) << "a batch of one can not be cut";
}

TEST(rust_port, keys_and_values_were_copied_for_every_query_head) {
  attention_config few{.model_dim = 64, .num_heads = 2, .num_kv_heads = 2, .head_dim = 16, .kv_dtype = dtype::f32};
  attention_config many = few;
  many.num_heads = 32;
  const rapt::cache_limits limits{.max_tokens = 1'000};
  EXPECT_EQ(rapt::cache_bytes(few, limits), rapt::cache_bytes(many, limits));
  const std::size_t rows = 1'000 * 2 * (16 + 16) * sizeof(float), padding = 64 * 2 * (16 + 16) * sizeof(float);
  EXPECT_LE(rapt::cache_bytes(many, limits), rows + padding) << "two KV heads, once each";
}

TEST(rust_port, load_state_ignored_the_scale_and_precomputed_keys_and_values) {
  module_rig rig(false);
  rapt::projected_kv kv(rig.ctx, rig.config);
  rig.run(rapt::store(kv, rig.keys()));
  const std::vector<std::byte> file = rapt::save_state(rig.ctx, kv), module_file = rapt::save_state(rig.ctx, rig.module);
  for (const auto& [what, other] :
       {std::pair<const char*, attention_config>{"softmax_scale", {.softmax_scale = 0.25}}, {"dropout_p", {.dropout_p = 0.5}}}) {
    module_rig receiver(false, other);
    rapt::projected_kv into(receiver.ctx, receiver.config);
    EXPECT_THROW(rapt::load_state(receiver.ctx, file, into), rapt::config_error) << what;
    EXPECT_THROW(rapt::load_state(receiver.ctx, module_file, receiver.module), rapt::config_error) << what;
  }
  const std::vector<float> k = random_values<float>(rig.random, 2 * 6 * 2 * 5), v = random_values<float>(rig.random, 2 * 6 * 2 * 5);
  const rapt::projected_kv given = rapt::projected_kv::from(rig.ctx, rig.config, rapt::view(k.data(), 2, 6, 2, 5), rapt::view(v.data(), 2, 6, 2, 5));
  const std::vector<std::byte> expected = rig.run(rapt::stored(given));
  rapt::projected_kv loaded(rig.ctx, rig.config);
  rapt::load_static_kv(rig.ctx, rapt::save_state(rig.ctx, rig.module, given), loaded);
  EXPECT_TRUE(loaded.is_static());
  EXPECT_EQ(rig.run(rapt::stored(loaded)), expected);
}

TEST(python_module, precomputed_keys_and_values_could_not_be_given) {
  module_rig rig(false);
  const std::vector<float> k = random_values<float>(rig.random, 2 * 6 * 2 * 5), v = random_values<float>(rig.random, 2 * 6 * 2 * 5);
  const auto keys = rapt::view(k.data(), 2, 6, 2, 5), values = rapt::view(v.data(), 2, 6, 2, 5);
  rapt::projected_kv given = rapt::projected_kv::from(rig.ctx, rig.config, keys, values);
  const std::vector<std::byte> beside = rig.run(rapt::stored(given));
  rapt::attention_weights queries_only;
  queries_only.w_q = rig.weights.views.w_q, queries_only.w_out = rig.weights.views.w_out;
  const rapt::multi_head_attention<float> module(rig.ctx, rig.config, queries_only);
  std::vector<float> y(rig.x.size());
  module.forward(rig.ctx, rig.in(), rapt::stored(given), rapt::view(y.data(), 2, 9, 12));
  EXPECT_EQ(bytes_of(y), beside);
  EXPECT_THROW(module.forward(rig.ctx, rig.in(), rapt::self_kv{}, rapt::view(y.data(), 2, 9, 12)), rapt::config_error);
  EXPECT_THROW(rig.run(rapt::store(given, rig.keys())), rapt::state_error) << "a call that stores does not destroy them";
  EXPECT_EQ(rig.run(rapt::stored(given)), beside);
}

TEST(python_module, fused_weights_could_not_store_without_x_kv) {
  module_rig rig(true);
  rapt::projected_kv kv(rig.ctx, rig.config);
  EXPECT_NO_THROW(rig.run(rapt::store(kv, rig.in())));
  EXPECT_EQ(kv.kv_len(), 9);
}

TEST(python_module, only_cache_first_head_kv_was_ignored_for_separate_weights) {
  for (const bool fused : {false, true}) {
    module_rig rig(fused);
    rapt::projected_kv all(rig.ctx, rig.config), first(rig.ctx, rig.config);
    const std::vector<std::byte> expected = rig.run(rapt::store(all, rig.keys()));
    EXPECT_EQ(rig.run(rapt::store(first, rig.keys(), {.first_head_only = true})), expected) << "this call's output is of all heads";
    EXPECT_EQ(all.stored_heads(), rig.config.num_kv_heads);
    EXPECT_EQ(first.stored_heads(), 1);
    EXPECT_EQ(rig.run(rapt::stored(first)), rig.run(rapt::cross(rig.keys(), {.first_head_only = true}))) << "later calls see head 0 alone";
  }
}

TEST(python_module, reuse_first_head_kv_was_ignored_for_self_attention) {
  // It can not be written: self_kv takes no options.
  static_assert(!std::is_constructible_v<rapt::self_kv, rapt::head_options>);
  static_assert(std::is_empty_v<rapt::self_kv>);
}

TEST(python_module, dropout_was_active_in_inference) {
  module_rig rig(false, {.dropout_p = 0.5}), without(false);
  const std::vector<std::byte> expected = without.run(rapt::self_kv{});
  EXPECT_EQ(rig.run(rapt::self_kv{}), expected);
  const rapt::forward_options training{.dropout = rapt::dropout_state{.seed = 9, .offset = 0}},
      again{.dropout = rapt::dropout_state{.seed = 9, .offset = 7}};
  const std::vector<std::byte> dropped = rig.run(rapt::self_kv{}, training);
  EXPECT_NE(dropped, expected);
  EXPECT_EQ(rig.run(rapt::self_kv{}, training), dropped) << "it can be reproduced";
  EXPECT_NE(rig.run(rapt::self_kv{}, again), dropped);
  EXPECT_EQ(without.run(rapt::self_kv{}, training), expected) << "dropout_p is 0";
  rapt::projected_kv kv(rig.ctx, rig.config);
  EXPECT_THROW(rig.run(rapt::store(kv, rig.in()), training), rapt::config_error);
}

}  // namespace
}  // namespace rapt_test::contract
