// Attention against the naive float64 oracle, and its laws: rows, chunks, pages, threads and instruction sets do not change a bit.
// (tests/contract holds every bit against scalar code.)
#include <cpu/rig.hpp>
#include <rapt/ops/rope.hpp>

namespace rapt_test {
namespace {

struct shape {
  index_t batch, q_len, kv_len, heads, kv_heads, head_dim, value_dim;
};

/// 64 eps of the coarser type times the largest expected value: the bound of parity fixtures without a peer's result.
template <class T>
constexpr double eps = sizeof(T) == 8              ? 0x1p-52
                       : sizeof(T) == 4            ? 0x1p-23
                       : dtype_of<T> == dtype::f16 ? 0x1p-10
                                                   : 0x1p-7;

template <class T>
void expect_like_reference(cpu::context& ctx, const shape& s, const attend_options& options) {
  const auto q = random_values<T>(11, s.batch * s.q_len * s.heads * s.head_dim),
             k = random_values<T>(12, s.batch * s.kv_len * s.kv_heads * s.head_dim);
  const auto v = random_values<T>(13, s.batch * s.kv_len * s.kv_heads * s.value_dim);
  std::vector<T> out(static_cast<std::size_t>(s.batch * s.q_len * s.heads * s.value_dim));
  std::vector<accumulator_t<T>> lse(static_cast<std::size_t>(s.batch * s.heads * s.q_len));
  std::vector<double> expected(out.size()), expected_lse(lse.size());
  const auto qv = view(q.data(), s.batch, s.q_len, s.heads, s.head_dim), kv = view(k.data(), s.batch, s.kv_len, s.kv_heads, s.head_dim);
  const auto vv = view(v.data(), s.batch, s.kv_len, s.kv_heads, s.value_dim);
  attend(ctx, qv, kv, vv, view(out.data(), s.batch, s.q_len, s.heads, s.value_dim), view(lse.data(), s.batch, s.heads, s.q_len), options);
  attend_reference<T>(qv, kv, vv, view(expected.data(), s.batch, s.q_len, s.heads, s.value_dim), view(expected_lse.data(), s.batch, s.heads, s.q_len),
                      options);
  const double bound = sizeof(T) == 8 ? 1e-12 : 64 * eps<T>;
  EXPECT_LE(max_difference(out, expected), bound * std::max(1.0, max_abs(expected)));
  double largest_lse = 1;
  for (const double x : expected_lse) largest_lse = std::isinf(x) ? largest_lse : std::max(largest_lse, std::abs(x));
  EXPECT_LE(max_difference(lse, expected_lse), (sizeof(T) == 8 ? 1e-12 : 64 * 0x1p-23) * largest_lse);
}

class attend_in : public testing::TestWithParam<cpu::isa> {
 protected:
  cpu::context ctx{{.num_threads = 2, .instruction_set = GetParam()}};
};
INSTANTIATE_TEST_SUITE_P(, attend_in, testing::ValuesIn(cpu::available_isas()),
                         [](const auto& info) { return std::string(cpu::name_of(info.param)); });

TEST_P(attend_in, odd_extents_of_every_type_agree_with_the_reference) {
  for (const shape& s :
       {shape{1, 1, 1, 1, 1, 1, 1}, {2, 3, 17, 4, 2, 5, 7}, {1, 13, 65, 6, 2, 33, 16}, {3, 2, 63, 3, 1, 64, 65}, {1, 30, 520, 2, 2, 130, 3}}) {
    expect_like_reference<double>(ctx, s, {});
    expect_like_reference<float>(ctx, s, {.causal = true});
    expect_like_reference<bf16>(ctx, s, {.causal = true});
    expect_like_reference<f16>(ctx, s, {});
  }
}

TEST_P(attend_in, every_option_agrees_with_the_reference) {
  const shape s{2, 19, 83, 6, 3, 24, 20};
  const std::vector<double> slopes = alibi_slopes(s.heads), sinks(slopes.rbegin(), slopes.rend());
  const std::vector<index_t> lens{83, 40},
      q_positions =
          [] {
            std::vector<index_t> p;
            for (index_t i = 0; i < 19; ++i) p.push_back((i * 37) % 90);
            return p;
          }(),
      k_positions = [] {
        std::vector<index_t> p;
        for (index_t j = 0; j < 83; ++j) p.push_back((j * 53) % 95);
        return p;
      }();
  std::vector<float> additive = random_values<float>(14, s.heads * s.q_len * s.kv_len);
  const auto visible = std::make_unique<bool[]>(static_cast<std::size_t>(2 * s.q_len * s.kv_len));
  for (index_t i = 0; i < 2 * s.q_len * s.kv_len; ++i) visible[static_cast<std::size_t>(i)] = (i * 2654435761u >> 7) % 3 != 0;
  for (std::size_t i = 0; i < additive.size(); i += 5) additive[i] = -std::numeric_limits<float>::infinity();
  for (const attend_options& o : std::vector<attend_options>{
           {.causal = true, .window = {.left = 20}},
           {.window = {.left = 3, .right = 10}},
           {.softmax_scale = -0.7, .softcap = 5.0},
           {.causal = true, .alibi_slopes = slopes},
           {.sink_logits = sinks},
           {.kv_lens = lens},
           {.causal = true, .alibi_slopes = slopes, .q_positions = q_positions, .k_positions = k_positions},
           {.mask = view(static_cast<const bool*>(visible.get()), index_t{2}, index_t{1}, s.q_len, s.kv_len)},
           {.softcap = 3.0, .mask = view(static_cast<const float*>(additive.data()), index_t{1}, s.heads, s.q_len, s.kv_len)},
       })
    expect_like_reference<float>(ctx, s, o);
}

TEST_P(attend_in, many_short_sequences_agree_with_the_reference) {
  // So many that one worker takes all heads of one; groups of 5 heads, whose rows a block of 96 cuts in the middle of a query.
  for (const shape& s : {shape{70, 5, 7, 6, 3, 20, 24}, {40, 30, 7, 10, 2, 8, 8}, {64, 1, 40, 4, 4, 16, 16}}) {
    expect_like_reference<float>(ctx, s, {});
    expect_like_reference<bf16>(ctx, s, {.causal = s.q_len <= s.kv_len});
  }
}

TEST_P(attend_in, large_logits_agree_with_the_reference) { expect_like_reference<float>(ctx, {1, 5, 700, 2, 1, 64, 16}, {.softmax_scale = 30.0}); }

TEST_P(attend_in, rows_chunks_pages_threads_and_instruction_sets_give_the_same_bits) {
  // Lengths on both sides of a segment, a super-segment and the drivers' choice between blocks and split keys.
  for (const auto& [len, dim] : {std::pair<index_t, index_t>{70, 130}, {513, 33}, {1100, 64}, {8200, 16}}) {
    const index_t heads = 6, kv_heads = 2;
    const auto k = random_values<float>(21, len * kv_heads * dim), v = random_values<float>(22, len * kv_heads * dim),
               q = random_values<float>(23, len * heads * dim);
    cpu::context serial({.num_threads = 1});
    packed_cache whole(dtype::bf16, kv_heads, dim, dim, len, 0);
    whole.append(serial, k, v, 0, len);
    const index_t rows = std::min<index_t>(len, 150), first = len - rows;
    const cached_attention<float> expected(serial, whole, q, heads, first, rows);
    for (const index_t page_len : {16, 48, 64, 80}) {
      packed_cache paged(dtype::bf16, kv_heads, dim, dim, len, page_len);
      for (index_t at = 0, piece = 1; at < len; at += piece, piece = std::min<index_t>(len - at, piece * 3 + 1))
        paged.append(ctx, k, v, at, std::min(piece, len - at));
      std::vector<float> out, lse;
      for (index_t at = 0, piece = 1; at < rows; piece = std::min<index_t>(40, piece * 2 + 1)) {
        const index_t count = std::min(piece, rows - at);
        const cached_attention<float> part(ctx, paged, q, heads, first + at, count);
        out.insert(out.end(), part.out.begin(), part.out.end());
        at += count;
      }
      EXPECT_TRUE(same_bits(out, expected.out)) << "len " << len << ", pages of " << page_len;
      EXPECT_TRUE(same_bits(cached_attention<float>(ctx, paged, q, heads, first, rows).lse, expected.lse));
    }
  }
}

TEST_P(attend_in, a_lone_query_has_the_same_bits_the_short_way_and_the_long_way) {
  // The log-sum-exp is what only the long way gives.
  const auto compare = [&]<class T>(const packed_cache& cache, const std::vector<T>& q, index_t heads, index_t len, const attend_params& options) {
    cached_attention<T> long_way(ctx, cache, q, heads, len - 1, 1, options);
    std::vector<T> out(long_way.out.size(), T(-1.0f));
    attend_params p = long_way.p;
    p.sequences = &long_way.sequence, p.lse = {}, p.out.data = out.data();
    // Less than was measured is enough for the short way.
    run_in_workspace(ctx, [&](workspace& scratch) { cpu::backend::attend(ctx, p, scratch); });
    EXPECT_TRUE(same_bits(out, long_way.out)) << heads << " heads, " << cache.kv.num_heads << " KV heads, " << len << " keys";
  };
  attend_params all, window;
  window.window_left = 20;
  for (const auto& [heads, kv_heads] : {std::pair<index_t, index_t>{1, 1}, {3, 3}, {20, 20}, {8, 2}, {15, 5}, {12, 1}, {26, 2}})
    for (const index_t len : {1, 16, 19, 100, 512})
      for (const index_t page_len : {0, 16, 48}) {
        const index_t dim = len == 100 ? 130 : 20, value_dim = 24;
        auto k = random_values<float>(51, len * kv_heads * dim);
        const auto v = random_values<float>(52, len * kv_heads * value_dim), q = random_values<float>(53, len * heads * dim);
        for (const bool overflows : {false, true}) {
          if (overflows) k[static_cast<std::size_t>(len / 2 * kv_heads * dim)] = std::numeric_limits<float>::infinity();
          packed_cache f32(dtype::f32, kv_heads, dim, value_dim, len, page_len), f16_keys(dtype::f16, kv_heads, dim, value_dim, len, page_len);
          f32.append(ctx, k, v, 0, len), f16_keys.append(ctx, k, v, 0, len);
          for (const attend_params& options : {all, window}) {
            compare(f32, q, heads, len, options), compare(f16_keys, q, heads, len, options);
            compare(f16_keys, random_values<bf16>(53, len * heads * dim), heads, len, options);
          }
        }
      }
}

TEST_P(attend_in, masked_nan_keys_and_values_have_no_effect) {
  const index_t len = 600, heads = 4, dim = 20;
  auto k = random_values<double>(31, len * heads * dim), v = random_values<double>(32, len * heads * dim);
  const auto q = random_values<double>(33, len * heads * dim);
  // Packed lanes and columns that no key owns are NaN in every packed_cache.
  packed_cache clean(dtype::f64, heads, dim, dim, len, 16);
  clean.append(ctx, k, v, 0, len);
  const cached_attention<double> expected(ctx, clean, q, heads, 100, 200);
  for (index_t i = 300 * heads * dim; i < len * heads * dim; ++i) k[static_cast<std::size_t>(i)] = v[static_cast<std::size_t>(i)] = std::nan("");
  packed_cache poisoned(dtype::f64, heads, dim, dim, len, 16);
  poisoned.append(ctx, k, v, 0, len);
  EXPECT_TRUE(same_bits(cached_attention<double>(ctx, poisoned, q, heads, 100, 200).out, expected.out));

  attend_params window;
  window.window_left = 50;
  packed_cache early(dtype::f64, heads, dim, dim, len, 16);
  auto early_v = random_values<double>(32, len * heads * dim);
  for (index_t i = 0; i < 50 * heads * dim; ++i) early_v[static_cast<std::size_t>(i)] = std::nan("");
  early.append(ctx, random_values<double>(31, len * heads * dim), early_v, 0, len);
  EXPECT_TRUE(same_bits(cached_attention<double>(ctx, early, q, heads, 100, 200, window).out,
                        cached_attention<double>(ctx, clean, q, heads, 100, 200, window).out));
}

TEST_P(attend_in, an_unmasked_nan_reaches_its_row_alone) {
  const index_t len = 40, dim = 8;
  auto v = random_values<float>(42, len * dim);
  v[20 * dim + 3] = std::numeric_limits<float>::quiet_NaN();
  packed_cache cache(dtype::f32, 1, dim, dim, len, 0);
  cache.append(ctx, random_values<float>(41, len * dim), v, 0, len);
  const cached_attention<float> got(ctx, cache, random_values<float>(43, len * dim), 1, 0, len);
  for (index_t i = 0; i < len; ++i)
    for (index_t d = 0; d < dim; ++d) EXPECT_EQ(std::isnan(got.out[static_cast<std::size_t>(i * dim + d)]), i >= 20 && d == 3) << i << ", " << d;
}

TEST_P(attend_in, dropout_keeps_the_share_it_should_and_the_expectation) {
  // Equal keys and values of one: out is the kept share over the kept probability.
  const index_t rows = 64, len = 1000;
  const std::vector<float> q(rows, 1), k(len, 0), v(len, 1);
  std::vector<float> out(rows), again(rows);
  const auto attended = [&](std::vector<float>& to, std::uint64_t seed) {
    attend(ctx, view(q.data(), index_t{1}, rows, index_t{1}, index_t{1}), view(k.data(), index_t{1}, len, index_t{1}, index_t{1}),
           view(v.data(), index_t{1}, len, index_t{1}, index_t{1}), view(to.data(), index_t{1}, rows, index_t{1}, index_t{1}),
           {.dropout_p = 0.25, .dropout = dropout_state{seed, 0}});
  };
  attended(out, 5), attended(again, 5);
  EXPECT_TRUE(same_bits(again, out));
  attended(again, 6);
  EXPECT_FALSE(same_bits(again, out));
  double mean = 0;
  for (const float x : out) mean += static_cast<double>(x) / static_cast<double>(rows);
  // Deviation of a mean of 64,000 draws: sqrt(0.25 / 0.75 / 64,000) = 0.0023; five of them.
  EXPECT_NEAR(mean, 1, 0.0115);
}

}  // namespace
}  // namespace rapt_test
