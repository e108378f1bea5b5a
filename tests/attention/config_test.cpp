#include <gtest/gtest.h>
#include <rapt/attention/config.hpp>

#include <limits>

namespace {
using rapt::attention_config;

TEST(attention_config, zeros_take_their_defaults) {
  const attention_config c = rapt::resolve({.model_dim = 96, .num_heads = 6, .num_kv_heads = 2, .value_dim = 5, .rope = rapt::rope_config{}});
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.value_dim, 5);
  EXPECT_EQ(c.output_dim, 96);
  EXPECT_EQ(c.group_size(), 3);
  EXPECT_EQ(c.softmax_scale, 0.25);
  EXPECT_EQ(c.rope->dim, 16);
  EXPECT_EQ(rapt::resolve({.model_dim = 8, .num_heads = 2}).num_kv_heads, 2);
}

struct bad_config {
  const char* field;
  attention_config config;
};
TEST(attention_config, what_can_not_be_computed_is_config_error_naming_the_field) {
  const attention_config good{.model_dim = 64, .num_heads = 8, .num_kv_heads = 2, .head_dim = 8};
  const auto with = [&](auto change) {
    attention_config c = good;
    change(c);
    return c;
  };
  static constexpr double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const bad_config bad[] = {
      {"model_dim", with([](auto& c) { c.model_dim = 0; })},
      {"num_heads", with([](auto& c) { c.num_heads = -1; })},
      {"num_kv_heads", with([](auto& c) { c.num_kv_heads = 3; })},
      {"head_dim", with([](auto& c) { c.head_dim = -8; })},
      {"head_dim", {.model_dim = 65, .num_heads = 8}},  // no default: 65 / 8 is not whole
      {"value_dim", with([](auto& c) { c.value_dim = -1; })},
      {"output_dim", with([](auto& c) { c.output_dim = -2; })},
      {"num_heads", with([](auto& c) { c.num_heads = c.num_kv_heads = 1 << 30, c.head_dim = 1 << 30, c.model_dim = 1 << 30; })},
      {"softmax_scale", with([](auto& c) { c.softmax_scale = nan; })},
      {"softmax_scale", with([](auto& c) { c.softmax_scale = -inf; })},
      {"window.left", with([](auto& c) { c.window.left = -1; })},
      {"window.right", with([](auto& c) { c.window.right = -1; })},
      {"softcap", with([](auto& c) { c.softcap = 0; })},
      {"softcap", with([](auto& c) { c.softcap = nan; })},
      {"dropout_p", with([](auto& c) { c.dropout_p = 1; })},
      {"dropout_p", with([](auto& c) { c.dropout_p = -0.1; })},
      {"dropout_p", with([](auto& c) { c.dropout_p = nan; })},
      {"qk_norm.eps", with([](auto& c) { c.qk_norm = rapt::qk_norm_config{.eps = nan}; })},
      {"theta", with([](auto& c) { c.rope = rapt::rope_config{.theta = 0}; })},
      {"dim", with([](auto& c) { c.rope = rapt::rope_config{.dim = 7}; })},
      {"dim", with([](auto& c) { c.rope = rapt::rope_config{.dim = 10}; })},
      {"scaling.factor", with([](auto& c) { c.rope = rapt::rope_config{.scaling = {.kind = rapt::rope_scaling_kind::linear, .factor = 0}}; })},
      {"kv_dtype", with([](auto& c) { c.kv_dtype = rapt::dtype::i64; })},
  };
  EXPECT_FALSE(rapt::check(good));
  for (const bad_config& b : bad) {
    const rapt::failure found = rapt::check(b.config);
    EXPECT_EQ(found.code, rapt::errc::config) << b.field;
    EXPECT_NE(found.message.find(std::string(b.field) + " is "), std::string::npos) << found.message;
    EXPECT_THROW(rapt::resolve(b.config), rapt::config_error);
  }
}

TEST(attention_config, scale_zero_and_negative_are_legal) {
  EXPECT_EQ(rapt::resolve({.model_dim = 8, .num_heads = 2, .softmax_scale = 0.0}).softmax_scale, 0.0);
  EXPECT_EQ(rapt::resolve({.model_dim = 8, .num_heads = 2, .softmax_scale = -3.0}).softmax_scale, -3.0);
}
}  // namespace
