// On the real backend: what is resumed from a file goes on with the bits of what was never interrupted.
#include <gtest/gtest.h>
#include <rapt/cpu/context.hpp>
#include <rapt/state/save_load.hpp>

#include <algorithm>
#include <random>

namespace {

using rapt::dtype, rapt::index_t;

std::vector<float> random_values(index_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& x : values) x = std::uniform_real_distribution<float>(-1, 1)(random);
  return values;
}

rapt::attention_config config_of(dtype kv) {
  rapt::attention_config c{.model_dim = 18, .num_heads = 6, .num_kv_heads = 3, .head_dim = 17, .value_dim = 9, .output_dim = 11, .causal = true};
  c.rope = rapt::rope_config{.dim = 16};
  c.kv_dtype = kv;
  return c;
}

/// Rows through one layer's cache, in steps of `chunk`.
std::vector<float> run(rapt::cpu::context& ctx, const rapt::multi_head_attention<float>& layer, rapt::kv_cache& cache, const rapt::sequence& s,
                       const std::vector<float>& x, index_t chunk) {
  const index_t width = layer.config().model_dim, out = layer.config().output_dim, rows = static_cast<index_t>(x.size()) / width;
  std::vector<float> y(static_cast<std::size_t>(rows * out));
  for (index_t first = 0; first < rows; first += chunk) {
    const index_t count = std::min(chunk, rows - first);
    layer.forward(ctx, rapt::view(x.data() + first * width, count, width), rapt::append(cache, s), rapt::view(y.data() + first * out, count, out));
  }
  return y;
}

class resume : public testing::TestWithParam<dtype> {};

TEST_P(resume, goes_on_with_the_same_bits) {
  rapt::cpu::context ctx({.num_threads = 2});
  const rapt::multi_head_attention<float> layer(ctx, config_of(GetParam()), rapt::random_weights<float>(config_of(GetParam()), 1).views);
  rapt::kv_cache cache(ctx, layer.config(), {.max_tokens = 700, .max_sequences = 2}), other(ctx, layer.config(), {.max_tokens = 650, .page_len = 48});
  rapt::sequence a = cache.add_sequence(), b = other.add_sequence();
  const auto prompt = random_values(517 * 18, 2), rest = random_values(33 * 18, 3);
  run(ctx, layer, cache, a, prompt, 300);
  const auto state = rapt::save_state(ctx, layer, cache, a);
  const auto expected = run(ctx, layer, cache, a, rest, 33);

  const auto loaded_layer = rapt::load_module<float>(ctx, state);
  EXPECT_EQ(loaded_layer.fingerprint(), layer.fingerprint());
  // From an odd address, where elements are not aligned: bytes may come from anywhere.
  std::vector<std::byte> room(state.size() + 1);
  const std::span<std::byte> moved(room.data() + 1, state.size());
  std::copy(state.begin(), state.end(), moved.begin());
  rapt::load_state(ctx, moved, other, b);
  EXPECT_EQ(run(ctx, loaded_layer, other, b, rest, 1), expected);
  // Paging and capacity are in the metadata alone.
  const auto one = rapt::save_state(ctx, cache, a), two = rapt::save_state(ctx, other, b);
  const auto interrupted = rapt::safetensors::parse(two);
  for (const auto& tensor : rapt::safetensors::parse(one)) {
    const auto same = interrupted.at(tensor.name).bytes;
    EXPECT_TRUE(std::equal(tensor.bytes.begin(), tensor.bytes.end(), same.begin(), same.end())) << tensor.name;
  }
}

TEST_P(resume, stored_keys_answer_with_the_same_bits) {
  rapt::cpu::context ctx({.num_threads = 1});
  const rapt::multi_head_attention<float> layer(ctx, config_of(GetParam()), rapt::random_weights<float>(config_of(GetParam()), 1).views);
  rapt::projected_kv kv(ctx, layer.config()), loaded(ctx, layer.config());
  const auto x_kv = random_values(2 * 19 * 18, 4), x = random_values(2 * 3 * 18, 5);
  std::vector<float> y(2 * 3 * 11), again(2 * 3 * 11);
  layer.forward(ctx, rapt::view(x.data(), 2, 3, 18), rapt::store(kv, rapt::view(x_kv.data(), 2, 19, 18), {.first_head_only = true}),
                rapt::view(y.data(), 2, 3, 11));
  layer.forward(ctx, rapt::view(x.data(), 2, 3, 18), rapt::stored(kv), rapt::view(y.data(), 2, 3, 11));
  rapt::load_state(ctx, rapt::save_state(ctx, kv), loaded);
  EXPECT_EQ(loaded.stored_heads(), 1);
  layer.forward(ctx, rapt::view(x.data(), 2, 3, 18), rapt::stored(loaded), rapt::view(again.data(), 2, 3, 11));
  EXPECT_EQ(again, y);
}

INSTANTIATE_TEST_SUITE_P(kv_dtype, resume, testing::Values(dtype::f32, dtype::f16, dtype::bf16),
                         [](const auto& each) { return std::string(rapt::name_of(each.param)); });

TEST(resume, a_cache_of_other_weights_is_refused_by_the_first_forward) {
  rapt::cpu::context ctx({.num_threads = 1});
  const rapt::attention_config c = config_of(dtype::f32);
  const rapt::multi_head_attention<float> layer(ctx, c, rapt::random_weights<float>(c, 1).views),
      other(ctx, c, rapt::random_weights<float>(c, 2).views);
  rapt::kv_cache cache(ctx, layer.config(), {.max_tokens = 64}), fresh(ctx, layer.config(), {.max_tokens = 64});
  rapt::sequence a = cache.add_sequence(), b = fresh.add_sequence();
  run(ctx, layer, cache, a, random_values(3 * 18, 2), 3);
  rapt::load_state(ctx, rapt::save_state(ctx, cache, a), fresh, b);
  EXPECT_THROW(run(ctx, other, fresh, b, random_values(18, 3), 1), rapt::config_error);
  EXPECT_EQ(b.kv_len(), 3);
}

}  // namespace
