// NaN and infinity where nothing may look have no effect; where a row looks they reach that row alone.
#include <contract/cache_rig.hpp>
#include <rapt/ops/attend.hpp>

namespace rapt_test::contract {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();

std::uint32_t bits_of(const std::vector<float>& x, index_t i) { return std::bit_cast<std::uint32_t>(x[static_cast<std::size_t>(i)]); }

/// attend on [1, len, heads, dim] tensors under a boolean mask of which hidden[row * kv_len + key] says what is hidden.
struct masked_attend {
  index_t q_len, kv_len, heads = 2, head_dim = 9, value_dim = 7;
  bool additive = false;
  std::vector<float> q, k, v;
  std::vector<char> hidden;

  masked_attend(random_source& random, index_t rows, index_t keys, bool with_additive_mask)
      : q_len(rows), kv_len(keys), additive(with_additive_mask) {
    q = random_values<float>(random, q_len * heads * head_dim), k = random_values<float>(random, kv_len * heads * head_dim);
    v = random_values<float>(random, kv_len * heads * value_dim);
    for (index_t i = 0; i < q_len * kv_len; ++i) hidden.push_back(random.chance(0.4) ? 1 : 0);
  }
  /// out [q_len, heads, value_dim] and, after them, lse [heads, q_len].
  std::vector<float> run(rapt::cpu::context& ctx) const {
    std::vector<float> out(static_cast<std::size_t>(q_len * heads * value_dim)), lse(static_cast<std::size_t>(heads * q_len)), floats;
    const auto bools = std::make_unique<bool[]>(hidden.size());
    for (std::size_t i = 0; i < hidden.size(); ++i) bools[i] = !hidden[i], floats.push_back(hidden[i] ? -infinity : 0.0f);
    rapt::attend_options options;
    if (additive)
      options.mask = rapt::view(floats.data(), 1, 1, q_len, kv_len);
    else
      options.mask = rapt::view(bools.get(), 1, 1, q_len, kv_len);
    rapt::attend(ctx, rapt::view(q.data(), 1, q_len, heads, head_dim), rapt::view(k.data(), 1, kv_len, heads, head_dim),
                 rapt::view(v.data(), 1, kv_len, heads, value_dim), rapt::view(out.data(), 1, q_len, heads, value_dim),
                 rapt::view(lse.data(), 1, heads, q_len), options);
    out.insert(out.end(), lse.begin(), lse.end());
    return out;
  }
};

/// Poison in key or value `j` of head `h`, dimension d: rows that do not see j keep their bits, others are NaN where they must be.
void expect_only_seeing_rows_change(masked_attend base, rapt::cpu::context& ctx, index_t j, index_t h, index_t d, bool in_key, float poison) {
  const std::vector<float> before = base.run(ctx);
  (in_key ? base.k : base.v)[static_cast<std::size_t>((j * base.heads + h) * (in_key ? base.head_dim : base.value_dim) + d)] = poison;
  const std::vector<float> after = base.run(ctx);
  for (index_t i = 0; i < base.q_len; ++i)
    for (index_t head = 0; head < base.heads; ++head) {
      const bool sees = head == h && !base.hidden[static_cast<std::size_t>(i * base.kv_len + j)];
      for (index_t c = 0; c < base.value_dim; ++c) {
        const index_t at = (i * base.heads + head) * base.value_dim + c;
        if (sees && poison != poison && (in_key || c == d)) {
          ASSERT_EQ(bits_of(after, at), 0x7fc00000u) << "row " << i << " sees key " << j << ": the canonical NaN is due";
        } else if (!sees || (!in_key && c != d)) {
          ASSERT_EQ(bits_of(after, at), bits_of(before, at)) << "row " << i << ", head " << head << ", key " << j;
        }
      }
      const index_t at = base.q_len * base.heads * base.value_dim + head * base.q_len + i;
      if (!sees || !in_key) { ASSERT_EQ(bits_of(after, at), bits_of(before, at)) << "lse of row " << i; }
    }
}

TEST(poison, reaches_the_rows_that_see_it_at_every_offset_of_a_tile) {
  random_source random(11);
  for (const bool additive : {false, true}) {
    const masked_attend base(random, 7, 67, additive);
    for (const rapt::cpu::isa set : rapt::cpu::available_isas())
      for (index_t j = 0; j < base.kv_len; ++j)
        for (const float poison : {nan, infinity, -infinity})
          for (const bool in_key : {true, false}) {
            const index_t dim = in_key ? base.head_dim : base.value_dim;
            expect_only_seeing_rows_change(base, context_for(set, 1), j, random.below(base.heads), random.below(dim), in_key, poison);
            if (HasFatalFailure()) return;
          }
  }
}

TEST(poison, reaches_the_rows_that_see_it_far_into_a_sequence) {
  random_source random(12);
  for (const index_t q_len : {1, 5}) {
    const masked_attend base(random, q_len, 9'000, false);
    for (int n = 0; n < 40; ++n) {
      expect_only_seeing_rows_change(base, context_for(rapt::cpu::isa::automatic, 2), random.below(base.kv_len), 0, 0, random.chance(0.5),
                                     random.pick({nan, infinity}));
      if (HasFatalFailure()) return;
    }
  }
}

TEST(poison, behind_causal_window_and_kv_lens_has_no_effect) {
  random_source random(13);
  const index_t len = 70, dim = 5;
  const std::vector<float> q = random_values<float>(random, len * dim), k = random_values<float>(random, len * dim),
                           v = random_values<float>(random, len * dim);
  const auto run = [&](const std::vector<float>& keys, const std::vector<float>& values, const rapt::attend_options& options) {
    std::vector<float> out(static_cast<std::size_t>(len * dim));
    rapt::attend(context_for(rapt::cpu::isa::automatic, 2), rapt::view(q.data(), 1, len, 1, dim), rapt::view(keys.data(), 1, len, 1, dim),
                 rapt::view(values.data(), 1, len, 1, dim), rapt::view(out.data(), 1, len, 1, dim), options);
    return out;
  };
  const std::vector<index_t> lens{41};
  const rapt::attend_options hidden_late{.causal = true}, hidden_early{.window = {.left = 3}}, cut{.kv_lens = lens};
  for (const float poison : {nan, infinity})
    for (index_t j = 0; j < len; ++j) {
      std::vector<float> keys = k, values = v;
      keys[static_cast<std::size_t>(j * dim + j % dim)] = values[static_cast<std::size_t>(j * dim + (j + 1) % dim)] = poison;
      const auto expect_rows = [&](const rapt::attend_options& options, index_t first, index_t end) {
        const std::vector<float> got = run(keys, values, options), expected = run(k, v, options);
        for (index_t i = first * dim; i < end * dim; ++i) ASSERT_EQ(bits_of(got, i), bits_of(expected, i)) << "key " << j << ", row " << i / dim;
      };
      expect_rows(hidden_late, 0, j);
      expect_rows(hidden_early, j + 4, len);
      if (j >= lens[0]) expect_rows(cut, 0, len);
      if (HasFatalFailure()) return;
    }
}

TEST(poison, in_unused_slots_of_pages_has_no_effect) {
  cache_rig rig(90);
  const rapt::cache_limits limits = rig.limits(300);
  const std::size_t bytes = rapt::cache_bytes(rig.config, limits);
  std::vector<std::byte> results[2];
  for (const int fill : {0, 0xff}) {  // zeros, NaNs
    nan_memory memory(static_cast<index_t>(bytes));
    std::fill_n(memory.data(), bytes, static_cast<std::byte>(fill));
    rapt::cache_limits in_memory = limits;
    in_memory.storage = {memory.data(), bytes};
    rapt::kv_cache cache(rig.ctx, rig.config, in_memory);
    const rapt::sequence a = cache.add_sequence(), b = cache.add_sequence();
    std::vector<std::byte>& y = results[fill == 0 ? 0 : 1];
    for (const auto& [sequence, first, count] : {std::tuple{&a, 0, 1}, {&b, 3, 19}, {&a, 1, 30}, {&b, 22, 1}}) {
      const std::vector<std::byte> rows = rig.append(cache, *sequence, first, count);
      y.insert(y.end(), rows.begin(), rows.end());
    }
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(poison, left_in_a_workspace_by_an_earlier_call_has_no_effect) {
  random_source random(14);
  const masked_attend clean(random, 9, 700, false);
  masked_attend poisoned = clean;
  for (std::vector<float>* all : {&poisoned.q, &poisoned.k, &poisoned.v}) std::fill(all->begin(), all->end(), nan);
  for (const rapt::cpu::isa set : rapt::cpu::available_isas()) {
    rapt::cpu::context fresh({.num_threads = 2, .instruction_set = set}), used({.num_threads = 2, .instruction_set = set});
    const std::vector<float> expected = clean.run(fresh);
    poisoned.run(used);
    EXPECT_EQ(bytes_of(clean.run(used)), bytes_of(expected));
  }
}

TEST(poison, in_one_row_of_x_reaches_the_rows_that_see_its_key_alone) {
  cache_rig rig(40);
  const auto run = [&](const std::vector<float>& x) {
    std::vector<float> y(static_cast<std::size_t>(2 * 20 * rig.config.output_dim));
    rig.layers[0].forward(rig.ctx, rapt::view(x.data(), 2, 20, rig.config.model_dim), rapt::self_kv{},
                          rapt::view(y.data(), 2, 20, rig.config.output_dim));
    return y;
  };
  const std::vector<float> expected = run(rig.x);
  const index_t row = 20 + 11;  // of the second batch row
  std::vector<float> x = rig.x;
  x[static_cast<std::size_t>(row * rig.config.model_dim + 3)] = nan;
  const std::vector<float> got = run(x);
  for (index_t i = 0; i < 40; ++i)
    for (index_t o = 0; o < rig.config.output_dim; ++o) {
      const index_t at = i * rig.config.output_dim + o;
      if (i < row) {
        EXPECT_EQ(bits_of(got, at), bits_of(expected, at)) << "row " << i;
      } else {
        EXPECT_TRUE(std::isnan(got[static_cast<std::size_t>(at)])) << "row " << i;
      }
    }
}

}  // namespace
}  // namespace rapt_test::contract
