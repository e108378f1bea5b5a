#include <kernels/attend_decode_clusters.hpp>
#include <tests/kernels/decode_rig.hpp>
#include <tests/kernels/schedules.hpp>

namespace {

using rapt::bf16;
using rapt::f16;
using rapt_test::all_bits;
using rapt_test::attention_rig;
using rapt_test::attention_shape;
using rapt_test::decode_launcher;
using rapt_test::expect_bits_of_the_model;
using rapt_test::layout;

constexpr auto by_clusters = [](const auto& problem, const auto& limits, const rapt::kernels::decode_memory& memory) {
  ASSERT_TRUE(rapt::kernels::serves_clusters(problem, limits));
  rapt::kernels::attend_decode_by_clusters(problem, limits, memory, nullptr);
};
template <class T>
void attend(attention_rig<T>& rig, int more_keys = 0) {
  decode_launcher<T>(rig, more_keys).run(rig, by_clusters);
}

template <class T>
class decode_clusters : public testing::Test {};
using element_types = testing::Types<f16, bf16>;
TYPED_TEST_SUITE(decode_clusters, element_types);

TYPED_TEST(decode_clusters, gives_the_bits_of_the_contract) {
  for (const attention_shape& s : std::initializer_list<attention_shape>{
           {},
           {.sequences = {{1, 1024}}, .num_heads = 16, .num_kv_heads = 4, .head_dim = 128, .causal = true, .where = layout::pages, .page_len = 64},
           {.sequences = {{1, 65}, {2, 700, 2}, {3, 513, 3}, {1, 64, 4}}, .num_heads = 4, .num_kv_heads = 2, .causal = true},
           {.sequences = {{4, 600}, {4, 600, 2}}, .num_heads = 3, .head_dim = 128, .causal = true, .where = layout::dense},
           {.sequences = {{1, 1025}, {16, 129, 2}}, .num_heads = 8, .num_kv_heads = 1, .causal = true, .where = layout::pages, .page_len = 48},
           {.sequences = {{2, 1300}, {1, 70, 2}, {3, 2, 3}}, .causal = true, .window_left = 600, .where = layout::pages, .page_len = 16},
           {.sequences = {{3, 200}}, .window_left = 20, .window_right = 70}}) {
    attention_rig<TypeParam> rig(s);
    attend(rig);
    expect_bits_of_the_model(rig);
  }
}
TYPED_TEST(decode_clusters, gives_the_bits_of_the_contract_over_super_segments) {
  attention_rig<TypeParam> rig({.sequences = {{1, 16384 + 600}}, .num_heads = 16, .causal = true});
  attend(rig);
  expect_bits_of_the_model(rig);
}
TYPED_TEST(decode_clusters, heads_of_every_width_and_values_of_another_give_the_bits_of_the_contract) {
  for (const auto& [head_dim, value_dim] :
       {std::pair{8, 8}, {64, 8}, {72, 96}, {96, 40}, {104, 104}, {128, 64}, {136, 192}, {192, 184}, {256, 256}}) {
    attention_rig<TypeParam> rig(
        {.sequences = {{2, 150}, {1, 530, 2}}, .num_heads = 3, .head_dim = head_dim, .value_dim = value_dim, .causal = true});
    attend(rig);
    expect_bits_of_the_model(rig);
    if (this->HasFatalFailure()) FAIL() << head_dim << ' ' << value_dim;
  }
}
TYPED_TEST(decode_clusters, bits_are_the_same_for_every_schedule_limits_and_again) {
  attention_rig<TypeParam> first({.sequences = {{2, 1700}, {1, 90, 2}}, .num_heads = 2, .num_kv_heads = 1, .causal = true});
  attend(first);
  const auto expected = all_bits(first);
  rapt_test::under_every_schedule([&] {
    attention_rig<TypeParam> again(first.shape);
    decode_launcher<TypeParam> launches(again, 600);
    for (int i = 0; i < 2; ++i) {
      launches.run(again, by_clusters);
      ASSERT_EQ(all_bits(again), expected) << i;
      std::fill(again.out.begin(), again.out.end(), TypeParam(std::numeric_limits<float>::quiet_NaN()));
    }
  });
}
TYPED_TEST(decode_clusters, nothing_seen_gives_positive_zero_and_no_queries_nothing) {
  rapt_test::expect_zeros_where_nothing_is_seen<TypeParam>(by_clusters, false);
}
TYPED_TEST(decode_clusters, nothing_is_written_beside_the_rows) { rapt_test::expect_nothing_beside_the_rows<TypeParam>(by_clusters); }
TYPED_TEST(decode_clusters, values_that_are_not_finite_reach_only_queries_that_see_them) {
  rapt_test::expect_values_to_reach_only_queries_that_see_them<TypeParam>(by_clusters, {26, 27, 30, 64, 100, 126, 129});
}

TEST(decode_clusters, serve_few_segments_of_plain_problems) {
  const auto serves = [](const attention_shape& shape, int max_kv_len) {
    const attention_rig<bf16> rig(shape);
    return rapt::kernels::serves_clusters(rig.problem, {1, max_kv_len});
  };
  const attention_shape plain{.sequences = {{1, 100}}, .num_heads = 8, .num_kv_heads = 4};
  EXPECT_TRUE(serves(plain, 16 * 512));
  EXPECT_FALSE(serves(plain, 16 * 512 + 1)) << "68 segments";
  attention_shape other = plain;
  other.sinks = true;
  EXPECT_FALSE(serves(other, 100));
  other = plain, other.mask_visible = true;
  EXPECT_FALSE(serves(other, 100));
  other = plain, other.head_dim = 60;
  EXPECT_FALSE(serves(other, 100));
}

}  // namespace
