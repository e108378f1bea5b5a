#include <kernels/attend_prefill.hpp>
#include <tests/kernels/gpu_order_model.hpp>
#include <tests/kernels/schedules.hpp>

#include <cstring>
#include <random>

namespace {

namespace simt = rapt::simt;
using rapt::bf16;
using rapt::f16;
using rapt_test::allowed_error;
using rapt_test::attention_rig;
using rapt_test::attention_shape;
using rapt_test::error_of;
using rapt_test::for_each_row;
using rapt_test::layout;

constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();

template <class T>
void attend(attention_rig<T>& rig, unsigned num_blocks = 2) {
  std::vector<std::max_align_t> states(rapt::kernels::prefill_workspace_bytes(rig.problem, num_blocks) / sizeof(std::max_align_t) + 1);
  std::memset(static_cast<void*>(states.data()), 0xff, states.size() * sizeof states[0]);
  unsigned counter = 0;
  rapt::kernels::attend_prefill(rig.problem, states.data(), &counter, num_blocks, nullptr);
  EXPECT_EQ(counter, 0u) << "the next launch would begin in the middle";
}

template <class T>
std::vector<std::uint16_t> bits_of(const attention_rig<T>& rig, int sequence, int query, int head) {
  std::vector<std::uint16_t> bits;
  for (int d = 0; d < rig.shape.values(); ++d) bits.push_back(rig.row(sequence, query, head)[d].bits);
  return bits;
}
template <class T>
void expect_bits_of_the_model(const attention_rig<T>& rig) {
  for_each_row(rig, [&](int s, int i, int h) {
    if (testing::Test::HasFatalFailure()) return;
    const auto expected = rapt_test::gpu_order_model<T>(rig, s, i, h).row();
    ASSERT_EQ(bits_of(rig, s, i, h), expected.bits) << "sequence " << s << ", query " << i << ", head " << h;
    const float lse = rig.row_lse(s, i, h);
    ASSERT_EQ(simt::bits_of(lse), simt::bits_of(expected.lse)) << lse << " beside " << expected.lse << ": sequence " << s << ", query " << i;
  });
}

template <class T>
class prefill : public testing::Test {};
using element_types = testing::Types<f16, bf16>;
TYPED_TEST_SUITE(prefill, element_types);

TYPED_TEST(prefill, is_attention_for_odd_lengths_heads_and_windows) {
  for (const int head_dim : {64, 128})
    for (const bool causal : {false, true})
      for (const attention_shape& s :
           {attention_shape{}, attention_shape{.sequences = {{3, 65}}, .num_heads = 3},
            attention_shape{.sequences = {{130, 130}, {130, 130, 2}}, .num_heads = 4, .num_kv_heads = 2, .where = layout::dense},
            attention_shape{.sequences = {{65, 255}}, .window_left = 70}, attention_shape{.sequences = {{200, 129}}}}) {
        attention_shape shape = s;
        shape.head_dim = head_dim, shape.causal = causal;
        attention_rig<TypeParam> rig(shape);
        attend(rig);
        EXPECT_LT(error_of(rig), allowed_error<TypeParam>)
            << head_dim << ' ' << causal << ' ' << s.sequences[0].q_len << ' ' << s.sequences[0].kv_len;
      }
}

TYPED_TEST(prefill, gives_the_bits_of_the_contract) {
  for (const attention_shape& s :
       {attention_shape{.sequences = {{3, 65}, {3, 65, 2}}, .num_heads = 4, .num_kv_heads = 2, .head_dim = 128, .where = layout::dense},
        attention_shape{.sequences = {{33, 513}}, .causal = true},
        attention_shape{.sequences = {{5, 1100}, {1, 7, 2}}, .causal = true, .window_left = 600},
        attention_shape{.sequences = {{20, 150}}, .window_left = 20, .window_right = 70}}) {
    attention_rig<TypeParam> rig(s);
    attend(rig);
    expect_bits_of_the_model(rig);
    EXPECT_LT(error_of(rig), allowed_error<TypeParam>);
  }
}
TYPED_TEST(prefill, gives_the_bits_of_the_contract_over_super_segments) {
  attention_rig<TypeParam> rig({.sequences = {{2, 16384 + 600}}});
  attend(rig);
  expect_bits_of_the_model(rig);
  // The window begins in the middle of the first super-segment, and of a segment.
  attention_rig<TypeParam> window({.sequences = {{2, 16384 + 600}}, .window_left = 10000, .where = layout::pages, .page_len = 48});
  attend(window);
  expect_bits_of_the_model(window);
}

TYPED_TEST(prefill, heads_of_every_width_and_values_of_another_give_the_bits_of_the_contract) {
  for (const auto& [head_dim, value_dim] : {std::pair{1, 1},
                                            {17, 33},
                                            {64, 8},
                                            {72, 96},
                                            {96, 40},
                                            {100, 100},
                                            {24, 128},
                                            {130, 17},
                                            {192, 128},
                                            {40, 192},
                                            {256, 64},
                                            {200, 256},
                                            {255, 255}}) {
    attention_rig<TypeParam> rig(
        {.sequences = {{5, 70}, {30, 130, 2}}, .num_heads = 2, .head_dim = head_dim, .value_dim = value_dim, .causal = true});
    SCOPED_TRACE(std::to_string(head_dim) + " and " + std::to_string(value_dim));
    attend(rig);
    expect_bits_of_the_model(rig);
    EXPECT_LT(error_of(rig), allowed_error<TypeParam>);
  }
}

TYPED_TEST(prefill, the_widest_heads_fit_the_shared_memory_of_every_architecture) {
  const simt::emulator::scoped_device device(simt::emulator::schedules[0], simt::emulator::sm_80);
  for (const bool general : {false, true})
    for (const int head_dim : {64, 96, 128, 192, 256}) {
      attention_rig<TypeParam> rig({.sequences = {{1, 3}}, .head_dim = head_dim, .softcap = general ? 3.0 : 0.0});
      attend(rig);
      EXPECT_LT(error_of(rig), allowed_error<TypeParam>);
    }
}

TYPED_TEST(prefill, rows_that_are_no_whole_16_bytes_give_the_bits_of_those_that_are) {
  attention_shape shape{.sequences = {{33, 90}}, .num_heads = 2, .causal = true};
  attention_rig<TypeParam> aligned(shape);
  attend(aligned);
  shape.gap = 5;
  attention_rig<TypeParam> rig(shape);
  attend(rig);
  for_each_row(rig, [&](int s, int i, int h) { ASSERT_EQ(bits_of(rig, s, i, h), bits_of(aligned, s, i, h)); });
  EXPECT_TRUE(std::isnan(static_cast<float>(rig.row(0, 32, 1)[64]))) << "what lies behind a row is written";
}

TYPED_TEST(prefill, what_changes_and_hides_scores_one_by_one_gives_the_bits_of_the_contract) {
  const std::vector<rapt_test::lengths> sequences{{40, 70}, {3, 3, 2}, {1, 150, 3}};
  int problem = 0;
  for (const attention_shape& s : {attention_shape{.mask_visible = true}, attention_shape{.causal = true, .mask_added = true},
                                   attention_shape{.alibi = true}, attention_shape{.causal = true, .softcap = 2.5}, attention_shape{.sinks = true},
                                   attention_shape{.window_left = 30, .window_right = 9, .explicit_positions = true},
                                   attention_shape{.head_dim = 128, .causal = true, .mask_visible = true, .alibi = true, .sinks = true, .softcap = 7},
                                   attention_shape{.head_dim = 80,
                                   .value_dim = 200,
                                   .window_left = 33,
                                   .where = layout::pages,
                                   .mask_added = true,
                                   .alibi = true,
                                   .explicit_positions = true}}) {
    attention_shape shape = s;
    shape.sequences = sequences, shape.num_heads = 2;
    attention_rig<TypeParam> rig(shape);
    SCOPED_TRACE(problem++);
    attend(rig);
    expect_bits_of_the_model(rig);
    EXPECT_LT(error_of(rig), allowed_error<TypeParam>);
  }
}

TYPED_TEST(prefill, a_negative_scale_turns_scores_around_and_zero_makes_a_mean) {
  for (const double scale : {-0.2, 1e-60}) {
    attention_rig<TypeParam> rig({.sequences = {{5, 90}}, .causal = true, .softmax_scale = scale});
    attend(rig);
    expect_bits_of_the_model(rig);
    EXPECT_LT(error_of(rig), allowed_error<TypeParam>);
  }
}

/// A row's bits and lse, by its sequence's seed and its place among the queries, counted from the last.
template <class T>
void expect_the_rows_of(const attention_rig<T>& all, const attention_rig<T>& some) {
  for_each_row(some, [&](int s, int i, int h) {
    for (int of = 0; of < all.num_sequences(); ++of) {
      const int query = some.len(s).kv_len - some.len(s).q_len + i - (all.len(of).kv_len - all.len(of).q_len);
      if (all.len(of).seed != some.len(s).seed || query < 0 || query >= all.len(of).q_len) continue;
      ASSERT_EQ(bits_of(some, s, i, h), bits_of(all, of, query, h)) << "sequence " << s << ", query " << i << ", head " << h;
      ASSERT_EQ(simt::bits_of(some.row_lse(s, i, h)), simt::bits_of(all.row_lse(of, query, h)));
    }
  });
}

TYPED_TEST(prefill, a_row_has_the_same_bits_alone_in_chunks_in_pages_and_among_others) {
  for (const bool general : {false, true}) {
    const auto attended = [&](std::vector<rapt_test::lengths> sequences, layout where = layout::packed, int page_len = 16) {
      auto rig = std::make_unique<attention_rig<TypeParam>>(attention_shape{.sequences = std::move(sequences),
                                                                            .num_heads = 2,
                                                                            .causal = true,
                                                                            .window_left = 530,
                                                                            .where = where,
                                                                            .page_len = page_len,
                                                                            .alibi = general,
                                                                            .sinks = general,
                                                                            .softcap = general ? 3.0 : 0.0});
      attend(*rig, 3);
      return rig;
    };
    const auto all = attended({{200, 700}});
    for (const int last : {501, 530, 576, 577, 640, 699}) expect_the_rows_of(*all, *attended({{1, last}}));
    expect_the_rows_of(*all, *attended({{63, 563}}));
    expect_the_rows_of(*all, *attended({{137, 700}}));
    for (const int page_len : {16, 48, 64, 1024}) expect_the_rows_of(*all, *attended({{200, 700}}, layout::pages, page_len));
    expect_the_rows_of(*all, *attended({{130, 300, 2}, {1, 660}, {0, 500}, {200, 700}, {7, 8, 3}, {40, 690}}, layout::pages, 80));
  }
}

TYPED_TEST(prefill, many_sequences_of_all_lengths_are_drawn_from_one_launch) {
  for (const bool causal : {false, true}) {
    std::vector<rapt_test::lengths> sequences;
    for (int s = 0; s < 71; ++s)
      sequences.push_back({s % 5 == 3 ? 0 : s == 40 ? 300 : s % 4 + 1, s % 7 == 2 ? 0 : s % 13 + 3, static_cast<unsigned>(s)});
    attention_rig<TypeParam> rig({.sequences = sequences, .num_heads = 3, .num_kv_heads = 1, .causal = causal});
    attend(rig, 4);
    EXPECT_LT(error_of(rig), allowed_error<TypeParam>);
  }
}

TYPED_TEST(prefill, bits_are_the_same_for_every_schedule_and_number_of_blocks) {
  for (const attention_shape& shape :
       {attention_shape{.sequences = {{140, 600}}, .num_heads = 2, .causal = true},
        attention_shape{.sequences = {{20, 200}, {3, 130, 2}}, .head_dim = 256, .causal = true, .where = layout::pages},
        attention_shape{.sequences = {{20, 200}}, .head_dim = 90, .causal = true, .alibi = true}}) {
    attention_rig<TypeParam> first(shape);
    attend(first);
    rapt_test::under_every_schedule([&] {
      attention_rig<TypeParam> again(shape);
      attend(again, 3);
      expect_the_rows_of(first, again);
    });
  }
}

TYPED_TEST(prefill, scores_that_grow_and_fall_rescale_as_the_contract_says) {
  attention_rig<TypeParam> rig({.sequences = {{5, 1200}}});
  for (int key = 0; key < 1200; ++key)
    for (int d = 0; d < 64; ++d) {
      TypeParam& x = rig.key(0, key, 0)[d];
      x = TypeParam(static_cast<float>(x) * (key % 512 < 256 ? 0.02f * static_cast<float>(key % 512) : 0.5f));
    }
  attend(rig);
  expect_bits_of_the_model(rig);
  EXPECT_LT(error_of(rig), 4 * allowed_error<TypeParam>);
}

TYPED_TEST(prefill, a_query_that_sees_no_key_gives_positive_zero_and_an_infinite_lse) {
  rapt_test::under_every_schedule([] {
    for (const bool sinks : {false, true}) {
      attention_rig<TypeParam> rig({.sequences = {{140, 3}, {3, 0, 2}}, .causal = true, .sinks = sinks});
      attend(rig);
      for_each_row(rig, [&](int s, int i, int h) {
        if (s == 0 && i >= 137) return;
        for (const std::uint16_t bits : bits_of(rig, s, i, h)) ASSERT_EQ(bits, 0) << s << ' ' << i;
        ASSERT_EQ(rig.row_lse(s, i, h), -inf);
      });
      EXPECT_NE(bits_of(rig, 0, 137, 0)[0], 0);
    }
  });
}

TYPED_TEST(prefill, values_that_are_not_finite_reach_only_queries_that_see_them) {
  for (const bool general : {false, true}) {
    const attention_shape shape{.sequences = {{130, 130}}, .causal = true, .window_left = 60, .mask_visible = general};
    attention_rig<TypeParam> clean(shape);
    attend(clean);
    for (const float bad : {nan, inf})
      for (int key = 64; key < 128; key += 7) {
        attention_rig<TypeParam> rig(shape);
        rig.value(0, key, 0)[key % 64] = TypeParam(bad);
        rig.value(0, 127, 0)[3] = TypeParam(-bad);
        attend(rig);
        expect_bits_of_the_model(rig);
        for (int i = 0; i < 130; ++i) {
          const auto is = bits_of(rig, 0, i, 0), was = bits_of(clean, 0, i, 0);
          for (int d = 0; d < 64; ++d) {
            const bool reached = (d == key % 64 && rig.sees(0, 0, i, key)) || (d == 3 && rig.sees(0, 0, i, 127));
            ASSERT_EQ(!std::isfinite(static_cast<float>(rig.row(0, i, 0)[d])), reached) << key << ' ' << i << ' ' << d;
            if (!reached) { ASSERT_EQ(is[static_cast<std::size_t>(d)], was[static_cast<std::size_t>(d)]) << key << ' ' << i << ' ' << d; }
          }
        }
      }
  }
}

TYPED_TEST(prefill, keys_that_are_nan_reach_only_queries_that_see_them_as_the_canonical_nan) {
  for (const bool general : {false, true}) {
    const attention_shape shape{.sequences = {{130, 130}}, .causal = true, .mask_added = general};
    attention_rig<TypeParam> clean(shape), rig(shape);
    attend(clean);
    rig.key(0, 100, 0)[5] = TypeParam(nan);
    attend(rig);
    for (int i = 0; i < 130; ++i) {
      const bool seen = rig.sees(0, 0, i, 100);
      if (!seen) { ASSERT_EQ(bits_of(rig, 0, i, 0), bits_of(clean, 0, i, 0)) << i; }
      for (const std::uint16_t bits : bits_of(rig, 0, i, 0))
        if (seen) { ASSERT_EQ(bits, TypeParam(nan).bits) << i; }
      ASSERT_EQ(simt::bits_of(rig.row_lse(0, i, 0)) == 0x7fc00000u, seen) << i;
    }
  }
}

TYPED_TEST(prefill, a_query_that_is_not_finite_makes_its_own_row_nan) {
  const attention_shape shape{.sequences = {{33, 70}}};
  attention_rig<TypeParam> clean(shape), rig(shape);
  attend(clean);
  const_cast<TypeParam*>(rig.query(0, 9, 0))[2] = TypeParam(inf);
  for (int key = 0; key < 70; ++key) rig.key(0, key, 0)[2] = clean.key(0, key, 0)[2] = TypeParam(-1.0f);
  attend(clean);
  attend(rig);
  for (int i = 0; i < 33; ++i)
    if (i != 9) { ASSERT_EQ(bits_of(rig, 0, i, 0), bits_of(clean, 0, i, 0)) << i; }
  for (const std::uint16_t bits : bits_of(rig, 0, 9, 0)) EXPECT_EQ(bits, TypeParam(nan).bits);
}

// Rounding to 16 bits hides most of what another order of this sum would change, so it is looked at by itself.
RAPT_KERNEL(32, 1) sum_weights(const float* weights, float* sums) {
  const unsigned lane = simt::lane_idx();
  simt::mma_c p[2][8];
  for (unsigned r = 0; r < 4; ++r)
    for (unsigned key = 0; key < 64; ++key)
      if (key % 8 / 2 == lane % 4) p[r / 2][key / 8].elements[r % 2 * 2 + key % 2] = weights[(r * 8 + lane / 4) * 64 + key];
  sums[lane % 4 * 8 + lane / 4] = rapt::kernels::sum_of_own_row(p);
}
TEST(prefill_parts, the_weights_of_a_row_are_summed_in_16_lanes_and_a_tree) {
  std::mt19937 random(3);
  std::vector<float> weights(32 * 64), sums(32);
  for (float& w : weights) w = std::ldexp(static_cast<float>(random() >> 8), -24 - static_cast<int>(random() % 6));
  simt::launch<simt::no_storage>(sum_weights, {1}, 32, nullptr, weights.data(), sums.data());
  for (std::size_t row = 0; row < 32; ++row) {
    float lanes[16] = {};
    for (std::size_t key = 0; key < 64; ++key) lanes[key % 16] += weights[row * 64 + key];
    for (std::size_t half = 8; half > 0; half /= 2)
      for (std::size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    EXPECT_EQ(sums[row], lanes[0]) << row;
  }
}

// A product below the smallest float leaves -0, which a tile of hidden keys turns into +0: what others in the block see must not show.
TEST(prefill_bf16, a_zero_has_the_same_sign_alone_and_beside_queries_that_see_more_keys) {
  const auto least = [](attention_rig<bf16>& rig) {
    for (bf16& x : rig.q) x = bf16(1.0f);
    for (int key = 0; key < rig.len(0).kv_len; ++key)
      for (int d = 0; d < 64; ++d) {
        rig.key(0, key, 0)[d] = bf16(key == 63 ? -1.733f : 0.0f);
        rig.value(0, key, 0)[d] = bf16(key == 63 ? -0x1p-133f : 0.0f);
      }
    attend(rig);
  };
  attention_rig<bf16> beside({.sequences = {{32, 80}}, .causal = true}), alone({.sequences = {{1, 64}}, .causal = true});
  least(beside);
  least(alone);
  EXPECT_EQ(bits_of(beside, 0, 15, 0), bits_of(alone, 0, 0, 0));
}

}  // namespace
