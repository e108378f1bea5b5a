#include <kernels/attend_prefill.hpp>
#include <tests/kernels/decode_rig.hpp>
#include <tests/kernels/schedules.hpp>

#include <cstring>

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

using rapt_test::all_bits;
using rapt_test::bits_of;
using rapt_test::decode_launcher;
using rapt_test::expect_bits_of_the_model;

constexpr auto by_decode = [](const auto& problem, const auto& limits, const rapt::kernels::decode_memory& memory) {
  rapt::kernels::attend_decode(problem, limits, memory, nullptr);
};
template <class T>
void attend(attention_rig<T>& rig, int more_keys = 0) {
  decode_launcher<T>(rig, more_keys).run(rig, by_decode);
}

template <class T>
void attend_by_prefill(attention_rig<T>& rig) {
  std::vector<std::max_align_t> states(rapt::kernels::prefill_workspace_bytes(rig.problem, 1) / sizeof(std::max_align_t) + 1);
  std::memset(static_cast<void*>(states.data()), 0xff, states.size() * sizeof states[0]);
  unsigned counter = 0;
  rapt::kernels::attend_prefill(rig.problem, states.data(), &counter, 1, nullptr);
}
template <class T>
void expect_bits_of_prefill(const attention_rig<T>& rig) {
  attention_rig<T> other(rig.shape);
  attend_by_prefill(other);
  ASSERT_EQ(all_bits(rig), all_bits(other));
}

template <class T>
class decode : public testing::Test {};
using element_types = testing::Types<f16, bf16>;
TYPED_TEST_SUITE(decode, element_types);

std::vector<attention_shape> shapes() {
  return {attention_shape{},
          {.sequences = {{1, 65}, {2, 700, 2}, {3, 513, 3}, {1, 64, 4}}, .num_heads = 4, .num_kv_heads = 2, .causal = true},
          {.sequences = {{4, 600}, {4, 600, 2}}, .num_heads = 3, .head_dim = 128, .causal = true, .where = layout::dense},
          {.sequences = {{1, 1025}, {16, 129, 2}}, .num_heads = 8, .num_kv_heads = 1, .causal = true, .where = layout::pages, .page_len = 48},
          {.sequences = {{1, 511}, {5, 40, 2}}, .num_heads = 40, .num_kv_heads = 2, .causal = true},
          {.sequences = {{2, 1300}, {1, 70, 2}, {3, 2, 3}}, .causal = true, .window_left = 600, .where = layout::pages},
          {.sequences = {{3, 200}}, .window_left = 20, .window_right = 70}};
}

TYPED_TEST(decode, is_attention_and_gives_the_bits_of_the_contract) {
  for (const attention_shape& s : shapes()) {
    attention_rig<TypeParam> rig(s);
    attend(rig);
    EXPECT_LT(error_of(rig), allowed_error<TypeParam>);
    expect_bits_of_the_model(rig);
  }
}
TYPED_TEST(decode, gives_the_bits_of_the_contract_over_segments) {
  attention_rig<TypeParam> rig({.sequences = {{2, 2600}, {3, 1900, 2}}, .num_heads = 20, .num_kv_heads = 2, .causal = true});
  attend(rig);
  expect_bits_of_the_model(rig);
}
TYPED_TEST(decode, gives_the_bits_of_the_contract_over_super_segments) {
  // Many rows, because the order of a few additions shows in a few of them.
  attention_rig<TypeParam> rig({.sequences = {{1, 16384 + 600}, {1, 20000, 2}, {1, 8192, 3}, {1, 8193, 4}}, .num_heads = 16, .causal = true});
  attend(rig);
  expect_bits_of_the_model(rig);
  // The window begins in the middle of the first super-segment, and of a segment.
  attention_rig<TypeParam> window({.sequences = {{2, 16384 + 600}}, .causal = true, .window_left = 10000, .where = layout::pages, .page_len = 48});
  attend(window);
  expect_bits_of_the_model(window);
}
TYPED_TEST(decode, heads_of_every_width_and_values_of_another_give_the_bits_of_the_contract) {
  for (const auto& [head_dim, value_dim] :
       {std::pair{1, 1}, {17, 33}, {64, 8}, {72, 96}, {96, 40}, {100, 100}, {128, 64}, {136, 192}, {192, 191}, {256, 256}, {255, 16}}) {
    attention_rig<TypeParam> rig(
        {.sequences = {{2, 150}, {1, 530, 2}}, .num_heads = 3, .head_dim = head_dim, .value_dim = value_dim, .causal = true});
    attend(rig);
    expect_bits_of_the_model(rig);
    if (this->HasFatalFailure()) FAIL() << head_dim << ' ' << value_dim;
  }
}
TYPED_TEST(decode, masks_positions_and_changed_scores_give_the_bits_of_the_contract) {
  const attention_shape base{.sequences = {{3, 600}, {1, 70, 2}}, .num_heads = 4, .num_kv_heads = 2, .causal = true};
  std::vector<attention_shape> all(8, base);
  all[0].mask_visible = true;
  all[1].mask_added = true;
  all[2].softcap = 1.5;
  all[3].alibi = true;
  all[4].sinks = true;
  all[5].explicit_positions = true, all[5].window_left = 500;
  all[6].mask_visible = all[6].alibi = all[6].sinks = all[6].explicit_positions = true, all[6].softcap = 2, all[6].where = layout::pages;
  all[7].mask_added = all[7].sinks = true, all[7].gap = 3, all[7].head_dim = 80;
  for (std::size_t i = 0; i < all.size(); ++i) {
    attention_rig<TypeParam> rig(all[i]);
    attend(rig);
    EXPECT_LT(error_of(rig), allowed_error<TypeParam>) << i;
    expect_bits_of_the_model(rig);
    if (this->HasFatalFailure()) FAIL() << i;
  }
}
TYPED_TEST(decode, a_negative_scale_and_none_give_the_bits_of_the_contract) {
  for (const double scale : {-0.3, 1e-60}) {
    attention_rig<TypeParam> rig({.sequences = {{2, 200}}, .softmax_scale = scale});
    attend(rig);
    expect_bits_of_the_model(rig);
  }
}

TYPED_TEST(decode, gives_the_bits_of_prefill) {
  auto all = shapes();
  for (std::size_t i = 0; i < all.size(); ++i) all[i].sinks = i % 2 == 1;
  all.push_back({.sequences = {{2, 1200}}, .head_dim = 192, .value_dim = 256, .causal = true});
  for (const attention_shape& s : all) {
    attention_rig<TypeParam> rig(s);
    attend(rig);
    expect_bits_of_prefill(rig);
  }
}

TYPED_TEST(decode, bits_are_the_same_for_every_schedule_order_of_blocks_limits_and_again) {
  attention_rig<TypeParam> first({.sequences = {{2, 1700}, {1, 8300, 2}}, .num_heads = 2, .num_kv_heads = 1, .causal = true});
  attend(first);
  const auto expected = all_bits(first);
  rapt_test::under_every_schedule([&] {
    attention_rig<TypeParam> again(first.shape);
    decode_launcher<TypeParam> launches(again, 600);
    for (int i = 0; i < 2; ++i) {
      launches.run(again, by_decode);
      ASSERT_EQ(all_bits(again), expected) << i;
      std::fill(again.out.begin(), again.out.end(), TypeParam(nan));
    }
  });
}
TYPED_TEST(decode, bits_are_the_same_alone_and_in_a_batch_in_pages_of_any_length_and_in_rows) {
  const attention_shape batch{.sequences = {{1, 1100}, {3, 90, 2}, {1, 530, 3}}, .num_heads = 4, .num_kv_heads = 2, .causal = true};
  attention_rig<TypeParam> together(batch);
  attend(together);
  for (const int page_len : {16, 48, 64, 528}) {
    attention_shape s = batch;
    s.where = layout::pages, s.page_len = page_len;
    attention_rig<TypeParam> paged(s);
    attend(paged);
    ASSERT_EQ(all_bits(paged), all_bits(together)) << page_len;
  }
  for (int sequence = 0; sequence < 3; ++sequence) {
    attention_shape s = batch;
    s.sequences = {batch.sequences[static_cast<std::size_t>(sequence)]};
    attention_rig<TypeParam> alone(s);
    attend(alone);
    for (int i = 0; i < alone.len(0).q_len; ++i)
      for (int h = 0; h < 4; ++h) ASSERT_EQ(bits_of(alone, 0, i, h), bits_of(together, sequence, i, h)) << sequence << ' ' << i << ' ' << h;
  }
}

TYPED_TEST(decode, nothing_seen_gives_positive_zero_and_no_queries_nothing) {
  for (const bool sinks : {false, true}) rapt_test::expect_zeros_where_nothing_is_seen<TypeParam>(by_decode, sinks);
}
TYPED_TEST(decode, nothing_is_written_beside_the_rows) { rapt_test::expect_nothing_beside_the_rows<TypeParam>(by_decode); }
TYPED_TEST(decode, values_that_are_not_finite_reach_only_queries_that_see_them) {
  std::vector<int> keys;
  for (int key = 26; key < 130; key += key < 30 || key > 125 ? 1 : 19) keys.push_back(key);
  rapt_test::expect_values_to_reach_only_queries_that_see_them<TypeParam>(by_decode, keys);
}
TYPED_TEST(decode, a_value_that_is_not_finite_is_seen_where_its_weight_is_too_small_to_be_stored) {
  attention_rig<TypeParam> rig({.sequences = {{2, 100}}, .causal = true});
  for (int d = 0; d < 64; ++d) {
    rig.key(0, 70, 0)[d] = TypeParam(-40 * static_cast<float>(rig.query(0, 1, 0)[d]));
    rig.key(0, 71, 0)[d] = TypeParam(-40 * static_cast<float>(rig.query(0, 0, 0)[d]));
  }
  rig.value(0, 70, 0)[5] = rig.value(0, 71, 0)[6] = TypeParam(inf);
  attend(rig);
  expect_bits_of_the_model(rig);
  EXPECT_TRUE(std::isnan(static_cast<float>(rig.row(0, 1, 0)[5])));
  EXPECT_TRUE(std::isnan(static_cast<float>(rig.row(0, 0, 0)[6])));
}
// Where a mask adds the least float, as some programs write it, the score is -inf: hidden, like its value.
TYPED_TEST(decode, the_least_float_in_a_mask_hides_values_that_are_not_finite) {
  const attention_shape shape{.sequences = {{3, 130}}, .num_heads = 2, .mask_added = true};
  attention_rig<TypeParam> clean(shape), rig(shape), of_prefill(shape);
  attend(clean);
  for (auto* r : {&rig, &of_prefill}) {
    for (float& x : r->added)
      if (x == -inf) x = std::numeric_limits<float>::lowest();
    r->value(0, 70, 0)[5] = TypeParam(nan);
  }
  attend(rig);
  attend_by_prefill(of_prefill);
  EXPECT_EQ(all_bits(rig), all_bits(of_prefill));
  int hidden = 0;
  for_each_row(rig, [&](int s, int i, int h) {
    if (rig.sees(s, h, i, 70)) return;
    EXPECT_EQ(bits_of(rig, s, i, h), bits_of(clean, s, i, h)) << i << ' ' << h;
    ++hidden;
  });
  EXPECT_GT(hidden, 0);
}
// Products of f16 can not overflow a float. Keys `low` have scores of -inf.
void score_minus_infinity(attention_rig<bf16>& rig, const std::vector<int>& low) {
  for (int i = 0; i < rig.len(0).q_len; ++i) const_cast<bf16*>(rig.query(0, i, 0))[3] = bf16(1e30f);
  for (int key = 0; key < rig.len(0).kv_len; ++key) rig.key(0, key, 0)[3] = bf16(0.0f);
  for (const int key : low) rig.key(0, key, 0)[3] = bf16(-1e30f);
}
TEST(decode, a_visible_score_that_overflows_has_no_weight_and_its_value_is_seen) {
  const attention_shape shape{.sequences = {{2, 130}}, .causal = true};
  attention_rig<bf16> rig(shape), of_prefill(shape);
  for (auto* r : {&rig, &of_prefill}) {
    score_minus_infinity(*r, {0, 20, 129});
    for (const int key : {0, 20, 129}) r->value(0, key, 0)[key % 64] = bf16(nan);
  }
  attend(rig);
  attend_by_prefill(of_prefill);
  EXPECT_EQ(all_bits(rig), all_bits(of_prefill));
  expect_bits_of_the_model(rig);
  EXPECT_TRUE(std::isnan(static_cast<float>(rig.row(0, 0, 0)[20])));
  EXPECT_FALSE(std::isnan(static_cast<float>(rig.row(0, 0, 0)[129 % 64]))) << "of a key that it does not see";
  EXPECT_TRUE(std::isnan(static_cast<float>(rig.row(0, 1, 0)[129 % 64])));
}
// In a tile that rows see in part, and in one that all see whole.
TEST(decode, values_are_seen_where_all_scores_of_a_tile_overflow) {
  for (const rapt::index_t window : {rapt::index_t{66}, rapt::no_window}) {
    const attention_shape shape{.sequences = {{2, 130}}, .causal = true, .window_left = window};
    attention_rig<bf16> rig(shape), of_prefill(shape);
    for (auto* r : {&rig, &of_prefill}) {
      std::vector<int> low;
      for (int key = 0; key < 64; ++key) low.push_back(key);
      score_minus_infinity(*r, low);
      r->value(0, 63, 0)[5] = bf16(nan);
    }
    attend(rig);
    attend_by_prefill(of_prefill);
    EXPECT_EQ(all_bits(rig), all_bits(of_prefill)) << window;
    expect_bits_of_the_model(rig);
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(std::isnan(static_cast<float>(rig.row(0, i, 0)[5]))) << window;
  }
}
// And in a segment, whose state then has no largest score: the first, one between others, the last.
TEST(decode, values_are_seen_where_all_scores_of_a_segment_overflow) {
  for (const auto& [first, last] : {std::pair{0, 512}, {512, 1024}, {1024, 1300}, {0, 1024}})
    for (const rapt::index_t window : {rapt::index_t{1290}, rapt::no_window}) {
      const attention_shape shape{.sequences = {{2, 1300}}, .causal = true, .window_left = window};
      attention_rig<bf16> rig(shape), of_prefill(shape);
      for (auto* r : {&rig, &of_prefill}) {
        std::vector<int> low;
        for (int key = first; key < last; ++key) low.push_back(key);
        score_minus_infinity(*r, low);
        r->value(0, first + 200, 0)[5] = bf16(nan), r->value(0, first + 201, 0)[6] = bf16(inf);
      }
      attend(rig);
      attend_by_prefill(of_prefill);
      EXPECT_EQ(all_bits(rig), all_bits(of_prefill)) << first << ' ' << window;
      expect_bits_of_the_model(rig);
      for (int i = 0; i < 2; ++i)
        for (const int d : {5, 6}) EXPECT_TRUE(std::isnan(static_cast<float>(rig.row(0, i, 0)[d]))) << first << ' ' << window;
    }
}
TYPED_TEST(decode, keys_and_queries_that_are_not_finite_give_the_canonical_nan_in_their_rows_alone) {
  const attention_shape shape{.sequences = {{3, 600}}, .num_heads = 2, .num_kv_heads = 1, .causal = true};
  attention_rig<TypeParam> clean(shape), rig(shape);
  attend(clean);
  rig.key(0, 598, 0)[5] = TypeParam(nan);
  const_cast<TypeParam*>(rig.query(0, 0, 1))[2] = TypeParam(inf);
  attend(rig);
  for_each_row(rig, [&](int s, int i, int h) {
    if (i == 0 && h == 0) { EXPECT_EQ(bits_of(rig, s, i, h), bits_of(clean, s, i, h)); }
    const std::vector<std::uint32_t> bits = bits_of(rig, s, i, h);
    if (i > 0 || h == 1) { EXPECT_EQ(std::count(bits.begin(), bits.begin() + 64, TypeParam(nan).bits), 64) << i << ' ' << h; }
  });
}

TYPED_TEST(decode, few_blocks_and_many_give_the_same_bits_and_fit_a_multiprocessor_of_sm_80) {
  const simt::emulator::scoped_device older(simt::emulator::schedules[3], simt::emulator::sm_80);
  for (const int head_dim : {64, 96, 128, 192, 256}) {
    attention_rig<TypeParam> rig({.sequences = {{2, 1100}}, .num_heads = 4, .num_kv_heads = 2, .head_dim = head_dim});
    attend(rig);
    const auto few = all_bits(rig);
    attend(rig, 64 * static_cast<int>(rapt::segment_len));
    EXPECT_EQ(all_bits(rig), few) << head_dim;
  }
}

// Memory that is enough for a call is enough for smaller ones, though few segments are shared by several blocks.
TEST(decode_sizes, do_not_grow_as_a_launch_becomes_smaller) {
  const auto size = [](int sequences, int kv_heads, int kv_len) {
    rapt::kernels::attention_problem<bf16> p;
    p.num_sequences = sequences, p.num_heads = kv_heads * 4, p.num_kv_heads = kv_heads, p.head_dim = p.value_dim = 64;
    const rapt::kernels::decode_sizes sizes = rapt::kernels::decode_sizes_of(p, {1, kv_len});
    EXPECT_GE(sizes.max_and_sum, sizes.acc / 64 * 2 * sizes.column_parts) << "less than the launch needs";
    return std::pair(sizes.acc, sizes.max_and_sum);
  };
  for (const int kv_heads : {1, 8})
    for (const int sequences : {1, 2, 7, 8, 9, 64})
      for (int kv_len = 0; kv_len < 40'000; kv_len += 512) {
        const auto [acc, max_and_sum] = size(sequences, kv_heads, kv_len);
        const auto [longer_acc, longer_max_and_sum] = size(sequences, kv_heads, kv_len + 512);
        const auto [more_acc, more_max_and_sum] = size(sequences + 1, kv_heads, kv_len);
        EXPECT_LE(acc, std::min(longer_acc, more_acc)) << sequences << ' ' << kv_heads << ' ' << kv_len;
        EXPECT_LE(max_and_sum, std::min(longer_max_and_sum, more_max_and_sum)) << sequences << ' ' << kv_heads << ' ' << kv_len;
      }
}

TEST(decode_errors, are_found_before_anything_is_launched) {
  const auto code_of = [](auto change) {
    attention_rig<bf16> rig({.sequences = {{1, 40}}});
    float acc[4096], max_and_sum[64];
    unsigned counters[8] = {};
    float* parts[2] = {acc, max_and_sum};
    rapt::kernels::decode_limits limits{1, 40};
    change(rig.problem, limits, parts);
    try {
      rapt::kernels::attend_decode(rig.problem, limits, {parts[0], parts[1], counters}, nullptr);
    } catch (const rapt::error& e) {
      EXPECT_TRUE(std::isnan(static_cast<float>(rig.out[0]))) << "written";
      return e.code();
    }
    return rapt::errc::none;
  };
  EXPECT_EQ(code_of([](auto&, auto&, auto&) {}), rapt::errc::none);
  EXPECT_EQ(code_of([](auto& p, auto&, auto&) { p.num_sequences = 0; }), rapt::errc::none);
  EXPECT_EQ(code_of([](auto& p, auto&, auto&) { p.num_kv_heads = 2; }), rapt::errc::config);
  EXPECT_EQ(code_of([](auto& p, auto&, auto&) { p.head_dim = 257; }), rapt::errc::config);
  EXPECT_EQ(code_of([](auto& p, auto&, auto&) { p.k.data = nullptr; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](auto&, auto& limits, auto&) { limits.max_q_len = -1; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](auto&, auto&, auto& parts) { parts[0] = nullptr; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](auto& p, auto&, auto&) { p.num_sequences = 65536; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](auto&, auto& limits, auto&) { limits.max_kv_len = 512 * 65535 + 1; }), rapt::errc::shape);
}

}  // namespace
