// What is saved comes back, into its own place and nowhere else.
#include <rapt/attention/config_json.hpp>

#include "state_rig.hpp"

namespace {

using namespace rapt_test;

TEST(save_load, a_sequence_comes_back_into_another_paging_and_capacity) {
  bits_context ctx;
  bits_cache from(ctx, small_config(), small_limits),
      to(ctx, small_config(), {.num_layers = 2, .max_tokens = 40, .max_sequences = 1, .page_len = 48});
  bits_sequence other = from.add_sequence(), a = from.add_sequence(), b = to.add_sequence();
  append_bits(ctx, from, other, 5, 1, some_fingerprint(1));
  append_bits(ctx, from, a, 17, 2, some_fingerprint(1));
  append_bits(ctx, from, a, 16, 3, some_fingerprint(1));
  const temporary_directory directory;
  rapt::save_state(ctx, directory / "state", from, a);
  rapt::load_state(ctx, directory / "state", to, b);
  EXPECT_EQ(visible(ctx, to, b), visible(ctx, from, a));
  EXPECT_TRUE(b.positions_are_default());
  EXPECT_EQ(to.layer_fingerprint(1), some_fingerprint(1));
  EXPECT_EQ(to.num_sequences(), 1);
  // Neither paging nor the neighbours are in the file but for what they are called.
  EXPECT_EQ(rapt::save_state(ctx, from, a), rapt::save_state(ctx, from, a));
  EXPECT_EQ(text_of(rapt::save_state(ctx, from, a)), read_file(directory / "state"));
}

TEST(save_load, positions_with_gaps_and_duplicates_come_back) {
  bits_context ctx;
  bits_cache cache(ctx, small_config(), small_limits);
  bits_sequence a = cache.add_sequence(), b = cache.add_sequence();
  const std::vector<index_t> positions = {0, 1, 1, 7, index_t{1} << 62, 3};
  append_bits(ctx, cache, a, 6, 1, some_fingerprint(1), positions);
  rapt::load_state(ctx, rapt::save_state(ctx, cache, a), cache, b);
  EXPECT_EQ(visible(ctx, cache, b), visible(ctx, cache, a));
  EXPECT_FALSE(b.positions_are_default());
}

TEST(save_load, all_sequences_of_a_cache_in_one_file) {
  bits_context ctx;
  bits_cache from(ctx, small_config(), small_limits), to(ctx, small_config(), small_limits);
  std::vector<bits_sequence> saved, loaded;
  for (unsigned i = 0; i < 3; ++i) {
    saved.push_back(from.add_sequence());
    append_bits(ctx, from, saved.back(), 7 * i + 1, i, some_fingerprint(4));
  }
  saved.push_back(saved[2].fork());
  append_bits(ctx, from, saved[3], 2, 9, some_fingerprint(4));
  const auto bytes = rapt::save_state(ctx, from, saved);
  EXPECT_EQ(bytes, rapt::save_state(ctx, from, saved[0], saved[1], saved[2], saved[3]));
  rapt::load_state(ctx, bytes, to, loaded);
  ASSERT_EQ(loaded.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(visible(ctx, to, loaded[i]), visible(ctx, from, saved[i])) << i;
  EXPECT_EQ(rapt::save_state(ctx, to, loaded), bytes);
  // Again over the loaded ones: the cache has no fifth place, so they must go first, and nothing changes where that was forgotten.
  const auto state = [&] { return visible(to) + visible(ctx, to, loaded[3]); };
  expect_refused<rapt::capacity_error>({.object = state}, [&] { rapt::load_state(ctx, bytes, to, loaded); });
  loaded.clear();
  rapt::load_state(ctx, bytes, to, loaded);
  EXPECT_EQ(visible(ctx, to, loaded[3]), visible(ctx, from, saved[3]));
}

TEST(save_load, handles_that_hold_something_are_replaced_when_the_new_is_complete) {
  bits_context ctx;
  bits_cache cache(ctx, small_config(), small_limits);
  bits_sequence a = cache.add_sequence(), b = cache.add_sequence(), none;
  append_bits(ctx, cache, a, 20, 1, some_fingerprint(1));
  append_bits(ctx, cache, b, 3, 2, some_fingerprint(1));
  const auto bytes = rapt::save_state(ctx, cache, a);
  rapt::load_state(ctx, bytes, cache, b);
  rapt::load_state(ctx, bytes, cache, none);
  EXPECT_EQ(visible(ctx, cache, b), visible(ctx, cache, a));
  EXPECT_EQ(visible(ctx, cache, none), visible(ctx, cache, a));
  EXPECT_EQ(cache.num_sequences(), 3);
}

TEST(save_load, static_and_stored_keys_stand_beside_each_other) {
  bits_context ctx;
  const bits_projected given = some_projected(ctx, true, 2, 17, 3, 5), stored = some_projected(ctx, false, 3, 65, 1, 7, some_fingerprint(2));
  const auto bytes = rapt::save_state(ctx, given, stored);
  bits_projected to_static(ctx, small_config()), to_stored(ctx, small_config());
  rapt::load_static_kv(ctx, bytes, to_static);
  rapt::load_state(ctx, bytes, to_stored);
  EXPECT_EQ(visible(ctx, to_static), visible(ctx, given));
  EXPECT_EQ(visible(ctx, to_stored), visible(ctx, stored));
  EXPECT_TRUE(to_static.is_static());
  EXPECT_EQ(to_stored.stored_heads(), 1);
  EXPECT_EQ(to_stored.made_by(), some_fingerprint(2));
  // A cache is not loaded into static keys.
  expect_refused<rapt::state_error>({.object = [&] { return visible(ctx, to_static); }}, [&] { rapt::load_state(ctx, bytes, to_static); });
}

TEST(save_load, weights_static_keys_and_cache_in_one_file_each_into_its_own_place) {
  bits_context ctx;
  const bits_module module = some_module(ctx, 1);
  bits_cache cache(ctx, module.config(), small_limits), other(ctx, module.config(), small_limits);
  bits_sequence a = cache.add_sequence(), b;
  append_bits(ctx, cache, a, 9, 1, module.fingerprint());
  const bits_projected given = some_projected(ctx, true, 1, 4, 3, 5);
  const auto bytes = rapt::save_state(ctx, module, given, cache, a);
  bits_module loaded = some_module(ctx, 2);
  EXPECT_NE(visible(ctx, loaded), visible(ctx, module));
  rapt::load_state(ctx, bytes, loaded);
  EXPECT_EQ(visible(ctx, loaded), visible(ctx, module));
  EXPECT_EQ(visible(ctx, rapt::load_module<float>(ctx, bytes)), visible(ctx, module));
  rapt::load_state(ctx, bytes, other, b);
  EXPECT_EQ(visible(ctx, other, b), visible(ctx, cache, a));
  EXPECT_EQ(other.layer_fingerprint(0), loaded.fingerprint());
  bits_projected to_static(ctx, module.config());
  rapt::load_static_kv(ctx, bytes, to_static);
  EXPECT_EQ(visible(ctx, to_static), visible(ctx, given));
  EXPECT_EQ(rapt::difference(rapt::load_config(bytes), module.config()), "");
}

TEST(save_load, every_layout_of_weights_with_biases_norms_and_sinks) {
  bits_context ctx;
  rapt::attention_config c{.model_dim = 8, .num_heads = 4, .num_kv_heads = 4, .head_dim = 3, .kv_dtype = dtype::f32};
  c.qk_norm = rapt::qk_norm_config{};
  std::mt19937 random(3);
  const auto matrix = [&](index_t size) {
    std::vector<float> m(static_cast<std::size_t>(size));
    for (float& x : m) x = std::uniform_real_distribution<float>(-1, 1)(random);
    return m;
  };
  const auto w = matrix(3 * 4 * 3 * 8), out = matrix(12 * 8), b = matrix(36), norm = matrix(3), sinks = matrix(4), b_out = matrix(8);
  const auto with = [&](auto set) {
    rapt::attention_weights all;
    all.w_out = rapt::view(out.data(), 4, 3, 8), all.b_out = rapt::view(b_out.data(), 8);
    all.q_norm = all.k_norm = rapt::view(norm.data(), 3);
    all.sink_logits = rapt::view(sinks.data(), 4);
    set(all);
    const bits_module module(ctx, c, all), loaded = rapt::load_module<float>(ctx, rapt::save_state(ctx, module));
    EXPECT_EQ(visible(ctx, loaded), visible(ctx, module));
    EXPECT_EQ(loaded.fingerprint(), module.fingerprint());
  };
  with([&](auto& all) { all.w_qkv = rapt::view(w.data(), 3, 4, 3, 8), all.b_qkv = rapt::view(b.data(), 3, 4, 3); });
  with([&](auto& all) {
    all.w_q = rapt::view(w.data(), 1, 4, 3, 8), all.w_kv = rapt::view(w.data(), 2, 4, 3, 8), all.b_kv = rapt::view(b.data(), 2, 4, 3);
  });
  with([&](auto& all) {
    all.w_q = rapt::view(w.data(), 4, 3, 8), all.w_k = all.w_v = rapt::view(w.data() + 5, 4, 3, 8), all.b_v = rapt::view(b.data(), 4, 3);
  });
  with([&](auto& all) { all.w_q = rapt::view(w.data(), 4, 3, 8); });
}

TEST(save_load, hostile_14_an_empty_cache) {
  bits_context ctx;
  bits_cache cache(ctx, small_config(), small_limits), to(ctx, small_config(), small_limits);
  const bits_sequence a = cache.add_sequence();
  bits_sequence b;
  rapt::load_state(ctx, rapt::save_state(ctx, cache, a), to, b);
  EXPECT_EQ(b.kv_len(), 0);
  EXPECT_TRUE(to.layer_fingerprint(0).empty());
  append_bits(ctx, to, b, 3, 1, some_fingerprint(8));
  EXPECT_EQ(b.kv_len(), 3);
}

/// However many rows a file of 1 KiB claims: they hold nothing, so they take nothing.
TEST(save_load, hostile_14_stored_keys_without_tokens) {
  bits_context ctx;
  const rapt::attention_config c = small_config();
  for (const index_t batch : {index_t{0}, index_t{1}, index_t{3}, index_t{1} << 50}) {
    rapt::safetensors::writer w;
    w.add("static.k", *c.kv_dtype, {batch, 0, 3, 4}, std::span<const std::byte>());
    w.add("static.v", *c.kv_dtype, {batch, 0, 3, 5}, std::span<const std::byte>());
    w.add_metadata("rapt.config", rapt::to_json(rapt::resolve(c)));
    w.add_metadata("rapt.numerics", "bits-v1");
    const auto bytes = w.to_bytes();
    bits_projected kv(ctx, c);
    EXPECT_LE(peak_bytes_of([&] { rapt::load_static_kv(ctx, bytes, kv); }), 2 * bytes.size() + (1 << 20)) << batch;
    EXPECT_EQ(kv.batch(), batch);
    EXPECT_EQ(kv.kv_len(), 0);
    EXPECT_EQ(rapt::save_state(ctx, kv), bytes);
  }
}

TEST(save_load, bytes_may_begin_at_any_address) {
  bits_context ctx;
  const bits_module module = some_module(ctx, 1);
  bits_cache from(ctx, module.config(), small_limits);
  bits_sequence a = from.add_sequence();
  append_bits(ctx, from, a, 9, 1, module.fingerprint());
  const bits_projected stored = some_projected(ctx, false, 2, 9, 3, 7, module.fingerprint());
  const auto state = rapt::save_state(ctx, module, stored, from, a);
  std::vector<std::byte> room(state.size() + 64);
  for (std::size_t offset = 0; offset <= 17; ++offset) {
    const std::span<std::byte> bytes(room.data() + offset, state.size());
    std::copy(state.begin(), state.end(), bytes.begin());
    bits_module loaded = some_module(ctx, 2);
    rapt::load_state(ctx, bytes, loaded);
    EXPECT_EQ(visible(ctx, loaded), visible(ctx, module)) << offset;
    EXPECT_EQ(rapt::load_module<float>(ctx, bytes).fingerprint(), module.fingerprint());
    bits_cache to(ctx, module.config(), small_limits);
    bits_sequence b;
    rapt::load_state(ctx, bytes, to, b);
    EXPECT_EQ(visible(ctx, to, b), visible(ctx, from, a));
    bits_projected keys(ctx, module.config());
    rapt::load_state(ctx, bytes, keys);
    EXPECT_EQ(visible(ctx, keys), visible(ctx, stored));
  }
}

TEST(save_load, contents_of_another_order_of_operations_are_named) {
  bits_context mine("bits-v1"), theirs("other-v2");
  bits_cache from(theirs, small_config(), small_limits), to(mine, small_config(), small_limits);
  bits_sequence a = from.add_sequence(), b = to.add_sequence();
  append_bits(theirs, from, a, 3, 1, some_fingerprint(1));
  const auto bytes = rapt::save_state(theirs, from, a);
  EXPECT_SAYS(expect_refused<rapt::config_error>({.object = [&] { return visible(to); }},
                                                 [&] { rapt::load_state(mine, bytes, to, b, {.require_same_numerics = true}); }),
              "numerics: other-v2 and bits-v1");
  rapt::load_state(mine, bytes, to, b);
  EXPECT_EQ(to.numerics(), "bits-v1 + other-v2");
  EXPECT_EQ(visible(mine, to, b), visible(theirs, from, a));
  rapt::load_state(mine, rapt::save_state(mine, to, b), to, b);
  EXPECT_EQ(to.numerics(), "bits-v1 + other-v2");
}

TEST(save_load, refuses_to_save_what_is_not_there) {
  bits_context ctx;
  bits_cache cache(ctx, small_config(), small_limits), other(ctx, small_config(), small_limits);
  bits_sequence a = cache.add_sequence(), moved = std::move(a);
  const bits_projected nothing(ctx, small_config());
  const temporary_directory directory;
  const watched what{.directory = directory.path()};
  const std::string path = directory / "state";
  expect_refused<rapt::state_error>(what, [&] { rapt::save_state(ctx, path, cache); });
  expect_refused<rapt::state_error>(what, [&] { rapt::save_state(ctx, path, cache, a); });
  expect_refused<rapt::state_error>(what, [&] { rapt::save_state(ctx, path, other, moved); });
  expect_refused<rapt::state_error>(what, [&] { rapt::save_state(ctx, path, moved); });
  expect_refused<rapt::state_error>(what, [&] { rapt::save_state(ctx, path, cache, moved, other); });
  expect_refused<rapt::state_error>(what, [&] { rapt::save_state(ctx, path, nothing); });
  rapt::attention_config c = small_config();
  c.causal = false;
  const bits_module module = some_module(ctx, 1, c);
  EXPECT_SAYS(expect_refused<rapt::config_error>(what, [&] { rapt::save_state(ctx, path, module, cache, moved); }), "causal: false and true");
  expect_refused<rapt::io_error>(what, [&] { rapt::save_state(ctx, directory / "none/state", cache, moved); });
}

}  // namespace
