// The Hopper kernel against float64, and its laws: bits of a row are a function of what it sees.
#include <kernels/attend_hopper.hpp>
#include <tests/kernels/attention_rig.hpp>
#include <tests/kernels/schedules.hpp>

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
rapt::kernels::tensor_rows rows_of(const attention_rig<T>& rig) {
  rapt::kernels::tensor_rows rows;
  for (const auto& s : rig.shape.sequences) rows.q += s.q_len, rows.kv += s.kv_len;
  if (rig.shape.where == layout::pages) rows.kv = rig.shape.page_len;
  return rig.shape.where == layout::dense ? rapt::kernels::tensor_rows{rig.len(0).q_len, rig.len(0).kv_len} : rows;
}
template <class T>
void attend(attention_rig<T>& rig, unsigned num_blocks = 2) {
  unsigned counter = 0;
  rapt::kernels::attend_hopper(rig.problem, rows_of(rig), &counter, num_blocks, nullptr);
  EXPECT_EQ(counter, 0u) << "the next launch would begin in the middle";
}
template <class T>
std::vector<std::uint16_t> bits_of(const attention_rig<T>& rig, int sequence, int query, int head) {
  std::vector<std::uint16_t> bits;
  for (int d = 0; d < rig.shape.values(); ++d) bits.push_back(rig.row(sequence, query, head)[d].bits);
  return bits;
}
template <class T>
std::vector<std::uint16_t> all_bits_of(const attention_rig<T>& rig) {
  std::vector<std::uint16_t> all;
  for_each_row(rig, [&](int s, int i, int h) {
    const auto row = bits_of(rig, s, i, h);
    all.insert(all.end(), row.begin(), row.end());
  });
  return all;
}

template <class T>
class hopper_prefill : public testing::Test {};
using element_types = testing::Types<f16, bf16>;
TYPED_TEST_SUITE(hopper_prefill, element_types);

TYPED_TEST(hopper_prefill, is_attention_for_odd_lengths_heads_and_windows) {
  for (const int head_dim : {64, 128})
    for (const bool causal : {false, true})
      for (const attention_shape& s :
           {attention_shape{}, attention_shape{.sequences = {{3, 65}}, .num_heads = 3},
            attention_shape{.sequences = {{66, 66}, {66, 66, 2}}, .num_heads = 2, .num_kv_heads = 1, .where = layout::dense},
            attention_shape{.sequences = {{65, 300}}, .window_left = 70}, attention_shape{.sequences = {{140, 129}, {1, 1}, {5, 300}}}}) {
        attention_shape shape = s;
        shape.head_dim = head_dim, shape.causal = causal;
        attention_rig<TypeParam> rig(shape);
        attend(rig);
        EXPECT_LT(error_of(rig), allowed_error<TypeParam>) << head_dim << (causal ? ", causal, " : ", ") << shape.sequences[0].kv_len << " keys";
      }
}
TYPED_TEST(hopper_prefill, is_attention_for_every_width) {
  for (const auto& [head_dim, value_dim] : {std::pair{8, 8}, {72, 80}, {96, 96}, {128, 64}, {136, 192}, {192, 128}, {256, 256}}) {
    attention_rig<TypeParam> rig({.sequences = {{40, 200}}, .head_dim = head_dim, .value_dim = value_dim, .causal = true});
    attend(rig, 1);
    EXPECT_LT(error_of(rig), allowed_error<TypeParam>) << head_dim << ", values " << value_dim;
  }
}

TYPED_TEST(hopper_prefill, gives_the_same_bits_under_every_schedule_and_number_of_blocks) {
  for (const int head_dim : {64, 128}) {
    std::vector<std::uint16_t> first;
    const attention_shape shape{.sequences = {{130, 300}, {9, 9, 2}}, .head_dim = head_dim, .causal = true};
    unsigned num_blocks = 1;
    rapt_test::under_every_schedule([&] {
      attention_rig<TypeParam> rig(shape);
      attend(rig, num_blocks++ % 4 + 1);
      if (first.empty()) first = all_bits_of(rig);
      EXPECT_EQ(all_bits_of(rig), first);
    });
  }
}

TYPED_TEST(hopper_prefill, gives_a_row_the_same_bits_alone_in_chunks_and_in_a_batch) {
  const attention_shape together{.sequences = {{30, 30, 5}, {300, 300, 7}}, .head_dim = 64, .causal = true};
  attention_rig<TypeParam> all(together);
  attend(all);
  for (const int q_len : {1, 90, 300}) {
    attention_rig<TypeParam> chunk({.sequences = {{q_len, 300, 7}}, .head_dim = 64, .causal = true});
    attend(chunk);
    for (int i = 0; i < q_len; ++i) ASSERT_EQ(bits_of(chunk, 0, i, 0), bits_of(all, 1, 300 - q_len + i, 0)) << q_len << ", query " << i;
  }
}

TYPED_TEST(hopper_prefill, gives_the_same_bits_in_pages) {
  for (const int head_dim : {64, 192})
    for (const int page_len : {16, 48, 512}) {
      attention_shape shape{.sequences = {{70, 300}, {9, 33, 2}}, .num_heads = 2, .num_kv_heads = 1, .head_dim = head_dim, .value_dim = 40};
      shape.causal = true;
      attention_rig<TypeParam> packed(shape);
      attend(packed);
      shape.where = layout::pages, shape.page_len = page_len;
      attention_rig<TypeParam> paged(shape);
      attend(paged);
      EXPECT_EQ(all_bits_of(paged), all_bits_of(packed)) << head_dim << ", pages of " << page_len;
    }
}

TYPED_TEST(hopper_prefill, what_is_hidden_and_not_finite_reaches_nothing) {
  for (const float x : {nan, inf, -inf})
    for (const attention_shape& shape : {attention_shape{.sequences = {{150, 150}, {20, 90, 2}}, .head_dim = 128, .causal = true},
                                         attention_shape{.sequences = {{130, 200}}, .head_dim = 64, .window_left = 40, .window_right = 3}}) {
      attention_rig<TypeParam> clean(shape), dirty(shape);
      attend(clean);
      const int token = 85;
      for (int d = 0; d < shape.head_dim; ++d) {
        dirty.key(0, token, 0)[d] = TypeParam(x);
        if (d % 3 != 1) dirty.value(0, token, 0)[d] = TypeParam(x);
      }
      attend(dirty);
      for_each_row(dirty, [&](int s, int i, int h) {
        if (s != 0 || !dirty.sees(s, h, i, token)) { ASSERT_EQ(bits_of(dirty, s, i, h), bits_of(clean, s, i, h)) << x << ", query " << i; }
      });
    }
}
TYPED_TEST(hopper_prefill, a_visible_value_that_is_not_finite_reaches_its_column_of_the_rows_that_see_it) {
  const attention_shape shape{.sequences = {{150, 150}}, .head_dim = 64, .causal = true};
  for (const float x : {nan, inf, -inf}) {
    attention_rig<TypeParam> clean(shape), dirty(shape);
    attend(clean);
    dirty.value(0, 133, 0)[21] = TypeParam(x);
    attend(dirty);
    for_each_row(dirty, [&](int s, int i, int h) {
      for (int d = 0; d < 64; ++d) {
        const auto got = static_cast<float>(dirty.row(s, i, h)[d]);
        if (i < 133 || d != 21)
          ASSERT_EQ(got, static_cast<float>(clean.row(s, i, h)[d])) << i << ' ' << d;
        else if (x != x)
          ASSERT_NE(got, got) << i;
        else
          ASSERT_EQ(got, x) << i;
      }
    });
  }
}
TYPED_TEST(hopper_prefill, an_infinite_query_is_nan_in_its_row_alone) {
  const attention_shape shape{.sequences = {{70, 70}}, .head_dim = 64};
  attention_rig<TypeParam> clean(shape), dirty(shape);
  // All its scores would be -inf, and the row one that sees nothing.
  for (attention_rig<TypeParam>* rig : {&clean, &dirty})
    for (int token = 0; token < 70; ++token) rig->key(0, token, 0)[5] = TypeParam(1.0f);
  attend(clean);
  const_cast<TypeParam*>(dirty.query(0, 33, 0))[5] = TypeParam(-inf);
  attend(dirty);
  for_each_row(dirty, [&](int s, int i, int h) {
    if (i != 33) {
      ASSERT_EQ(bits_of(dirty, s, i, h), bits_of(clean, s, i, h)) << i;
      return;
    }
    for (int d = 0; d < 64; ++d) ASSERT_TRUE(std::isnan(static_cast<float>(dirty.row(s, i, h)[d])));
  });
}
TYPED_TEST(hopper_prefill, rows_without_a_visible_key_are_zero) {
  for (const attention_shape& shape : {attention_shape{.sequences = {{9, 0}, {3, 3}}}, attention_shape{.sequences = {{200, 100}}, .causal = true}}) {
    attention_rig<TypeParam> rig(shape);
    attend(rig);
    for_each_row(rig, [&](int s, int i, int h) {
      if (rig.len(s).kv_len - rig.len(s).q_len + i >= 0 && rig.len(s).kv_len > 0) return;
      if (!shape.causal && rig.len(s).kv_len > 0) return;
      EXPECT_EQ(rig.row_lse(s, i, h), -inf);
      for (int d = 0; d < 64; ++d) ASSERT_EQ(rig.row(s, i, h)[d].bits, 0) << i;
    });
  }
}
TYPED_TEST(hopper_prefill, scales_of_either_sign_and_zero) {
  for (const double scale : {-0.3, 0.0, 0.7}) {
    attention_rig<TypeParam> rig({.sequences = {{20, 150}}, .causal = true, .softmax_scale = scale});
    rig.problem.softmax_scale = scale;
    attend(rig);
    EXPECT_LT(error_of(rig), allowed_error<TypeParam>) << scale;
  }
}

TEST(attend_hopper, refuses_what_it_does_not_serve_and_launches_nothing) {
  const auto refused = [](const attention_shape& shape, auto change) {
    attention_rig<f16> rig(shape);
    auto rows = rows_of(rig);
    unsigned counter = 0;
    change(rig, rows);
    rapt::runtime::emulated::forget_calls();
    EXPECT_THROW(rapt::kernels::attend_hopper(rig.problem, rows, &counter, 1, nullptr), rapt::error);
    EXPECT_TRUE(rapt::runtime::emulated::calls().empty());
  };
  const auto nothing = [](auto&, auto&) {};
  const attention_shape shape{.sequences = {{4, 4}}};
  refused({.sequences = {{4, 4}}, .sinks = true}, nothing);
  refused({.sequences = {{4, 4}}, .mask_visible = true}, nothing);
  refused({.sequences = {{4, 4}}, .softcap = 3}, nothing);
  refused({.sequences = {{4, 4}}, .head_dim = 60}, nothing);
  refused({.sequences = {{4, 4}}, .gap = 4}, nothing);
  refused(shape, [](auto&, auto& rows) { rows.kv = 0; });
  refused(shape, [](auto& rig, auto&) { rig.problem.num_kv_heads = 0; });
}

}  // namespace
