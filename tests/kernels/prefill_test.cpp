#include <kernels/prefill.hpp>
#include <tests/kernels/attention_rig.hpp>
#include <tests/kernels/gpu_order_model.hpp>
#include <tests/kernels/schedules.hpp>

#include <bit>
#include <cstring>

namespace {

namespace simt = rapt::simt;
using rapt::bf16;
using rapt::f16;
using rapt_test::attention_rig;
using rapt_test::attention_shape;

template <int HeadDim, class T>
void attend(attention_rig<T>& rig, unsigned num_blocks = 2) {
  std::vector<rapt::kernels::stored_rows<HeadDim>> states(2 * num_blocks);
  std::memset(static_cast<void*>(states.data()), 0xff, states.size() * sizeof states[0]);
  unsigned counter = 0;
  rapt::kernels::attend_prefill<HeadDim>(rig.problem, {states.data(), &counter}, num_blocks, nullptr);
  EXPECT_EQ(counter, 0u) << "the next launch would begin in the middle";
}
template <class T>
void attend(attention_rig<T>& rig, unsigned num_blocks = 2) {
  rig.shape.head_dim == 64 ? attend<64>(rig, num_blocks) : attend<128>(rig, num_blocks);
}

/// Relative error over every row, ||out - expected|| / ||expected||.
template <class T>
double error_of(attention_rig<T>& rig) {
  double difference = 0, size = 0;
  const attention_shape& s = rig.shape;
  for (int b = 0; b < s.batch; ++b)
    for (int i = 0; i < s.q_len; ++i)
      for (int h = 0; h < s.num_heads; ++h) {
        const auto row = rig.expected(b, i, h);
        for (int d = 0; d < s.head_dim; ++d) {
          const double x = row[static_cast<std::size_t>(d)], e = static_cast<double>(static_cast<float>(rig.problem.out.at(b, i, h)[d])) - x;
          difference += e * e, size += x * x;
        }
      }
  return std::sqrt(difference / size);
}
template <class T>
constexpr double allowed_error = std::is_same_v<T, f16> ? 6e-4 : 5e-3;

template <class T>
class prefill : public testing::Test {};
using element_types = testing::Types<f16, bf16>;
TYPED_TEST_SUITE(prefill, element_types);

TYPED_TEST(prefill, is_attention_for_odd_lengths_heads_and_masks) {
  for (const int head_dim : {64, 128})
    for (const bool causal : {false, true})
      for (const attention_shape& s : {attention_shape{.q_len = 1, .kv_len = 1}, attention_shape{.q_len = 3, .kv_len = 65, .num_heads = 3},
                                       attention_shape{.batch = 2, .q_len = 130, .kv_len = 130, .num_heads = 4, .num_kv_heads = 2},
                                       attention_shape{.q_len = 65, .kv_len = 255}, attention_shape{.q_len = 200, .kv_len = 129}}) {
        attention_shape shape = s;
        shape.head_dim = head_dim, shape.causal = causal;
        attention_rig<TypeParam> rig(shape);
        attend(rig);
        EXPECT_LT(error_of(rig), allowed_error<TypeParam>) << head_dim << ' ' << causal << ' ' << s.q_len << ' ' << s.kv_len;
      }
}

TYPED_TEST(prefill, is_attention_over_several_segments) {
  for (const int kv_len : {512, 513, 1100}) {
    attention_rig<TypeParam> rig({.q_len = 40, .kv_len = kv_len, .head_dim = 64, .causal = true});
    attend(rig);
    EXPECT_LT(error_of(rig), allowed_error<TypeParam>) << kv_len;
  }
}

template <class T>
std::vector<std::vector<T>> rows_of(const rapt::kernels::heads_view<const T>& x, int batch, int len, int head, int head_dim) {
  std::vector<std::vector<T>> rows;
  for (int i = 0; i < len; ++i) rows.emplace_back(x.at(batch, i, head), x.at(batch, i, head) + head_dim);
  return rows;
}
/// Bits of row (batch, query, head).
template <class T>
std::vector<std::uint16_t> bits_of(const attention_rig<T>& rig, int batch, int query, int head) {
  std::vector<std::uint16_t> bits;
  for (int d = 0; d < rig.shape.head_dim; ++d) bits.push_back(rig.problem.out.at(batch, query, head)[d].bits);
  return bits;
}
template <class T>
void expect_bits_of_the_model(const attention_rig<T>& rig) {
  const attention_shape& s = rig.shape;
  for (int b = 0; b < s.batch; ++b)
    for (int h = 0; h < s.num_heads; ++h) {
      const int kv_head = h * s.num_kv_heads / s.num_heads;
      const auto k = rows_of(rig.problem.k, b, s.kv_len, kv_head, s.head_dim), v = rows_of(rig.problem.v, b, s.kv_len, kv_head, s.head_dim);
      const rapt_test::gpu_order_model<T> model(k, v, rig.problem.softmax_scale);
      for (int i = 0; i < s.q_len; ++i) {
        const int visible = s.causal ? std::clamp(s.kv_len - s.q_len + i + 1, 0, s.kv_len) : s.kv_len;
        std::vector<std::uint16_t> expected;
        for (const T x : model.row(rows_of(rig.problem.q, b, s.q_len, h, s.head_dim)[static_cast<std::size_t>(i)], visible))
          expected.push_back(x.bits);
        ASSERT_EQ(bits_of(rig, b, i, h), expected) << "batch " << b << ", head " << h << ", query " << i;
      }
    }
}

TYPED_TEST(prefill, gives_the_bits_of_the_contract) {
  for (const attention_shape& s : {attention_shape{.batch = 2, .q_len = 3, .kv_len = 65, .num_heads = 4, .num_kv_heads = 2, .head_dim = 128},
                                   attention_shape{.q_len = 130, .kv_len = 130, .head_dim = 64, .causal = true},
                                   attention_shape{.q_len = 35, .kv_len = 1100, .head_dim = 128, .causal = true},
                                   attention_shape{.q_len = 70, .kv_len = 9, .head_dim = 64, .causal = true}}) {
    attention_rig<TypeParam> rig(s);
    attend(rig);
    expect_bits_of_the_model(rig);
  }
}
TYPED_TEST(prefill, gives_the_bits_of_the_contract_over_super_segments) {
  attention_rig<TypeParam> rig({.q_len = 2, .kv_len = 16384 + 600});
  attend(rig);
  expect_bits_of_the_model(rig);
}

TYPED_TEST(prefill, bits_are_the_same_for_every_schedule_and_number_of_blocks) {
  const attention_shape shape{.q_len = 140, .kv_len = 600, .num_heads = 2, .num_kv_heads = 1, .causal = true};
  attention_rig<TypeParam> first(shape);
  attend(first);
  rapt_test::under_every_schedule([&] {
    attention_rig<TypeParam> again(shape);
    attend(again, 3);
    for (std::size_t i = 0; i < first.out.size(); ++i) ASSERT_EQ(again.out[i].bits, first.out[i].bits);
  });
}

TYPED_TEST(prefill, scores_that_grow_and_fall_rescale_as_the_contract_says) {
  attention_rig<TypeParam> rig({.q_len = 5, .kv_len = 1200});
  for (int key = 0; key < 1200; ++key)
    for (int d = 0; d < 64; ++d)
      rig.key(0, key, 0, d) = TypeParam(static_cast<float>(rig.key(0, key, 0, d)) * (key % 512 < 256 ? 0.02f * static_cast<float>(key % 512) : 0.5f));
  attend(rig);
  expect_bits_of_the_model(rig);
  EXPECT_LT(error_of(rig), 4 * allowed_error<TypeParam>);
}

TYPED_TEST(prefill, a_query_that_sees_no_key_gives_positive_zero) {
  rapt_test::under_every_schedule([] {
    attention_rig<TypeParam> rig({.q_len = 140, .kv_len = 3, .causal = true});
    attend(rig);
    for (int i = 0; i < 137; ++i)
      for (const std::uint16_t bits : bits_of(rig, 0, i, 0)) ASSERT_EQ(bits, 0) << i;
    EXPECT_NE(bits_of(rig, 0, 137, 0)[0], 0);
  });
  attention_rig<TypeParam> nothing({.q_len = 3, .kv_len = 1});
  nothing.problem.kv_len = 0;
  attend(nothing);
  for (int i = 0; i < 3; ++i)
    for (const std::uint16_t bits : bits_of(nothing, 0, i, 0)) ASSERT_EQ(bits, 0) << i;
}

constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();

TYPED_TEST(prefill, values_that_are_not_finite_reach_only_queries_that_see_them) {
  const attention_shape shape{.q_len = 130, .kv_len = 130, .causal = true};
  attention_rig<TypeParam> clean(shape);
  attend(clean);
  for (const float bad : {nan, inf})
    for (int key = 64; key < 128; key += 7) {
      attention_rig<TypeParam> rig(shape);
      rig.value(0, key, 0, key % 64) = TypeParam(bad);
      rig.value(0, 127, 0, 3) = TypeParam(-bad);
      attend(rig);
      expect_bits_of_the_model(rig);
      for (int i = 0; i < key; ++i) ASSERT_EQ(bits_of(rig, 0, i, 0), bits_of(clean, 0, i, 0)) << key << ' ' << i;
      for (int i = key; i < 130; ++i) ASSERT_FALSE(std::isfinite(static_cast<float>(rig.problem.out.at(0, i, 0)[key % 64])));
    }
}

TYPED_TEST(prefill, keys_that_are_nan_reach_only_queries_that_see_them_as_the_canonical_nan) {
  const attention_shape shape{.q_len = 130, .kv_len = 130, .causal = true};
  attention_rig<TypeParam> clean(shape), rig(shape);
  attend(clean);
  rig.key(0, 100, 0, 5) = TypeParam(nan);
  attend(rig);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(bits_of(rig, 0, i, 0), bits_of(clean, 0, i, 0)) << i;
  for (int i = 100; i < 130; ++i)
    for (const std::uint16_t bits : bits_of(rig, 0, i, 0)) ASSERT_EQ(bits, TypeParam(nan).bits) << i;
}

TYPED_TEST(prefill, a_query_that_is_not_finite_makes_its_own_row_nan) {
  const attention_shape shape{.q_len = 33, .kv_len = 70};
  attention_rig<TypeParam> clean(shape), rig(shape);
  attend(clean);
  const_cast<TypeParam*>(rig.problem.q.at(0, 9, 0))[2] = TypeParam(inf);
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
    for (int key = 0; key < rig.shape.kv_len; ++key)
      for (int d = 0; d < 64; ++d) {
        rig.key(0, key, 0, d) = bf16(key == 63 ? -1.733f : 0.0f);
        rig.value(0, key, 0, d) = bf16(key == 63 ? -0x1p-133f : 0.0f);
      }
    attend(rig);
  };
  attention_rig<bf16> beside({.q_len = 32, .kv_len = 80, .causal = true}), alone({.q_len = 1, .kv_len = 64, .causal = true});
  least(beside);
  least(alone);
  EXPECT_EQ(bits_of(beside, 0, 15, 0), bits_of(alone, 0, 0, 0));
}

}  // namespace
