// Files that are whole but wrong for their receiver, or wrong in themselves: refused with the field, the tensor or both values named, and nothing
// changed.
#include <rapt/attention/config_json.hpp>

#include <map>

#include "state_rig.hpp"

namespace {

using namespace rapt_test;
namespace safetensors = rapt::safetensors;

/// A state as maps, to be edited and written again with valid checksums.
struct loose_state {
  struct tensor {
    dtype type;
    std::vector<index_t> shape;
    std::vector<std::byte> bytes;
  };
  std::map<std::string, tensor> tensors;
  std::map<std::string, std::string> metadata;

  explicit loose_state(const std::vector<std::byte>& state) {
    const auto file = safetensors::parse(state);
    for (const auto& t : file)
      if (!t.name.starts_with("pad."))
        tensors[std::string(t.name)] = {*t.type, {t.shape().begin(), t.shape().end()}, {t.bytes.begin(), t.bytes.end()}};
    for (index_t i = 0; i < file.num_metadata(); ++i)
      if (const auto [key, value] = file.metadata(i);
          !key.starts_with("xxh3.") && key != "rapt.format" && key != "rapt.version" && key != "rapt.header_xxh3")
        metadata[std::string(key)] = value;
  }
  std::vector<std::byte> bytes() const {
    safetensors::writer w;
    for (const auto& [name, t] : tensors) w.add(name, t.type, t.shape, t.bytes);
    for (const auto& [key, value] : metadata) w.add_metadata(key, value);
    return w.to_bytes();
  }
  tensor& at(const std::string& name) { return tensors.at(name); }
  void rename(const std::string& from, const std::string& to) {
    auto node = tensors.extract(from);
    ASSERT_FALSE(node.empty()) << from;
    node.key() = to;
    tensors.insert(std::move(node));
  }
};

/// A cache with contents, the state of a sequence, and every receiver that must stay as it is.
class load_refusals : public testing::Test {
 protected:
  static std::vector<std::byte> saved(bits_context& ctx) {
    bits_cache from(ctx, small_config(), small_limits);
    bits_sequence s = from.add_sequence();
    append_bits(ctx, from, s, 21, 3, some_fingerprint(1));
    return rapt::save_state(ctx, from, s);
  }
  void SetUp() override {
    append_bits(ctx, cache, full, 5, 4, some_fingerprint(1));
    append_bits(ctx, cache, other, 30, 5, some_fingerprint(1));
  }
  std::string visible_all() { return visible(cache) + visible(ctx, cache, full) + visible(ctx, cache, empty) + visible(ctx, cache, other); }

  /// Into an empty sequence, a full one and a vector; from bytes and from a file.
  template <class Error>
  std::string expect_load_refused(const std::vector<std::byte>& state, const rapt::load_options& options = {}) {
    const temporary_directory directory;
    write_file(directory / "state", text_of(state));
    const watched what{.object = [&] { return visible_all(); }, .directory = directory.path(), .input_bytes = state.size()};
    std::vector<bits_sequence> many;
    expect_refused<Error>(what, [&] { rapt::load_state(ctx, state, cache, full, options); });
    expect_refused<Error>(what, [&] { rapt::load_state(ctx, directory / "state", cache, empty, options); });
    expect_refused<Error>(what, [&] { rapt::load_state(ctx, state, cache, many, options); });
    return expect_refused<Error>(what, [&] { rapt::load_state(ctx, state, cache, empty, options); });
  }
  template <class Error, class Edit>
  std::string expect_edit_refused(Edit edit) {
    loose_state loose(state);
    edit(loose);
    return expect_load_refused<Error>(loose.bytes());
  }

  bits_context ctx;
  std::vector<std::byte> state = saved(ctx);
  bits_cache cache{ctx, small_config(), small_limits};
  bits_sequence full = cache.add_sequence(), empty = cache.add_sequence(), other = cache.add_sequence();
};

TEST_F(load_refusals, the_unedited_state_is_accepted) {
  rapt::load_state(ctx, loose_state(state).bytes(), cache, empty);
  EXPECT_EQ(empty.kv_len(), 21);
  EXPECT_EQ(loose_state(state).bytes(), state);
}

TEST_F(load_refusals, hostile_05_truncated_at_every_byte) {
  const watched what{.object = [&] { return visible_all(); }, .input_bytes = state.size()};
  expect_all_refused<rapt::format_error>(what, state.size(), [&](std::size_t n) { rapt::load_state(ctx, std::span(state).first(n), cache, empty); });
}

TEST_F(load_refusals, hostile_06_every_bit_flip_is_rejected) {
  const watched what{.object = [&] { return visible_all(); }, .input_bytes = state.size()};
  std::vector<std::byte> changed = state;
  expect_all_refused<rapt::checksum_error, rapt::format_error>(what, 8 * state.size(), [&](std::size_t bit) {
    changed = state;
    changed[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
    rapt::load_state(ctx, changed, cache, bit % 2 == 0 ? empty : full);
  });
}

TEST_F(load_refusals, hostile_16_dtype_of_equal_size) {
  EXPECT_SAYS(expect_edit_refused<rapt::config_error>([](loose_state& s) { s.at("layers.1.cache.0.v").type = dtype::bf16; }),
              "'layers.1.cache.0.v': dtype BF16; config.kv_dtype is f16");
}

TEST_F(load_refusals, hostile_17_missing_extra_and_misnamed_tensors) {
  for (const char* name : {"layers.0.cache.0.k", "layers.1.cache.0.v", "cache.0.positions", "cache.0.first_index"})
    EXPECT_SAYS(expect_edit_refused<rapt::format_error>([&](loose_state& s) { s.tensors.erase(name); }), "'" + std::string(name) + "' is missing");
  for (const char* name : {"layers.2.cache.0.k", "layers.0.cache.1.k", "cache.1.positions"})
    EXPECT_SAYS(expect_edit_refused<rapt::format_error>([&](loose_state& s) { s.tensors[name] = s.at("layers.0.cache.0.k"); }), "is missing");
  for (const char* name : {"extra", "layers.0.cache.0.x", "layers.00.cache.0.k", "layers.-1.cache.0.k", "layers.0.cache.0", "layers..cache.0.k",
                           "layers.99999999999999999999.cache.0.k", "layers.4000000000.cache.0.k", "cache.0.position", "weights.w_x", "weights.",
                           "static.q", "projected.K", "cache.k"})
    EXPECT_SAYS(expect_edit_refused<rapt::format_error>([&](loose_state& s) { s.tensors[name] = s.at("cache.0.first_index"); }),
                "'" + std::string(name) + "' is no part of a state");
  EXPECT_SAYS(expect_edit_refused<rapt::format_error>([](loose_state& s) { s.rename("layers.0.cache.0.k", "layers.0.cache.0.K"); }),
              "no part of a state");
  EXPECT_SAYS(expect_edit_refused<rapt::format_error>([](loose_state& s) { s.tensors["static.k"] = s.at("layers.0.cache.0.k"); }),
              "'static.v' is missing");
}

TEST_F(load_refusals, hostile_shapes_that_do_not_fit_the_config) {
  const auto reshaped = [&](const char* name, std::vector<index_t> shape) {
    return expect_edit_refused<rapt::format_error>([&](loose_state& s) { s.at(name).shape = shape; });
  };
  EXPECT_SAYS(reshaped("layers.0.cache.0.k", {21, 4, 3}), "'layers.0.cache.0.k' has shape [21, 4, 3]; [21, 3, 4] is needed");
  EXPECT_SAYS(reshaped("layers.0.cache.0.k", {3, 21, 4}), "is needed");
  EXPECT_SAYS(reshaped("layers.0.cache.0.k", {21, 12}), "is needed");
  EXPECT_SAYS(reshaped("layers.0.cache.0.v", {1, 21, 3, 5}), "is needed");
  EXPECT_SAYS(reshaped("cache.0.positions", {21, 1}), "must be I64 of rank 1");
  EXPECT_SAYS(reshaped("cache.0.first_index", {}), "must be I64 of rank 1");
  expect_edit_refused<rapt::format_error>([](loose_state& s) { s.at("cache.0.positions").type = dtype::f64; });
  expect_edit_refused<rapt::format_error>([](loose_state& s) { s.at("cache.0.positions") = {dtype::i64, {20}, std::vector<std::byte>(160)}; });
  expect_edit_refused<rapt::format_error>([](loose_state& s) { s.at("cache.0.first_index") = {dtype::i64, {0}, {}}; });
}

TEST_F(load_refusals, hostile_metadata_missing_or_malformed) {
  for (const char* key : {"rapt.config", "rapt.numerics"})
    EXPECT_SAYS(expect_edit_refused<rapt::format_error>([&](loose_state& s) { s.metadata.erase(key); }), "'" + std::string(key) + "' is missing");
  for (const char* config : {"", "{", "{}", "[]", "{\"model_dim\":5,\"x\":1}", "{\"model_dim\":10,\"num_heads\":6}"})
    EXPECT_SAYS(expect_edit_refused<rapt::format_error>([&](loose_state& s) { s.metadata["rapt.config"] = config; }), "rapt.config");
  for (const char* print : {"", "0123", "0123456789abcdef0123456789abcdeg", "0123456789abcdef0123456789abcdef0", "+123456789abcdef0123456789abcdef"})
    EXPECT_SAYS(expect_edit_refused<rapt::format_error>([&](loose_state& s) { s.metadata["rapt.fingerprint.1"] = print; }), "'rapt.fingerprint.1'");
  EXPECT_SAYS(expect_edit_refused<rapt::format_error>([](loose_state& s) { s.metadata.erase("rapt.fingerprint.0"); }),
              "'rapt.fingerprint.0' is missing");
}

TEST_F(load_refusals, hostile_20_unknown_requirements) {
  EXPECT_SAYS(expect_edit_refused<rapt::version_error>([](loose_state& s) { s.metadata["rapt.req.x"] = "1"; }), "rapt.req.x");
  loose_state newer(state);
  newer.metadata["rapt.later"] = "1";
  rapt::load_state(ctx, newer.bytes(), cache, empty);
  EXPECT_EQ(empty.kv_len(), 21);
}

TEST_F(load_refusals, hostile_21_a_cache_of_another_config) {
  struct {
    const char* says;
    void (*change)(rapt::attention_config&);
  } const changes[] = {
      {"config.head_dim: 8 and 4", [](auto& c) { c.head_dim = 8; }},
      {"config.num_heads: 3 and 6", [](auto& c) { c.num_heads = 3; }},
      {"config.num_kv_heads: 6 and 3", [](auto& c) { c.num_kv_heads = 6; }},
      {"config.value_dim: 4 and 5", [](auto& c) { c.value_dim = 4; }},
      {"config.rope.theta: 501.0 and 500.0", [](auto& c) { c.rope->theta = 501; }},
      {"config.rope.pairing: \"interleaved\" and \"half\"", [](auto& c) { c.rope->pairing = rapt::rope_pairing::interleaved; }},
      {"config.rope: null and {", [](auto& c) { c.rope.reset(); }},
      {"config.window: [3,null] and null", [](auto& c) { c.window.left = 3; }},
      {"config.softmax_scale: 0.25 and 0.5", [](auto& c) { c.softmax_scale = 0.25; }},
      {"config.softcap: 30.0 and null", [](auto& c) { c.softcap = 30; }},
      {"config.dropout_p: 0.1 and 0.0", [](auto& c) { c.dropout_p = 0.1; }},
      {"config.causal: false and true", [](auto& c) { c.causal = false; }},
      {"config.alibi: true and false", [](auto& c) { c.alibi = true; }},
      {"config.kv_dtype: \"bf16\" and \"f16\"", [](auto& c) { c.kv_dtype = dtype::bf16; }},
  };
  for (const auto& [says, change] : changes) {
    rapt::attention_config c = small_config();
    change(c);
    bits_cache from(ctx, c, small_limits);
    const bits_sequence s = from.add_sequence();
    append_bits(ctx, from, s, 3, 1, some_fingerprint(1));
    EXPECT_SAYS(expect_load_refused<rapt::config_error>(rapt::save_state(ctx, from, s)), says);
  }
  rapt::cache_limits limits = small_limits;
  limits.num_layers = 3;
  bits_cache from(ctx, small_config(), limits);
  const bits_sequence s = from.add_sequence();
  EXPECT_SAYS(expect_load_refused<rapt::config_error>(rapt::save_state(ctx, from, s)), "layers: the file has a cache of 3; the receiver has 2");
}

TEST_F(load_refusals, hostile_22_a_cache_made_with_other_weights) {
  loose_state loose(state);
  loose.metadata["rapt.fingerprint.1"] = some_fingerprint(2).hex();
  const std::string message = expect_load_refused<rapt::config_error>(loose.bytes());
  EXPECT_SAYS(message, "layer 1");
  EXPECT_SAYS(message, some_fingerprint(2).hex());
  EXPECT_SAYS(message, some_fingerprint(1).hex());
  rapt::load_state(ctx, loose.bytes(), cache, empty, {.accept_other_weights = true});
  EXPECT_EQ(empty.kv_len(), 21);
  EXPECT_EQ(cache.layer_fingerprint(1), some_fingerprint(2));
}

TEST_F(load_refusals, hostile_23_longer_than_the_receiver_can_hold) {
  bits_cache from(ctx, small_config(), {.num_layers = 2, .max_tokens = 5'000, .max_sequences = 1});
  const bits_sequence s = from.add_sequence();
  append_bits(ctx, from, s, 5'000, 1, some_fingerprint(1));
  EXPECT_SAYS(expect_load_refused<rapt::capacity_error>(rapt::save_state(ctx, from, s)), "5000 rows");
}

TEST_F(load_refusals, hostile_24_positions) {
  const auto with_position = [&](index_t position) {
    return [=](loose_state& s) { std::memcpy(s.at("cache.0.positions").bytes.data() + 8 * 20, &position, 8); };
  };
  for (const index_t position : {index_t{-1}, std::numeric_limits<index_t>::min(), std::numeric_limits<index_t>::max(), (index_t{1} << 62) + 1})
    EXPECT_SAYS(expect_edit_refused<rapt::format_error>(with_position(position)), "position " + std::to_string(position) + " of token 20");
  for (const index_t first : {index_t{-1}, index_t{5}})
    EXPECT_SAYS(expect_edit_refused<rapt::format_error>([&](loose_state& s) { std::memcpy(s.at("cache.0.first_index").bytes.data(), &first, 8); }),
                "first_index");
  for (const index_t position : {index_t{0}, index_t{7}, index_t{1} << 62}) {
    loose_state legal(state);
    with_position(position)(legal);
    bits_cache to(ctx, small_config(), small_limits);
    bits_sequence s;
    rapt::load_state(ctx, legal.bytes(), to, s);
    EXPECT_EQ(s.position(20), position);
  }
}

TEST_F(load_refusals, hostile_no_state_of_ours) {
  safetensors::writer unused;
  const std::string text = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
  std::string file = std::string(1, static_cast<char>(text.size())) + std::string(7, '\0') + text + "x";
  EXPECT_SAYS(expect_load_refused<rapt::format_error>(
                  {reinterpret_cast<const std::byte*>(file.data()), reinterpret_cast<const std::byte*>(file.data()) + file.size()}),
              "no state of rapt");
  const auto weights_only = rapt::save_state(ctx, some_module(ctx, 1));
  EXPECT_SAYS(expect_load_refused<rapt::config_error>(weights_only), "layers: the file has a cache of 0");
  bits_projected kv(ctx, small_config());
  const watched what{.object = [&] { return visible(ctx, kv); }, .input_bytes = state.size()};
  EXPECT_SAYS(expect_refused<rapt::format_error>(what, [&] { rapt::load_state(ctx, state, kv); }), "'projected.k' is missing");
  EXPECT_SAYS(expect_refused<rapt::format_error>(what, [&] { rapt::load_static_kv(ctx, state, kv); }), "'static.k' is missing");
  EXPECT_SAYS(expect_refused<rapt::format_error>(what, [&] { rapt::load_module<float>(ctx, state); }), "holds no weights");
}

TEST_F(load_refusals, hostile_weights_that_do_not_fit_together) {
  bits_module module = some_module(ctx, 1);
  const auto good = rapt::save_state(ctx, some_module(ctx, 2));
  const watched what{.object = [&] { return visible(ctx, module); }, .input_bytes = good.size()};
  const auto refuse = [&]<class Error>(Error*, auto edit) {
    loose_state loose(good);
    edit(loose);
    const auto bytes = loose.bytes();
    expect_refused<Error>(what, [&] { rapt::load_module<float>(ctx, bytes); });
    return expect_refused<Error>(what, [&] { rapt::load_state(ctx, bytes, module); });
  };
  rapt::format_error* const format = nullptr;
  EXPECT_SAYS(refuse(format, [](loose_state& s) { s.tensors.erase("weights.w_out"); }), "w_out");
  EXPECT_SAYS(refuse(format, [](loose_state& s) { s.tensors.erase("weights.w_v"); }), "w_v");
  EXPECT_SAYS(refuse(format, [](loose_state& s) { s.tensors["weights.w_kv"] = s.at("weights.w_q"); }), "w_kv");
  EXPECT_SAYS(refuse(format, [](loose_state& s) { s.rename("weights.w_q", "weights.w_qq"); }), "'weights.w_qq' is no part of a state");
  EXPECT_SAYS(refuse(format, [](loose_state& s) { s.at("weights.w_k").shape = {4, 3, 10}; }), "w_k has shape [4, 3, 10]");
  EXPECT_SAYS(refuse((rapt::config_error*)nullptr,
                     [](loose_state& s) {
                       s.at("weights.w_k").type = dtype::i64, s.at("weights.w_k").shape = {3, 2, 10};
                     }),
              "'weights.w_k' is I64");
  rapt::attention_config other = small_config();
  other.causal = false;
  const auto of_other = rapt::save_state(ctx, some_module(ctx, 2, other));
  EXPECT_SAYS(expect_refused<rapt::config_error>(what, [&] { rapt::load_state(ctx, of_other, module); }), "config.causal: false and true");
}

TEST_F(load_refusals, hostile_18_nan_and_infinity_are_data) {
  loose_state loose(state);
  auto& v = loose.at("layers.0.cache.0.v").bytes;
  auto& k = loose.at("layers.0.cache.0.k").bytes;
  std::fill(k.begin(), k.end(), std::byte{0x3c});
  std::fill(v.begin(), v.end(), std::byte{0x3c});
  for (const char* name : {"layers.1.cache.0.k", "layers.1.cache.0.v"})
    std::fill(loose.at(name).bytes.begin(), loose.at(name).bytes.end(), std::byte{0x3c});
  EXPECT_FALSE(safetensors::validate_finite(safetensors::parse(loose.bytes())));
  const std::uint16_t nan = 0x7e01, infinity = 0xfc00;
  std::memcpy(v.data() + 2 * 17, &infinity, 2);
  std::memcpy(v.data() + 2 * 40, &nan, 2);
  const auto bytes = loose.bytes();
  EXPECT_SAYS(safetensors::validate_finite(safetensors::parse(bytes)).message, "'layers.0.cache.0.v': element 17 of F16 [21, 3, 5]");
  rapt::load_state(ctx, bytes, cache, empty);
  std::vector<std::byte> k_out(k.size()), v_out(v.size());
  cache.export_layer(ctx, empty, 0, 0, 21, k_out.data(), v_out.data());
  EXPECT_EQ(v_out, v);
}

TEST_F(load_refusals, hostile_18_nan_in_weights_keeps_its_bits) {
  loose_state loose(rapt::save_state(ctx, some_module(ctx, 2)));
  auto& w = loose.at("weights.w_q");
  ASSERT_EQ(w.type, dtype::f32);
  const std::uint32_t signalling = 0x7f800001, negative = 0xffc12345;
  std::memcpy(w.bytes.data() + 4 * 7, &signalling, 4);
  std::memcpy(w.bytes.data() + 4 * 11, &negative, 4);
  const auto bytes = loose.bytes();
  EXPECT_SAYS(safetensors::validate_finite(safetensors::parse(bytes)).message, "'weights.w_q': element 7 of ");
  EXPECT_EQ(rapt::save_state(ctx, rapt::load_module<float>(ctx, bytes)), bytes);
}

TEST_F(load_refusals, hostile_37b_a_step_is_open) {
  rapt::basic_step<bits_backend> step = cache.begin_step({{full, 1}});
  expect_load_refused<rapt::state_error>(state);
  EXPECT_EQ(step.num_rows(), 1);
}

TEST_F(load_refusals, hostile_45_receivers_that_were_moved_from) {
  bits_cache taken = std::move(cache);
  bits_sequence s;
  EXPECT_THROW(rapt::load_state(ctx, state, cache, s), rapt::state_error);  // NOLINT(bugprone-use-after-move): the subject
  EXPECT_THROW(rapt::save_state(ctx, cache, full), rapt::state_error);
  cache = std::move(taken);
}

}  // namespace
