#include <kernels/prefill.hpp>
#include <tests/kernels/attention_rig.hpp>
#include <tests/kernels/schedules.hpp>

#include <bit>
#include <cstring>

namespace {

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

}  // namespace
