// multi_head_attention against the scalar model of the whole module: self, cross, stored and chunked appends, for random configs and weights.
#include <contract/module_model.hpp>

namespace rapt_test::contract {
namespace {

template <class T>
class module_comparison {
 public:
  using A = rapt::accumulator_t<T>;

  module_comparison(random_source& random, const config_limits& limits, index_t len, std::string_view numerics = {})
      : random_(random),
        config_(with_numerics(make_config(random, limits, rapt::dtype_of<T>), numerics)),
        weights_(make_weights(random, config_, random.pick({dtype::f64, dtype::f32, dtype::bf16, dtype::f16}))),
        model_(config_, weights_.views),
        len_(len),
        residual_(config_.model_dim == config_.output_dim && random.chance(0.4)),
        x_(random_values<T>(random, len * config_.model_dim, random.pick<double>({1.0, 5.0}))) {}

  void run() {
    const bool crosses = random_.chance(0.4);
    const index_t kv_len = crosses ? random_.between(1, 40) : len_;
    const std::vector<T> x_kv = crosses ? random_values<T>(random_, kv_len * config_.model_dim) : x_;
    std::vector<typename module_model<A>::token> tokens;
    // Keys of another tensor are rotated by their index and a query by its default position; self-attention's are one and the same.
    for (index_t j = 0; j < kv_len; ++j) tokens.push_back(model_.make_token(row_of(x_kv, j), j));
    std::vector<T> y(static_cast<std::size_t>(len_ * config_.output_dim));
    std::vector<A> lse(static_cast<std::size_t>(config_.num_heads * len_));
    for (index_t i = 0; i < len_; ++i) {
      const auto expected = model_.attend(
          row_of(x_, i), kv_len - len_ + i, tokens, [](index_t) { return true; }, residual_);
      for (index_t o = 0; o < config_.output_dim; ++o)
        store<A>(rapt::dtype_of<T>, y.data(), i * config_.output_dim + o, expected.y[static_cast<std::size_t>(o)]);
      for (index_t h = 0; h < config_.num_heads; ++h) lse[static_cast<std::size_t>(h * len_ + i)] = expected.lse[static_cast<std::size_t>(h)];
    }
    on_every_context(
        random_,
        [&](rapt::cpu::context& ctx) {
          const rapt::multi_head_attention<T> module(ctx, config_, weights_.views);
          std::vector<T> got(y.size());
          std::vector<A> got_lse(lse.size());
          const auto x = rapt::view(x_.data(), len_, config_.model_dim);
          const auto keys = rapt::view(x_kv.data(), kv_len, config_.model_dim);
          const auto out = rapt::view(got.data(), len_, config_.output_dim);
          const rapt::forward_options options{.residual = residual_, .lse = rapt::view(got_lse.data(), config_.num_heads, len_)};
          const auto check = [&](const char* what) {
            expect_same_bytes(bytes_of(got), bytes_of(y), rapt::dtype_of<T>, what);
            expect_same_bytes(bytes_of(got_lse), bytes_of(lse), rapt::dtype_of<A>, "lse");
            std::fill(got.begin(), got.end(), T{});
          };
          if (crosses) {
            module.forward(ctx, x, rapt::cross(keys), out, options);
            check("cross");
            rapt::projected_kv kv(ctx, module.config());
            module.forward(ctx, x, rapt::store(kv, keys), out, options);
            check("store");
            module.forward(ctx, x, rapt::stored(kv), out, options);
            check("stored");
            return;
          }
          module.forward(ctx, x, rapt::self_kv{}, out, options);
          check("self_kv");
          if (!config_.causal) return;
          rapt::kv_cache cache(ctx, module.config(), {.max_tokens = len_, .page_len = random_.pick<index_t>({16, 48, 64, 80})});
          const rapt::sequence sequence = cache.add_sequence();
          for (index_t done = 0; done < len_;) {
            const index_t count = std::min(len_ - done, random_.between(1, len_));
            std::vector<A> part_lse(static_cast<std::size_t>(config_.num_heads * count));
            const rapt::forward_options part{.residual = residual_, .lse = rapt::view(part_lse.data(), config_.num_heads, count)};
            module.forward(ctx, rapt::view(x_.data() + done * config_.model_dim, count, config_.model_dim), rapt::append(cache, sequence),
                           rapt::view(got.data() + done * config_.output_dim, count, config_.output_dim), part);
            for (index_t h = 0; h < config_.num_heads; ++h) std::copy_n(part_lse.begin() + h * count, count, got_lse.begin() + h * len_ + done);
            done += count;
          }
          check("append");
        },
        rapt::adds_bf16_pairs(config_.numerics));
  }

 private:
  static attention_config with_numerics(attention_config c, std::string_view numerics) {
    c.numerics = numerics;
    if (rapt::adds_bf16_pairs(numerics)) c.kv_dtype = dtype::bf16;
    return c;
  }
  std::vector<A> row_of(const std::vector<T>& rows, index_t i) const {
    std::vector<A> x;
    for (index_t d = 0; d < config_.model_dim; ++d) x.push_back(load<A>(rapt::dtype_of<T>, rows.data(), i * config_.model_dim + d));
    return x;
  }
  random_source& random_;
  attention_config config_;
  random_weights weights_;
  module_model<A> model_;
  index_t len_;
  bool residual_;
  std::vector<T> x_;
};

void compare_many(std::uint64_t first_seed, int count, const config_limits& limits, const std::vector<index_t>& lens) {
  for (int i = 0; i < count && !testing::Test::HasFailure(); ++i) {
    const std::uint64_t seed = first_seed + static_cast<std::uint64_t>(i);
    SCOPED_TRACE("case " + std::to_string(seed));
    random_source random(seed);
    const index_t len = random.pick(lens);
    with_activation(random, [&](auto t) { module_comparison<decltype(t)>(random, limits, len).run(); });
  }
}

TEST(module_contract, small_modules) { compare_many(100'000, 400, {.must_be_causal = false}, {1, 2, 3, 15, 16, 17, 33}); }
TEST(module_contract, wide_modules) {
  compare_many(110'000, 30, {.dims = {63, 64, 65, 130}, .max_model_dim = 600, .must_be_causal = false}, {1, 5, 17});
}
TEST(module_contract, bf16_modules_by_pairs) {
  for (std::uint64_t seed = 130'000; seed < 130'200 && !HasFailure(); ++seed) {
    SCOPED_TRACE("case " + std::to_string(seed));
    random_source random(seed);
    const config_limits limits{.dims = {1, 3, 8, 16, 17, 130}, .max_model_dim = seed % 20 == 0 ? 600 : 40, .must_be_causal = false};
    module_comparison<rapt::bf16>(random, limits, random.pick<index_t>({1, 2, 3, 15, 16, 17, 33}), "cpu-bf16dot-v1").run();
  }
}
TEST(module_contract, sequences_of_more_than_one_segment) {
  compare_many(120'000, 6, {.dims = {3, 16}, .max_kv_heads = 2, .max_group = 2}, {513, 700});
}

}  // namespace
}  // namespace rapt_test::contract
