#include <rapt/core/error.hpp>
#include <tests/kernels/project_rig.hpp>
#include <tests/kernels/schedules.hpp>

#include <cmath>
#include <string>

namespace {

using rapt::bf16;
using rapt::f16;
using rapt::kernels::project_kernel;
using rapt_test::bits_of;
using rapt_test::expect_bits_of_the_contract;
using rapt_test::projection_rig;
using rapt_test::projection_shape;

std::vector<project_kernel> kernels_for(int rows) {
  std::vector<project_kernel> all = {project_kernel::narrow_tiles, project_kernel::small_tiles, project_kernel::medium_tiles,
                                     project_kernel::large_tiles, project_kernel::any_alignment};
  if (rows <= 16) all.push_back(project_kernel::few_rows_32);
  if (rows <= 8) all.push_back(project_kernel::few_rows_8);
  return all;
}

template <class T, class Out = T>
void expect_bits_of_the_contract(const projection_shape& shape, project_kernel kernel) {
  SCOPED_TRACE("kernel " + std::to_string(static_cast<int>(kernel)) + ", " + std::to_string(shape.rows) + " x " + std::to_string(shape.in) + " x " +
               std::to_string(shape.out));
  projection_rig<T, Out> rig(shape);
  rapt::kernels::project_with(kernel, rig.problem, nullptr);
  expect_bits_of_the_contract(rig);
}

template <class T>
class project : public testing::Test {};
using element_types = testing::Types<f16, bf16>;
TYPED_TEST_SUITE(project, element_types);

/// Sizes that are multiples of 8, which all kernels take, and others, which few do.
const projection_shape shapes[] = {{.rows = 1, .in = 8, .out = 1},
                                   {.rows = 16, .in = 248, .out = 33, .with_residual = false},
                                   {.rows = 8, .in = 1024, .out = 17},
                                   {.rows = 9, .in = 776, .out = 40, .with_bias = false},
                                   {.rows = 5, .in = 2048 + 520, .out = 7, .with_bias = false, .with_residual = false}};
const projection_shape ragged_shapes[] = {{.rows = 1, .in = 1, .out = 1}, {.rows = 3, .in = 17, .out = 9}, {.rows = 65, .in = 777, .out = 3}};

// Written as floats: rounding to 16 bits hides most of what another order would change.
TYPED_TEST(project, every_kernel_gives_the_bits_of_the_contract) {
  for (const projection_shape& s : shapes)
    for (const project_kernel kernel : kernels_for(s.rows)) expect_bits_of_the_contract<TypeParam, float>(s, kernel);
  for (const projection_shape& s : ragged_shapes) expect_bits_of_the_contract<TypeParam, float>(s, project_kernel::any_alignment);
}
TYPED_TEST(project, several_tiles_give_the_bits_of_the_contract) {
  for (const project_kernel kernel : {project_kernel::narrow_tiles, project_kernel::small_tiles, project_kernel::any_alignment})
    expect_bits_of_the_contract<TypeParam, float>({.rows = 65 + 512, .in = 40, .out = 70}, kernel);  // more rows of tiles than are in a group
  for (const project_kernel kernel : {project_kernel::medium_tiles, project_kernel::large_tiles})
    expect_bits_of_the_contract<TypeParam, float>({.rows = 300, .in = 520, .out = 200}, kernel);
}
TYPED_TEST(project, a_row_is_rounded_once) {
  for (const project_kernel kernel : kernels_for(7)) expect_bits_of_the_contract<TypeParam>({.rows = 7, .in = 304, .out = 21}, kernel);
}

TYPED_TEST(project, bits_are_the_same_under_every_schedule) {
  rapt_test::under_every_schedule([] {
    for (const project_kernel kernel : {project_kernel::few_rows_8, project_kernel::few_rows_32})
      expect_bits_of_the_contract<TypeParam, float>({.rows = 6, .in = 4400, .out = 12}, kernel);
    for (const project_kernel kernel : {project_kernel::narrow_tiles, project_kernel::small_tiles})
      expect_bits_of_the_contract<TypeParam, float>({.rows = 6, .in = 600, .out = 12}, kernel);
    expect_bits_of_the_contract<TypeParam, float>({.rows = 6, .in = 300, .out = 12}, project_kernel::any_alignment);
    for (const project_kernel kernel : {project_kernel::medium_tiles, project_kernel::large_tiles})
      expect_bits_of_the_contract<TypeParam, float>({.rows = 70, .in = 304, .out = 70}, kernel);
  });
}

TYPED_TEST(project, a_row_has_the_same_bits_alone_and_among_others) {
  const projection_shape shape{.rows = 20, .in = 600, .out = 30};
  projection_rig<TypeParam> all(shape);
  rapt::kernels::project(all.problem, nullptr);
  for (const int count : {1, 2, 7, 16, 17})
    for (const int first : {0, 3}) {
      projection_rig<TypeParam> some(shape);
      auto p = some.problem;
      p.x += first * p.x_stride, p.y += first * p.y_stride, p.residual += first * p.residual_stride, p.rows = count;
      rapt::kernels::project(p, nullptr);
      for (rapt::index_t i = 0; i < count; ++i)
        for (int c = 0; c < shape.out; ++c)
          ASSERT_EQ(bits_of(p.y[i * p.y_stride + c]), bits_of(all.problem.y[(first + i) * p.y_stride + c])) << count << ' ' << first << ' ' << i;
    }
}

TYPED_TEST(project, several_outputs_of_few_rows_have_the_same_bits_by_one_launch) {
  using one = rapt::kernels::projection<TypeParam, float>;
  for (const int rows : {3, 9})
    for (const rapt::index_t gap_of_last : {8, 3}) {  // not of 16 bytes: another kernel than the others'
      projection_rig<TypeParam, float> a({.rows = rows, .in = 520, .out = 70}, 1), b({.rows = rows, .in = 520, .out = 1}, 2),
          c({.rows = rows, .in = 520, .out = 33, .gap = gap_of_last}, 3), d({.rows = rows, .in = 520, .out = 40}, 4);
      const one three[] = {a.problem, b.problem, c.problem}, alone[] = {d.problem};
      rapt::kernels::project_together(std::span<const one>(three), nullptr);
      rapt::kernels::project_together(std::span<const one>(alone), nullptr);
      for (const auto* rig : {&a, &b, &c, &d}) expect_bits_of_the_contract(*rig);
    }
}

TYPED_TEST(project, strides_and_addresses_that_are_no_multiples_of_16_bytes_work) {
  for (const rapt::index_t gap : {1, 3}) {
    projection_rig<TypeParam> rig({.rows = 5, .in = 72, .out = 18, .gap = gap});
    EXPECT_EQ(rapt::kernels::project_kernel_for(rig.problem), project_kernel::any_alignment);
    rapt::kernels::project(rig.problem, nullptr);
    expect_bits_of_the_contract(rig);
  }
  projection_rig<TypeParam> rig({.rows = 2, .in = 40, .out = 8});
  const std::vector<TypeParam> w = rig.w;
  std::copy(w.begin(), w.end() - 8, rig.w.begin() + 1);
  rig.problem.w += 1;
  rapt::kernels::project(rig.problem, nullptr);
  expect_bits_of_the_contract(rig);
}
TYPED_TEST(project, a_row_of_x_may_be_used_for_all) {
  projection_rig<TypeParam> rig({.rows = 3, .in = 40, .out = 8});
  rig.problem.x_stride = 0;
  rapt::kernels::project(rig.problem, nullptr);
  expect_bits_of_the_contract(rig);
}
TYPED_TEST(project, y_may_be_the_residual) {
  projection_rig<TypeParam> apart({.rows = 3, .in = 40, .out = 11}), in_place({.rows = 3, .in = 40, .out = 11});
  rapt::kernels::project(apart.problem, nullptr);
  in_place.problem.y = in_place.residual.data();
  rapt::kernels::project(in_place.problem, nullptr);
  for (rapt::index_t r = 0; r < 3; ++r)
    for (int c = 0; c < 11; ++c)
      EXPECT_EQ(bits_of(in_place.problem.y[r * apart.problem.y_stride + c]), bits_of(apart.problem.y[r * apart.problem.y_stride + c]));
}

constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();

TYPED_TEST(project, what_is_not_finite_stays_in_its_row_or_column_and_nan_is_canonical) {
  for (const project_kernel kernel : kernels_for(2)) {
    projection_rig<TypeParam> rig({.rows = 8, .in = 272, .out = 20});
    rig.x_at(3, 261) = TypeParam(nan);
    rig.x_at(4, 7) = TypeParam(inf);
    rig.w_at(5, 269) = TypeParam(-inf);
    rapt::kernels::project_with(kernel, rig.problem, nullptr);
    expect_bits_of_the_contract(rig);
    for (int c = 0; c < 20; ++c) EXPECT_EQ(bits_of(rig.problem.y[3 * rig.problem.y_stride + c]), bits_of(TypeParam(nan)));
    EXPECT_TRUE(std::isinf(static_cast<float>(rig.problem.y[5])));
    EXPECT_TRUE(std::isfinite(static_cast<float>(rig.problem.y[6])));
  }
}

// Products below the smallest float leave -0, which a further mma of zeros, where a kernel has one, turns into +0.
TEST(project_bf16, a_zero_is_positive_in_every_kernel) {
  for (const project_kernel kernel : kernels_for(2))
    for (const int in : {16, 32, 256, 304}) {
      projection_rig<bf16, float> rig({.rows = 2, .in = in, .out = 4, .with_bias = false, .with_residual = false});
      for (int k = 0; k < in; ++k)
        for (int i = 0; i < 4; ++i) rig.x_at(i % 2, k) = bf16(k + 1 == in ? 0x1p-100f : 0.0f), rig.w_at(i, k) = bf16(-0x1p-100f);
      rapt::kernels::project_with(kernel, rig.problem, nullptr);
      for (int i = 0; i < 4; ++i) EXPECT_EQ(bits_of(rig.problem.y[i]), 0u) << in;
    }
}

TYPED_TEST(project, without_inputs_is_bias_and_residual) {
  for (const bool with_bias : {false, true}) {
    projection_rig<TypeParam> rig({.rows = 2, .in = 0, .out = 10, .with_bias = with_bias, .with_residual = false});
    rig.problem.x = rig.problem.w = nullptr;
    for (const project_kernel kernel : kernels_for(2)) {
      rapt::kernels::project_with(kernel, rig.problem, nullptr);
      for (int c = 0; c < 10; ++c) EXPECT_EQ(bits_of(rig.problem.y[c]), with_bias ? TypeParam(rig.bias[static_cast<std::size_t>(c)]).bits : 0);
    }
  }
}

TYPED_TEST(project, is_the_product_within_its_rounding) {
  projection_rig<TypeParam, float> rig({.rows = 3, .in = 4096, .out = 16});
  rapt::kernels::project(rig.problem, nullptr);
  double difference = 0, size = 0;
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 16; ++c) {
      double exact = static_cast<double>(static_cast<float>(rig.problem.residual[r * rig.problem.residual_stride + c])) +
                     static_cast<double>(rig.bias[static_cast<std::size_t>(c)]);
      for (int k = 0; k < 4096; ++k)
        exact += static_cast<double>(static_cast<float>(rig.x_at(r, k))) * static_cast<double>(static_cast<float>(rig.w_at(c, k)));
      const double error = static_cast<double>(rig.problem.y[r * rig.problem.y_stride + c]) - exact;
      difference += error * error, size += exact * exact;
    }
  // 256 / 16 sums, each cut off within 2^-24 of its largest term, in 16 blocks.
  EXPECT_LT(std::sqrt(difference / size), 2e-6);
}

TEST(project_checks, the_kernel_suits_the_operands) {
  projection_rig<bf16> rig({.rows = 1, .in = 16, .out = 8});
  auto p = rig.problem;
  const auto kernel_for = [&](int rows, int out) {
    p.rows = rows, p.out = out;
    return rapt::kernels::project_kernel_for(p);
  };
  EXPECT_EQ(kernel_for(1, 4096), project_kernel::few_rows_8);
  EXPECT_EQ(kernel_for(16, 4096), project_kernel::few_rows_32);
  EXPECT_EQ(kernel_for(17, 4096), project_kernel::narrow_tiles);
  EXPECT_EQ(kernel_for(256, 4096), project_kernel::small_tiles);
  EXPECT_EQ(kernel_for(512, 4096), project_kernel::medium_tiles);
  EXPECT_EQ(kernel_for(4096, 1024), project_kernel::large_tiles);
  p.in = 12;
  EXPECT_EQ(kernel_for(4096, 1024), project_kernel::any_alignment);
  p.in = 16, p.w_stride = 17;
  EXPECT_EQ(kernel_for(4096, 1024), project_kernel::any_alignment);
  p.w_stride = 16, p.x += 1;
  EXPECT_EQ(kernel_for(1, 8), project_kernel::any_alignment);
}

template <class Change>
std::string error_of(Change change) {
  projection_rig<f16> rig({.rows = 3, .in = 16, .out = 8});
  change(rig.problem);
  try {
    rapt::kernels::project(rig.problem, nullptr);
  } catch (const rapt::shape_error& e) {
    for (const f16 y : rig.y) EXPECT_EQ(bits_of(y), bits_of(f16(nan))) << "written";
    return e.what();
  }
  return "none";
}
TEST(project_checks, what_does_not_fit_is_a_shape_error_before_anything_is_written) {
  using problem = rapt::kernels::projection<f16>;
  EXPECT_EQ(error_of([](problem& p) { p.rows = -1; }), "project: x has extent -1 (len); extents may not be negative");
  EXPECT_EQ(error_of([](problem& p) { p.x = nullptr; }), "project: x is null; 1 x 3 x 1 x 16 elements are needed");
  EXPECT_EQ(error_of([](problem& p) { p.w = nullptr; }), "project: w is null; 1 x 8 x 1 x 16 elements are needed");
  EXPECT_EQ(error_of([](problem& p) { p.y = nullptr; }), "project: y is null; 1 x 3 x 1 x 8 elements are needed");
  EXPECT_EQ(error_of([](problem& p) { p.w_stride = -16; }), "project: w has stride -16 (len); strides may not be negative");
  EXPECT_EQ(error_of([](problem& p) { p.residual_stride = -8; }), "project: residual has stride -8 (len); strides may not be negative");
  EXPECT_EQ(error_of([](problem& p) { p.y_stride = 7; }),
            "project: y has stride 7 over 3 elements; a stride above 7 is needed, or elements of an output share an address");
  EXPECT_EQ(error_of([](problem& p) { p.x = p.y, p.x_stride = p.y_stride; }), "project: y overlaps x; separate memory is needed");
  EXPECT_EQ(error_of([](problem& p) { p.w = p.y + 1; }), "project: y overlaps w; separate memory is needed");
  EXPECT_EQ(error_of([](problem& p) { p.residual = p.y + 1, p.residual_stride = p.y_stride; }),
            "project: y overlaps residual; separate memory is needed");
  EXPECT_EQ(error_of([](problem& p) { p.x_stride = p.w_stride = rapt::index_t{1} << 62; }), "project: x spans more than 2^63 - 1 bytes");
}
TEST(project_checks, nothing_to_write_launches_nothing) {
  rapt::kernels::projection<bf16> p;
  p.in = 8;
  EXPECT_NO_THROW(rapt::kernels::project(p, nullptr));
}

}  // namespace
