#include <kernels/naive_attention.hpp>
#include <tests/kernels/attention_rig.hpp>
#include <tests/kernels/schedules.hpp>

namespace {

using rapt::bf16;
using rapt::f16;
using rapt_test::attention_shape;

template <class T>
void check(const attention_shape& shape) {
  rapt_test::attention_rig<T, double> rig(shape);
  rapt::kernels::naive_attend(rig.problem, nullptr);
  for (int s = 0; s < rig.num_sequences(); ++s)
    for (int i = 0; i < rig.len(s).q_len; ++i)
      for (int h = 0; h < shape.num_heads; ++h) {
        const auto row = rig.expected(s, i, h);
        // Slopes and sinks are rounded to float.
        for (int d = 0; d < shape.values(); ++d)
          ASSERT_NEAR(rig.row(s, i, h)[d], row[static_cast<std::size_t>(d)], shape.alibi || shape.sinks ? 1e-6 : 1e-13)
              << s << ' ' << i << ' ' << h << ' ' << d;
        if (row.back() != static_cast<double>(rig.row_lse(s, i, h))) { ASSERT_NEAR(row.back(), static_cast<double>(rig.row_lse(s, i, h)), 1e-5); }
      }
}

TEST(naive_attention, is_the_definition_in_double) {
  rapt_test::under_every_schedule([] {
    check<f16>({.sequences = {{3, 5}, {3, 5, 2}}, .num_heads = 4, .num_kv_heads = 2, .head_dim = 17, .where = rapt_test::layout::dense});
    check<bf16>({.sequences = {{5, 200}, {2, 0, 2}}, .num_heads = 3, .head_dim = 130, .causal = true});
    check<f16>({.sequences = {{4, 2}}, .window_left = 3, .window_right = 1});
    check<bf16>({.sequences = {{3, 70}, {1, 9, 2}},
                 .value_dim = 200,
                 .causal = true,
                 .where = rapt_test::layout::pages,
                 .mask_added = true,
                 .alibi = true,
                 .softcap = 3});
    check<f16>({.sequences = {{3, 70}}, .num_heads = 2, .window_left = 40, .mask_visible = true, .sinks = true, .explicit_positions = true});
  });
}

}  // namespace
