// Which sets of weights make a module, and that every published layout of the same numbers makes the same one.
#include <gtest/gtest.h>
#include <rapt/attention/multi_head_attention.hpp>
#include <rapt/cpu/context.hpp>

#include <random>

namespace {
using rapt::attention_weights;
using rapt::index_t;
using rapt::view;
using rapt::weight_view;

std::vector<float> random_floats(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(count);
  for (float& v : x) v = normal(random);
  return x;
}

constexpr index_t e = 12, h = 3, d = 4, o = 12;
const rapt::attention_config config{.model_dim = e, .num_heads = h, .head_dim = d};

struct fixed_weights {
  std::vector<float> qkv = random_floats(3 * h * d * e, 1), out = random_floats(h * d * o, 2), b_qkv = random_floats(3 * h * d, 3),
                     b_out = random_floats(o, 4);
  const float* q() const { return qkv.data(); }
  const float* k() const { return qkv.data() + h * d * e; }
  const float* v() const { return qkv.data() + 2 * h * d * e; }
};

TEST(attention_weights, every_violation_is_config_error_naming_the_two_fields) {
  const fixed_weights w;
  const weight_view qkv = view(w.q(), 3, h, d, e), q = view(w.q(), 1, h, d, e), kv = view(w.k(), 2, h, d, e), k = view(w.k(), h, d, e),
                    out = view(w.out.data(), h, d, o);
  const weight_view bias = view(w.b_qkv.data(), h, d);
  struct {
    const char *a, *b;
    attention_weights weights;
  } const bad[] = {
      {"w_qkv", "w_q", {.w_out = out}},
      {"w_qkv", "w_q", {.w_qkv = qkv, .w_q = q, .w_out = out}},
      {"w_qkv", "w_kv", {.w_qkv = qkv, .w_kv = kv, .w_out = out}},
      {"w_qkv", "w_k", {.w_qkv = qkv, .w_k = k, .w_out = out}},
      {"w_qkv", "w_v", {.w_qkv = qkv, .w_v = k, .w_out = out}},
      {"w_kv", "w_k", {.w_q = q, .w_kv = kv, .w_k = k, .w_out = out}},
      {"w_kv", "w_v", {.w_q = q, .w_kv = kv, .w_v = k, .w_out = out}},
      {"w_k", "w_v", {.w_q = q, .w_k = k, .w_out = out}},
      {"w_v", "w_k", {.w_q = q, .w_v = k, .w_out = out}},
      {"w_out", "given", {.w_q = q}},
      {"b_k", "w_k", {.w_q = q, .w_kv = kv, .w_out = out, .b_k = bias}},
      {"q_norm", "k_norm", {.w_q = q, .w_out = out, .q_norm = view(w.b_out.data(), d)}},
      {"q_norm", "qk_norm", {.w_q = q, .w_out = out, .q_norm = view(w.b_out.data(), d), .k_norm = view(w.b_out.data(), d)}},
      {"w_q", "shape", {.w_q = view(w.q(), h, d, e - 1), .w_out = out}},
      {"w_out", "shape", {.w_q = q, .w_out = view(w.out.data(), d, h, o)}},
  };
  for (const auto& b : bad) {
    const rapt::failure found = rapt::check(b.weights, rapt::resolve(config));
    EXPECT_EQ(found.code, rapt::errc::config);
    EXPECT_NE(found.message.find(b.a), std::string::npos) << found.message;
    EXPECT_NE(found.message.find(b.b), std::string::npos) << found.message;
  }
  EXPECT_FALSE(rapt::check({.w_q = q, .w_out = out}, rapt::resolve(config)));
  const rapt::failure narrow =
      rapt::check({.w_qkv = qkv, .w_out = out}, rapt::resolve({.model_dim = e, .num_heads = h, .num_kv_heads = 1, .head_dim = d}));
  EXPECT_NE(narrow.message.find("num_kv_heads"), std::string::npos);
}

TEST(attention_weights, torch_hugging_face_and_tabpfn_layouts_of_the_same_numbers_give_the_same_bits) {
  const fixed_weights w;
  rapt::cpu::context ctx({.num_threads = 1});
  const auto run = [&](const attention_weights& weights) {
    const rapt::multi_head_attention<float> module(ctx, config, weights);
    const std::vector<float> x = random_floats(5 * e, 9);
    std::vector<float> y(5 * o);
    module.forward(ctx, view(x.data(), 1, 5, e), rapt::self_kv{}, view(y.data(), 1, 5, o));
    return y;
  };
  // torch and Hugging Face keep the output projection as [O, H * d].
  std::vector<float> o_proj(w.out.size());
  for (index_t r = 0; r < h * d; ++r)
    for (index_t c = 0; c < o; ++c) o_proj[static_cast<std::size_t>(c * h * d + r)] = w.out[static_cast<std::size_t>(r * o + c)];
  const float* const bq = w.b_qkv.data();
  const weight_view b_out = view(w.b_out.data(), o), o_view = view(o_proj.data(), o, h * d);

  const std::vector<float> fused =
      run({.w_qkv = view(w.q(), 3, h, d, e), .w_out = view(w.out.data(), h, d, o), .b_qkv = view(bq, 3, h, d), .b_out = b_out});
  const auto separate = run({.w_q = view(w.q(), 1, h, d, e),
                             .w_k = view(w.k(), h, d, e),
                             .w_v = view(w.v(), h, d, e),
                             .w_out = view(w.out.data(), h, d, o),
                             .b_q = view(bq, 1, h, d),
                             .b_k = view(bq + h * d, h, d),
                             .b_v = view(bq + 2 * h * d, h, d),
                             .b_out = b_out});
  const auto q_and_kv = run({.w_q = view(w.q(), 1, h, d, e),
                             .w_kv = view(w.k(), 2, h, d, e),
                             .w_out = view(w.out.data(), h, d, o),
                             .b_q = view(bq, 1, h, d),
                             .b_kv = view(bq + h * d, 2, h, d),
                             .b_out = b_out});
  const auto torch = run(rapt::torch_weights(view(w.q(), 3 * h * d, e), view(bq, 3 * h * d), o_view, b_out));
  const auto hugging_face = run(rapt::hugging_face_weights({.q_proj = view(w.q(), h * d, e),
                                                            .k_proj = view(w.k(), h * d, e),
                                                            .v_proj = view(w.v(), h * d, e),
                                                            .o_proj = o_view,
                                                            .q_bias = view(bq, h * d),
                                                            .k_bias = view(bq + h * d, h * d),
                                                            .v_bias = view(bq + 2 * h * d, h * d),
                                                            .o_bias = b_out}));
  EXPECT_EQ(fused, separate);
  EXPECT_EQ(fused, q_and_kv);
  EXPECT_EQ(fused, torch);
  EXPECT_EQ(fused, hugging_face);
  EXPECT_NE(fused, std::vector<float>(fused.size()));
}

TEST(attention_weights, a_module_gives_its_weights_back_in_their_own_layout_and_bits) {
  rapt::cpu::context ctx({.num_threads = 1});
  const rapt::attention_config c{.model_dim = 7, .num_heads = 4, .num_kv_heads = 2, .head_dim = 3, .value_dim = 5, .output_dim = 9};
  const rapt::owned_weights given = rapt::random_weights<rapt::bf16>(c, 5);
  const rapt::multi_head_attention<float> module(ctx, c, given.views);
  const std::vector<rapt::named_tensor> back = module.weights(ctx);
  ASSERT_EQ(back.size(), 4u);
  const char* const names[] = {"w_k", "w_out", "w_q", "w_v"};
  const std::size_t made[] = {1, 3, 0, 2};  // the order in which random_weights drew them
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(back[i].name, names[i]);
    EXPECT_EQ(back[i].type, rapt::dtype::bf16);
    EXPECT_EQ(back[i].bytes, given.memory[made[i]]) << names[i];
  }
  EXPECT_EQ(back[1].shape, (std::vector<index_t>{4, 5, 9}));
}

TEST(random_weights, bounds_and_seed_are_those_of_the_reference) {
  const rapt::attention_config c{.model_dim = 48, .num_heads = 4, .num_kv_heads = 2, .head_dim = 16};
  const auto drawn = rapt::random_weights<float>(c, 7, {.init_gain = 0.5, .kind = rapt::weight_layout::family::q_and_kv});
  const auto largest = [](const std::vector<std::byte>& bytes) {
    float most = 0;
    const auto* x = reinterpret_cast<const float*>(bytes.data());
    for (std::size_t i = 0; i < bytes.size() / 4; ++i) most = std::max(most, std::abs(x[i]));
    return static_cast<double>(most);
  };
  const double input_bound = std::sqrt(3.0) * std::sqrt(2.0 / (4 * 16 + 48)) * 0.5, output_bound = std::sqrt(6.0 / (48.0 * (16 + 4)));
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_LE(largest(drawn.memory[i]), input_bound * (1 + 1e-6));
    EXPECT_GT(largest(drawn.memory[i]), input_bound * 0.99);
  }
  EXPECT_LE(largest(drawn.memory[2]), output_bound * (1 + 1e-6));
  EXPECT_GT(largest(drawn.memory[2]), output_bound * 0.99);
  EXPECT_EQ(drawn.memory, rapt::random_weights<float>(c, 7, {.init_gain = 0.5, .kind = rapt::weight_layout::family::q_and_kv}).memory);
  EXPECT_NE(drawn.memory, rapt::random_weights<float>(c, 8, {.init_gain = 0.5, .kind = rapt::weight_layout::family::q_and_kv}).memory);
  EXPECT_EQ(largest(rapt::random_weights<float>(c, 7, {.initialize_output_to_zero = true}).memory.back()), 0.0);
}
}  // namespace
