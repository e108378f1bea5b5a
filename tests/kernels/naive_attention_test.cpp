#include <kernels/naive_attention.hpp>
#include <tests/kernels/attention_rig.hpp>
#include <tests/kernels/schedules.hpp>

namespace {

using rapt::bf16;
using rapt::f16;

template <class T>
void check(const rapt_test::attention_shape& shape) {
  rapt_test::attention_rig<T, double> rig(shape);
  rapt::kernels::naive_attend(rig.problem, shape.head_dim, nullptr);
  for (int b = 0; b < shape.batch; ++b)
    for (int i = 0; i < shape.q_len; ++i)
      for (int h = 0; h < shape.num_heads; ++h) {
        const auto row = rig.expected(b, i, h);
        for (int d = 0; d < shape.head_dim; ++d)
          ASSERT_NEAR(rig.problem.out.at(b, i, h)[d], row[static_cast<std::size_t>(d)], 1e-13) << b << ' ' << i << ' ' << h << ' ' << d;
      }
}

TEST(naive_attention, is_the_definition_in_double) {
  rapt_test::under_every_schedule([] {
    check<f16>({.batch = 2, .q_len = 3, .kv_len = 5, .num_heads = 4, .num_kv_heads = 2, .head_dim = 17});
    check<bf16>({.q_len = 5, .kv_len = 200, .num_heads = 3, .num_kv_heads = 1, .head_dim = 130, .causal = true});
    check<f16>({.q_len = 4, .kv_len = 2, .head_dim = 64, .causal = true});
  });
}

}  // namespace
