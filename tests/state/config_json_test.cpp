// The canonical JSON of configs, what it refuses, and the fingerprints made with it.
#include <gtest/gtest.h>
#include <rapt/attention/config_json.hpp>
#include <rapt/attention/fingerprint.hpp>
#include <rapt/core/error.hpp>

namespace {

using rapt::attention_config, rapt::config_from_json, rapt::dtype, rapt::to_json;

attention_config full() {
  attention_config c{.model_dim = 576, .num_heads = 9, .num_kv_heads = 3, .head_dim = 64, .value_dim = 48, .output_dim = 500};
  c.softmax_scale = 0.1;
  c.causal = true;
  c.window = {.left = 255, .right = std::nullopt};
  c.softcap = 1.0 / 3.0;
  c.alibi = true;
  c.qk_norm = rapt::qk_norm_config{.eps = 1e-5};
  c.rope = rapt::rope_config{.theta = 100'000.0, .dim = 32, .pairing = rapt::rope_pairing::interleaved};
  c.rope->scaling = {.kind = rapt::rope_scaling_kind::yarn,
                     .factor = 4,
                     .original_max_position_embeddings = 4096,
                     .beta_fast = 31,
                     .beta_slow = 2,
                     .attention_factor = 1.2};
  c.dropout_p = 0.25;
  c.kv_dtype = dtype::bf16;
  return c;
}

TEST(config_json, text_is_canonical) {
  EXPECT_EQ(
      to_json({.model_dim = 64, .num_heads = 4}),
      "{\"alibi\":false,\"causal\":false,\"dropout_p\":0.0,\"head_dim\":0,\"kv_dtype\":null,\"model_dim\":64,\"num_heads\":4,\"num_kv_heads\":0,"
      "\"output_dim\":0,\"qk_norm\":null,\"rope\":null,\"softcap\":null,\"softmax_scale\":null,\"value_dim\":0,\"window\":null}");
  EXPECT_EQ(
      to_json(full()),
      "{\"alibi\":true,\"causal\":true,\"dropout_p\":0.25,\"head_dim\":64,\"kv_dtype\":\"bf16\",\"model_dim\":576,\"num_heads\":9,\"num_kv_heads\":3,"
      "\"output_dim\":500,\"qk_norm\":{\"eps\":1e-05},\"rope\":{\"dim\":32,\"pairing\":\"interleaved\",\"scaling\":{\"attention_factor\":1.2,\"beta_"
      "fast\":31.0,"
      "\"beta_slow\":2.0,\"factor\":4.0,\"original_max_position_embeddings\":4096.0,\"rope_type\":\"yarn\"},\"theta\":100000.0},\"softcap\":0."
      "3333333333333333,"
      "\"softmax_scale\":0.1,\"value_dim\":48,\"window\":[255,null]}");
}

TEST(config_json, round_trip_is_exact_for_every_kind_of_scaling) {
  attention_config c = full();
  EXPECT_EQ(config_from_json(to_json(c)), c);
  c.rope->scaling = {
      .kind = rapt::rope_scaling_kind::llama3, .factor = 8, .original_max_position_embeddings = 8192, .low_freq_factor = 1, .high_freq_factor = 5};
  EXPECT_EQ(config_from_json(to_json(c)), c);
  c.rope->scaling = {.kind = rapt::rope_scaling_kind::linear, .factor = 3};
  EXPECT_EQ(config_from_json(to_json(c)), c);
  c.rope->scaling = {.kind = rapt::rope_scaling_kind::ntk, .factor = 3};
  EXPECT_EQ(config_from_json(to_json(c)), c);
  EXPECT_EQ(config_from_json("{}"), attention_config{});
  c.numerics = "cpu-v1";
  EXPECT_EQ(config_from_json(to_json(c)).numerics, "");
}

TEST(config_json, refuses_what_it_does_not_know) {
  const char* const wrong[] = {R"({"model_dims":5})",
                               R"({"sinks":null})",
                               R"({"model_dim":5.0})",
                               R"({"model_dim":9223372036854775808})",
                               R"({"model_dim":"5"})",
                               R"({"causal":1})",
                               R"({"softcap":"1"})",
                               R"({"window":5})",
                               R"({"window":[1,2,3]})",
                               R"({"window":{"0":1}})",
                               R"({"window.0":1})",
                               R"({"rope.theta":1})",
                               R"({"window":[1,2.5]})",
                               R"({"kv_dtype":"i64"})",
                               R"({"qk_norm":{"eps":1,"x":1}})",
                               R"({"qk_norm":true})",
                               R"({"rope":{"pairing":"full"}})",
                               R"({"rope":{"scaling":{"factor":2}}})",
                               R"({"rope":{"scaling":{"rope_type":"dynamic","factor":2}}})",
                               R"({"rope":{"scaling":{"rope_type":"linear","factor":2,"beta_fast":1}}})"};
  for (const char* text : wrong) EXPECT_THROW(config_from_json(text), rapt::config_error) << text;
  for (const char* text :
       {"", "[]", "5", "{", "{}x", "{\"a\":nan}", "\xef\xbb\xbf{}", R"({"causal":true,"causal":true})", R"({"x":[[[[[[[[1]]]]]]]]})"})
    EXPECT_THROW(config_from_json(text), rapt::format_error) << text;
  EXPECT_THROW(config_from_json("{\"a\":" + std::string(100'000, '[')), rapt::format_error);
}

TEST(config_json, difference_names_the_field_and_both_values) {
  const attention_config a = full();
  const auto against = [&](auto change) {
    attention_config b = a;
    change(b);
    return rapt::difference(a, b);
  };
  EXPECT_EQ(against([](auto&) {}), "");
  EXPECT_EQ(against([](auto& b) { b.numerics = "x"; }), "");
  EXPECT_EQ(against([](auto& b) { b.head_dim = 32; }), "head_dim: 64 and 32");
  EXPECT_EQ(against([](auto& b) { b.num_heads = 18; }), "num_heads: 9 and 18");
  EXPECT_EQ(against([](auto& b) { b.rope->theta = 10'000; }), "rope.theta: 100000.0 and 10000.0");
  EXPECT_EQ(against([](auto& b) { b.rope->scaling.beta_fast = 32; }), "rope.scaling.beta_fast: 31.0 and 32.0");
  EXPECT_EQ(against([](auto& b) { b.qk_norm.reset(); }), "qk_norm: {\"eps\":1e-05} and null");
  EXPECT_EQ(against([](auto& b) { b.window.left = 127; }), "window: [255,null] and [127,null]");
  EXPECT_EQ(against([](auto& b) { b.softmax_scale = 0.1000000001; }), "softmax_scale: 0.1 and 0.1000000001");
  EXPECT_EQ(against([](auto& b) { b.softcap.reset(); }), "softcap: 0.3333333333333333 and null");
  EXPECT_EQ(against([](auto& b) { b.dropout_p = 0; }), "dropout_p: 0.25 and 0.0");
  EXPECT_EQ(against([](auto& b) { b.kv_dtype = dtype::f16; }), "kv_dtype: \"bf16\" and \"f16\"");
  attention_config linear = a, ntk = a;
  linear.rope->scaling = {.kind = rapt::rope_scaling_kind::linear, .factor = 2};
  EXPECT_NE(rapt::difference(linear, a), "");
  EXPECT_NE(rapt::difference(a, linear), "");
}

TEST(fingerprint, sees_config_names_types_shapes_and_bytes_but_not_the_order) {
  const auto tensor = [](const char* name, std::vector<rapt::index_t> shape, unsigned char first) {
    return rapt::named_tensor{name, dtype::f32, std::move(shape), {std::byte{first}, std::byte{2}, std::byte{3}, std::byte{4}}};
  };
  const std::vector<rapt::named_tensor> weights = {tensor("w_q", {1}, 1), tensor("w_out", {1}, 9)};
  const rapt::fingerprint print = rapt::fingerprint_of(full(), weights);
  EXPECT_FALSE(print.empty());
  EXPECT_EQ(print.hex().size(), 32u);
  EXPECT_EQ(rapt::fingerprint_of(full(), {weights[1], weights[0]}), print);
  attention_config other_numerics = full(), other_scale = full();
  other_numerics.numerics = "cpu-v1";
  other_scale.softmax_scale = 0.2;
  EXPECT_EQ(rapt::fingerprint_of(other_numerics, weights), print);
  EXPECT_NE(rapt::fingerprint_of(other_scale, weights), print);
  EXPECT_NE(rapt::fingerprint_of(full(), {tensor("w_q", {1}, 2), weights[1]}), print);
  EXPECT_NE(rapt::fingerprint_of(full(), {tensor("w_k", {1}, 1), weights[1]}), print);
  EXPECT_NE(rapt::fingerprint_of(full(), {tensor("w_q", {1, 1}, 1), weights[1]}), print);
  rapt::named_tensor other_type = weights[0];
  other_type.type = dtype::f16;
  EXPECT_NE(rapt::fingerprint_of(full(), {other_type, weights[1]}), print);
  EXPECT_NE(rapt::fingerprint_of(full(), {weights[0]}), print);
}

/// Fixed bits: a change of the canonical text or of the order of hashing would orphan every saved cache.
TEST(fingerprint, is_the_same_forever) {
  const std::vector<rapt::named_tensor> weights = {{"w_q", dtype::f32, {1}, {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}}}};
  EXPECT_EQ(rapt::fingerprint_of(full(), weights).hex(), "585b3ce037cf5e8cf599ac49bda9f7f5");  // as the xxhash package of Python computes it
}

}  // namespace
