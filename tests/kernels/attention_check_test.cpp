#include <kernels/attend_prefill.hpp>
#include <tests/kernels/attention_rig.hpp>

#include <gtest/gtest.h>

namespace {

using rapt::f16;
using rig = rapt_test::attention_rig<f16>;
using problem = rapt::kernels::attention_problem<f16>;

alignas(16) std::byte workspace[2 * sizeof(rapt::kernels::stored_rows<64, 2>)];

template <class Error, class Change>
void expect_error(Change change, const char* what) {
  rig r({.sequences = {{3, 5}}});
  change(r.problem);
  unsigned counter = 0;
  try {
    rapt::kernels::attend_prefill(r.problem, workspace, &counter, 1, nullptr);
    ADD_FAILURE() << "no error: " << what;
  } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what(); }
  for (const f16 x : r.out) ASSERT_NE(static_cast<float>(x), static_cast<float>(x)) << "written in spite of: " << what;
}

TEST(attention_check, what_can_not_be_configured_is_a_config_error) {
  using rapt::config_error;
  expect_error<config_error>([](problem& p) { p.num_heads = 3, p.num_kv_heads = 2; }, "a multiple of num_kv_heads 2");
  expect_error<config_error>([](problem& p) { p.num_kv_heads = 0; }, "num_kv_heads");
  expect_error<config_error>([](problem& p) { p.head_dim = 257; }, "head_dim is 257");
  expect_error<config_error>([](problem& p) { p.head_dim = 0; }, "head_dim is 0");
  expect_error<config_error>([](problem& p) { p.value_dim = 300; }, "value_dim is 300");
  expect_error<config_error>([](problem& p) { p.softmax_scale = std::numeric_limits<double>::quiet_NaN(); }, "softmax_scale");
  expect_error<config_error>([](problem& p) { p.softcap = -1; }, "softcap");
  expect_error<config_error>([](problem& p) { p.window_left = -2; }, "window_left is -2");
  expect_error<config_error>([](problem& p) { p.window_right = rapt::max_position + 1; }, "window_right");
}

TEST(attention_check, tensors_that_are_not_there_or_lie_wrongly_are_a_shape_error) {
  using rapt::shape_error;
  expect_error<shape_error>([](problem& p) { p.q.data = nullptr; }, "q is null");
  expect_error<shape_error>([](problem& p) { p.v.data = nullptr; }, "v is null");
  expect_error<shape_error>([](problem& p) { p.sequences = nullptr; }, "sequences");
  expect_error<shape_error>([](problem& p) { p.k.row_stride = -64; }, "k has a negative stride");
  expect_error<shape_error>([](problem& p) { p.k.data = reinterpret_cast<const f16*>(reinterpret_cast<std::uintptr_t>(p.k.data) + 1); },
                            "k is not aligned");
  expect_error<shape_error>([](problem& p) { p.lse.data = reinterpret_cast<float*>(reinterpret_cast<std::uintptr_t>(p.lse.data) + 2); },
                            "lse is not aligned");
  expect_error<shape_error>([](problem& p) { p.out.row_stride = 63; }, "rows of out overlap");
  const std::int32_t page = 0;
  expect_error<shape_error>([&](problem& p) { p.page_table = &page, p.page_len = 24; }, "page_len is 24");
}

TEST(attention_check, a_launch_needs_a_workspace_and_blocks_but_not_for_no_sequence) {
  rig r({.sequences = {{3, 5}}});
  unsigned counter = 0;
  EXPECT_THROW(rapt::kernels::attend_prefill(r.problem, nullptr, &counter, 1, nullptr), rapt::shape_error);
  EXPECT_THROW(rapt::kernels::attend_prefill(r.problem, workspace, nullptr, 1, nullptr), rapt::shape_error);
  EXPECT_THROW(rapt::kernels::attend_prefill(r.problem, workspace, &counter, 0, nullptr), rapt::shape_error);
  r.problem.num_sequences = 0, r.problem.q.data = nullptr;
  rapt::kernels::attend_prefill(r.problem, nullptr, nullptr, 0, nullptr);
}

}  // namespace
