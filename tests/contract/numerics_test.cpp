// The choice of an id: who may have cpu-bf16dot-v1, and where it is reported. Its bits: *_model_test.cpp.
#include <contract/random_operands.hpp>
#include <rapt/rapt.hpp>

namespace rapt_test::contract {
namespace {

constexpr const char* by_pairs = "cpu-bf16dot-v1";

rapt::attention_config small_config(const char* numerics) {
  rapt::attention_config c;
  c.model_dim = 16, c.num_heads = 2, c.causal = true, c.numerics = numerics;
  return c;
}
template <class T>
rapt::multi_head_attention<T> small_module(rapt::cpu::context& ctx, const rapt::attention_config& config) {
  static const std::vector<float> w(3 * 16 * 16, 0.125f);
  rapt::attention_weights weights;
  weights.w_qkv = {w.data(), dtype::f32, std::vector<index_t>{3, 2, 8, 16}};
  weights.w_out = {w.data(), dtype::f32, std::vector<index_t>{2, 8, 16}};
  return rapt::multi_head_attention<T>(ctx, config, weights);
}
template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const rapt::config_error& e) { return e.what(); }
  return "nothing was thrown";
}

TEST(numerics, by_pairs_is_refused_where_the_instruction_is_missing_and_for_other_types) {
  rapt::cpu::context ctx({.num_threads = 1, .instruction_set = rapt::cpu::isa::portable});
  const std::string missing = message_of([&] { small_module<rapt::bf16>(ctx, small_config(by_pairs)); });
  EXPECT_EQ(missing.find("attention_config: numerics is cpu-bf16dot-v1; "), 0u) << missing;
  EXPECT_TRUE(missing.find("this CPU does not have AVX512_BF16") != std::string::npos ||
              missing.find("instruction set avx3 is needed; the context's is portable") != std::string::npos)
      << missing;
  EXPECT_EQ(message_of([&] { small_module<float>(ctx, small_config(by_pairs)); }),
            "attention_config: numerics is cpu-bf16dot-v1; it is for bf16; activations are f32, keys and values f32");
  EXPECT_EQ(message_of([&] { small_module<float>(ctx, small_config("cpu-v2")); }),
            "attention_config: numerics is cpu-v2; this backend has cpu-v1 and cpu-bf16dot-v1");
  EXPECT_EQ(message_of([&] { static_cast<void>(rapt::explain<rapt::bf16>(ctx, small_config(by_pairs), {})); }), missing);
  rapt::attention_config stored = small_config(by_pairs);
  stored.kv_dtype = dtype::bf16;
  EXPECT_EQ(message_of([&] { rapt::kv_cache(ctx, stored, {.max_tokens = 16}); }), missing);

  std::vector<rapt::bf16> q(16, rapt::bf16(1.0f)), out(16, rapt::bf16(7.0f));
  const std::vector<rapt::bf16> before = out;
  const auto rows = rapt::view(q.data(), 1, 1, 2, 8);
  EXPECT_EQ(message_of([&] { rapt::attend(ctx, rows, rows, rows, rapt::view(out.data(), 1, 1, 2, 8), {.numerics = by_pairs}); }),
            "attend" + missing.substr(std::string("attention_config").size()));
  EXPECT_EQ(out, before);
}

TEST(numerics, by_pairs_is_reported_by_explain_caches_and_state_files_and_goes_with_its_own_caches) {
  rapt::cpu::context ctx({.num_threads = 1, .instruction_set = rapt::cpu::isa::portable});
  ctx.internals().has_bf16_pairs = true;
  const auto pairs = small_module<rapt::bf16>(ctx, small_config(by_pairs)), usual = small_module<rapt::bf16>(ctx, small_config(""));
  const rapt::explanation e = rapt::explain<rapt::bf16>(ctx, pairs.config(), {.weights = dtype::f32});
  EXPECT_EQ(e.numerics, by_pairs);
  EXPECT_NE(e.attention_kernel.find("pairs of bf16"), std::string::npos) << e.attention_kernel;
  EXPECT_EQ(e.weight_bytes, pairs.weight_bytes());
  EXPECT_EQ(pairs.weights(ctx).front().type, dtype::bf16);

  rapt::kv_cache cache(ctx, pairs.config(), {.max_tokens = 16});
  EXPECT_EQ(cache.numerics(), by_pairs);
  rapt::sequence sequence = cache.add_sequence();
  const std::vector<rapt::bf16> x(16, rapt::bf16(0.5f));
  std::vector<rapt::bf16> y(16);
  const auto in = rapt::view(x.data(), 1, 16);
  const auto out = rapt::view(y.data(), 1, 16);
  EXPECT_EQ(message_of([&] { usual.forward(ctx, in, rapt::append(cache, sequence), out); }),
            "forward: kv_cache has numerics cpu-bf16dot-v1; the module's is cpu-v1");
  pairs.forward(ctx, in, rapt::append(cache, sequence), out);
  EXPECT_EQ(sequence.kv_len(), 1);

  const std::vector<std::byte> file = rapt::save_state(ctx, cache, sequence);
  const std::string text(reinterpret_cast<const char*>(file.data()), file.size());
  EXPECT_NE(text.find(R"("rapt.numerics":"cpu-bf16dot-v1")"), std::string::npos);
  rapt::kv_cache other(ctx, usual.config(), {.max_tokens = 16});
  rapt::sequence loaded = other.add_sequence();
  rapt::load_state(ctx, file, other, loaded);
  EXPECT_EQ(other.numerics(), "cpu-v1 + cpu-bf16dot-v1");
}

}  // namespace
}  // namespace rapt_test::contract
