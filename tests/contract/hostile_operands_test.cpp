// Bad configs and operands, numbered as in the list of bad inputs: a typed error that names what came, and nothing changed.
#include <contract/cache_rig.hpp>
#include <rapt/ops/attend.hpp>
#include <support/unchanged.hpp>

#include <cmath>

namespace rapt_test::contract {
namespace {

/// attend's operands in memory of their own, and a call with one thing wrong.
struct attend_rig {
  static constexpr index_t batch = 2, q_len = 5, kv_len = 7, heads = 4, kv_heads = 2, dim = 3;
  std::vector<float> q, k, v, out, lse;
  attend_rig() {
    random_source random(3);
    q = random_values<float>(random, batch * q_len * heads * dim), k = random_values<float>(random, batch * kv_len * kv_heads * dim);
    v = random_values<float>(random, batch * kv_len * kv_heads * dim);
    out.assign(q.size(), 7.0f), lse.assign(static_cast<std::size_t>(batch * heads * q_len), 7.0f);
  }
  auto q_view() const { return rapt::view(q.data(), batch, q_len, heads, dim); }
  auto k_view() const { return rapt::view(k.data(), batch, kv_len, kv_heads, dim); }
  auto v_view() const { return rapt::view(v.data(), batch, kv_len, kv_heads, dim); }
  auto out_view() { return rapt::view(out.data(), batch, q_len, heads, dim); }
  auto lse_view() { return rapt::view(lse.data(), batch, heads, q_len); }
  rapt::cpu::context& ctx = context_for(rapt::cpu::isa::automatic, 1);

  watched watch() {
    return {.object = [this] {
      std::string all;
      for (const std::vector<float>* x : {&q, &k, &v, &out, &lse}) all.append(reinterpret_cast<const char*>(x->data()), x->size() * sizeof(float));
      return all;
    }};
  }
  template <class Error>
  std::string refuses(const rapt::attend_options& options) {
    return expect_refused<Error>(watch(), [&] { rapt::attend(ctx, q_view(), k_view(), v_view(), out_view(), lse_view(), options); });
  }
  void accepts(const rapt::attend_options& options) {
    EXPECT_NO_THROW(rapt::attend(ctx, q_view(), k_view(), v_view(), out_view(), lse_view(), options));
  }
};

/// A module of this config is refused with config_error.
std::string config_refused(const attention_config& config) {
  return expect_refused<rapt::config_error>({}, [&] { rapt::resolve(config); });
}
const attention_config good{.model_dim = 12, .num_heads = 4, .num_kv_heads = 2, .head_dim = 3};
template <class Change>
attention_config changed(Change change) {
  attention_config c = good;
  change(c);
  return c;
}

TEST(hostile, hostile_34_softmax_scale) {
  const double infinity = std::numeric_limits<double>::infinity();
  attend_rig rig;
  for (const double scale : {std::nan(""), infinity, -infinity}) {
    EXPECT_NE(config_refused(changed([&](auto& c) { c.softmax_scale = scale; })).find("softmax_scale"), std::string::npos);
    EXPECT_NE(rig.refuses<rapt::config_error>({.softmax_scale = scale}).find("softmax_scale"), std::string::npos);
  }
  for (const double scale : {0.0, -0.0, -2.5}) {
    EXPECT_NO_THROW(rapt::resolve(changed([&](auto& c) { c.softmax_scale = scale; })));
    rig.accepts({.softmax_scale = scale});
  }
}

TEST(hostile, hostile_35_extents) {
  EXPECT_NE(config_refused(changed([](auto& c) { c.model_dim = 13, c.head_dim = 0; })).find("head_dim"), std::string::npos);
  EXPECT_NE(config_refused(changed([](auto& c) { c.num_kv_heads = 3; })).find("num_kv_heads"), std::string::npos);
  for (const index_t bad : {index_t{-1}, std::numeric_limits<index_t>::min()}) {
    config_refused(changed([&](auto& c) { c.head_dim = bad; }));
    config_refused(changed([&](auto& c) { c.num_heads = bad; }));
    config_refused(changed([&](auto& c) { c.num_kv_heads = bad; }));
    config_refused(changed([&](auto& c) { c.model_dim = bad; }));
    config_refused(changed([&](auto& c) { c.value_dim = bad; }));
    config_refused(changed([&](auto& c) { c.output_dim = bad; }));
  }
  for (const index_t large : {index_t{1} << 31, index_t{1} << 40, index_t{1} << 62})
    config_refused(changed([&](auto& c) { c.model_dim = c.head_dim = large, c.num_heads = c.num_kv_heads = 1 << 20; }));
  // A cache whose bytes overflow, while its config is fine.
  attention_config c = rapt::resolve(good);
  c.kv_dtype = dtype::f32;
  for (const index_t tokens : {index_t{1} << 40, index_t{1} << 62, std::numeric_limits<index_t>::max()})
    expect_refused<rapt::capacity_error>({}, [&] { rapt::cache_bytes(c, {.num_layers = 1'000'000, .max_tokens = tokens}); });
}

TEST(hostile, hostile_36_window_softcap_dropout) {
  attend_rig rig;
  for (const index_t side : {index_t{-1}, std::numeric_limits<index_t>::min()}) {
    config_refused(changed([&](auto& c) { c.window.left = side; }));
    config_refused(changed([&](auto& c) { c.window.right = side; }));
    rig.refuses<rapt::config_error>({.window = {.left = side}});
    rig.refuses<rapt::config_error>({.window = {.right = side}});
  }
  for (const double cap : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    config_refused(changed([&](auto& c) { c.softcap = cap; }));
    rig.refuses<rapt::config_error>({.softcap = cap});
  }
  for (const double p : {-0.1, 1.0, 1.5, std::nan("")}) {
    config_refused(changed([&](auto& c) { c.dropout_p = p; }));
    rig.refuses<rapt::config_error>({.dropout_p = p});
  }
  // The widest window sees everything and overflows nowhere.
  const index_t widest = std::numeric_limits<index_t>::max();
  rig.accepts({});
  const std::vector<float> everything = rig.out;
  rig.accepts({.window = {.left = widest, .right = widest}});
  EXPECT_EQ(rig.out, everything);
  const index_t farthest = index_t{1} << 62;
  std::vector<index_t> far(static_cast<std::size_t>(attend_rig::q_len), farthest), far_keys(static_cast<std::size_t>(attend_rig::kv_len), farthest);
  rig.accepts({.window = {.left = widest, .right = widest}, .q_positions = far, .k_positions = far_keys});
  EXPECT_EQ(rig.out, everything);
}

TEST(hostile, hostile_39_output_overlaps_an_input) {
  attend_rig rig;
  const auto attend_into = [&](rapt::tensor_view<float, 4> out, rapt::tensor_view<float, 3> lse) {
    expect_refused<rapt::shape_error>(rig.watch(), [&] { rapt::attend(rig.ctx, rig.q_view(), rig.k_view(), rig.v_view(), out, lse); });
  };
  attend_into(rapt::view(rig.q.data(), 2, 5, 4, 3), rig.lse_view());
  rig.k.resize(1'000), rig.v.resize(1'000);
  attend_into(rapt::view(rig.k.data() + 83, 2, 5, 4, 3), rig.lse_view());  // k's last element
  attend_into(rapt::view(rig.v.data() + 1, 2, 5, 4, 3), rig.lse_view());
  attend_into(rig.out_view(), rapt::view(rig.out.data() + 3, 2, 4, 5));
  attend_into(rig.out_view(), rapt::view(rig.q.data() + 3, 2, 4, 5));

  // y may be exactly x, nothing else; and it may not lie in the memory of a cache.
  cache_rig module(40);
  const rapt::cache_limits limits = module.limits(64);
  nan_memory memory(static_cast<index_t>(rapt::cache_bytes(module.config, limits)) + 100'000);
  rapt::cache_limits in_memory = limits;
  in_memory.storage = {memory.data(), rapt::cache_bytes(module.config, limits)};
  rapt::kv_cache cache(module.ctx, module.config, in_memory);
  const rapt::sequence sequence = cache.add_sequence();
  module.append(cache, sequence, 0, 5);
  const watched watch{.object = [&] {
    return module.bits(cache, {&sequence}) + std::string(reinterpret_cast<const char*>(module.x.data()), module.x.size() * sizeof(float));
  }};
  float* const x = module.x.data();
  const auto in = rapt::view(x, 3, 12);
  for (float* const y : {x + 1, x + 12, x + 35})
    expect_refused<rapt::shape_error>(watch, [&] { module.layers[0].forward(module.ctx, in, rapt::self_kv{}, rapt::view(y, 3, 12)); });
  std::vector<float> y(36), lse_in_y(12);
  expect_refused<rapt::shape_error>(watch, [&] {
    module.layers[0].forward(module.ctx, in, rapt::self_kv{}, rapt::view(y.data(), 3, 12), {.lse = rapt::view(y.data() + 4, 4, 3)});
  });
  expect_refused<rapt::shape_error>(
      watch, [&] { module.layers[0].forward(module.ctx, in, rapt::cross(rapt::view(y.data(), 3, 12)), rapt::view(y.data(), 3, 12)); });
  rapt::step step = cache.begin_step({{sequence, 3}});
  auto* const inside = reinterpret_cast<float*>(memory.data() + 256);
  expect_refused<rapt::shape_error>(watch, [&] { module.layers[0].forward(module.ctx, in, step.layer(0), rapt::view(inside, 3, 12)); });
  expect_refused<rapt::shape_error>(
      watch, [&] { module.layers[0].forward(module.ctx, in, step.layer(0), rapt::view(y.data(), 3, 12), {.lse = rapt::view(inside, 4, 3)}); });
}

TEST(hostile, hostile_40_null) {
  attend_rig rig;
  const auto refused = [&](auto q, auto k, auto v, auto out) {
    expect_refused<rapt::shape_error>(rig.watch(), [&] { rapt::attend(rig.ctx, q, k, v, out); });
  };
  const float* const none = nullptr;
  refused(rapt::view(none, 2, 5, 4, 3), rig.k_view(), rig.v_view(), rig.out_view());
  refused(rig.q_view(), rapt::view(none, 2, 7, 2, 3), rig.v_view(), rig.out_view());
  refused(rig.q_view(), rig.k_view(), rapt::view(none, 2, 7, 2, 3), rig.out_view());
  refused(rig.q_view(), rig.k_view(), rig.v_view(), rapt::view(static_cast<float*>(nullptr), 2, 5, 4, 3));
  // Nothing to read, nothing to write.
  float* const nothing = nullptr;
  EXPECT_NO_THROW(rapt::attend(rig.ctx, rapt::view(none, 0, 5, 4, 3), rapt::view(none, 0, 7, 2, 3), rapt::view(none, 0, 7, 2, 3),
                               rapt::view(nothing, 0, 5, 4, 3)));
  EXPECT_NO_THROW(rapt::attend(rig.ctx, rapt::view(none, 2, 0, 4, 3), rig.k_view(), rig.v_view(), rapt::view(nothing, 2, 0, 4, 3)));
  EXPECT_NO_THROW(rapt::attend(rig.ctx, rig.q_view(), rapt::view(none, 2, 0, 2, 3), rapt::view(none, 2, 0, 2, 3), rig.out_view(), rig.lse_view()));
  for (const float x : rig.out) EXPECT_EQ(std::bit_cast<std::uint32_t>(x), 0u) << "no key: +0";
  for (const float x : rig.lse) EXPECT_EQ(x, -std::numeric_limits<float>::infinity());

  cache_rig module(10);
  const watched watch{.object = [&] { return std::string(reinterpret_cast<const char*>(module.x.data()), module.x.size() * sizeof(float)); }};
  std::vector<float> y(120);
  expect_refused<rapt::shape_error>(
      watch, [&] { module.layers[0].forward(module.ctx, rapt::view(none, 3, 12), rapt::self_kv{}, rapt::view(y.data(), 3, 12)); });
  expect_refused<rapt::shape_error>(
      watch, [&] { module.layers[0].forward(module.ctx, rapt::view(module.x.data(), 3, 12), rapt::self_kv{}, rapt::view(nothing, 3, 12)); });
  EXPECT_NO_THROW(module.layers[0].forward(module.ctx, rapt::view(none, 0, 12), rapt::self_kv{}, rapt::view(nothing, 0, 12)));
}

TEST(hostile, hostile_41_strides) {
  attend_rig rig;
  // A stride of 0 on inputs reads one element again and again; what else is an error.
  const auto repeated_keys = rapt::view(rig.k.data(), 2, 7, 2, 3).strided(0, 0, 3, 1);
  std::vector<float> copied;
  for (int i = 0; i < 14; ++i) copied.insert(copied.end(), rig.k.begin(), rig.k.begin() + 6);
  rapt::attend(rig.ctx, rig.q_view(), repeated_keys, rig.v_view(), rig.out_view());
  const std::vector<float> got = rig.out;
  rapt::attend(rig.ctx, rig.q_view(), rapt::view(copied.data(), 2, 7, 2, 3), rig.v_view(), rig.out_view());
  EXPECT_EQ(bytes_of(got), bytes_of(rig.out));

  const auto refused = [&](auto q, auto out) {
    expect_refused<rapt::shape_error>(rig.watch(), [&] { rapt::attend(rig.ctx, q, rig.k_view(), rig.v_view(), out); });
  };
  refused(rig.q_view().strided(60, -12, 3, 1), rig.out_view());
  refused(rig.q_view().strided(-60, 12, 3, 1), rig.out_view());
  for (const auto& out : {rig.out_view().strided(60, 12, 3, 0), rig.out_view().strided(60, 0, 3, 1), rig.out_view().strided(0, 12, 3, 1),
                          rig.out_view().strided(60, 12, 2, 1), rig.out_view().strided(60, 11, 3, 1), rig.out_view().strided(60, 12, -3, 1)})
    refused(rig.q_view(), out);
  const index_t huge = std::numeric_limits<index_t>::max() / 2;
  refused(rig.q_view().strided(huge, huge, 3, 1), rig.out_view());
}

TEST(hostile, hostile_42_mask) {
  attend_rig rig;
  const auto bools = std::make_unique<bool[]>(1'000);
  std::vector<float> floats(1'000);
  std::vector<double> doubles(1'000);
  for (const auto& shape : {std::array<index_t, 4>{2, 4, 5, 6}, {2, 4, 5, 1}, {2, 4, 4, 7}, {2, 3, 5, 7}, {3, 4, 5, 7}, {2, 4, 5, 8}, {0, 1, 1, 7}}) {
    rig.refuses<rapt::shape_error>({.mask = rapt::view(bools.get(), shape[0], shape[1], shape[2], shape[3])});
    rig.refuses<rapt::shape_error>({.mask = rapt::view(floats.data(), shape[0], shape[1], shape[2], shape[3])});
  }
  rig.refuses<rapt::shape_error>({.mask = rapt::view(doubles.data(), 2, 4, 5, 7)});  // float activations take float
  rig.refuses<rapt::shape_error>({.mask = rapt::view(static_cast<const bool*>(nullptr), 1, 1, 5, 7)});
  rig.refuses<rapt::shape_error>({.mask = rapt::view(floats.data(), 1, 1, 5, 7).strided(0, 0, -7, 1)});
  rig.refuses<rapt::shape_error>({.mask = rapt::view(floats.data(), 5, 7)});  // [rows, rows] is for packed rows of a step
  for (std::size_t i = 0; i < 1'000; ++i) bools[i] = true;
  rig.accepts({.mask = rapt::view(bools.get(), 1, 4, 1, 7)});

  cache_rig module(10);
  rapt::kv_cache cache = module.make_cache(64);
  const rapt::sequence sequence = cache.add_sequence();
  module.append(cache, sequence, 0, 4);
  rapt::step step = cache.begin_step({{sequence, 3}});
  std::vector<float> y(36, 5.0f);
  const watched watch{
      .object = [&] { return module.bits(cache, {&sequence}) + std::string(reinterpret_cast<const char*>(y.data()), 36 * sizeof(float)); }};
  const auto refused = [&](const rapt::attention_mask& mask) {
    expect_refused<rapt::shape_error>(watch, [&] {
      module.layers[0].forward(module.ctx, rapt::view(module.x.data(), 3, 12), step.layer(0), rapt::view(y.data(), 3, 12), {.mask = mask});
    });
  };
  refused(rapt::view(bools.get(), 3, 7));
  refused(rapt::view(bools.get(), 7, 7));
  refused(rapt::view(floats.data(), 3, 3));
  refused(rapt::view(bools.get(), 1, 1, 3, 7));
}

}  // namespace
}  // namespace rapt_test::contract
