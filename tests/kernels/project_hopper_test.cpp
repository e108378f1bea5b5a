// Projections by wgmma: the bits of the contract, as every other kernel gives them.
#include <kernels/project_hopper.hpp>
#include <rapt/core/error.hpp>
#include <tests/kernels/project_rig.hpp>
#include <tests/kernels/schedules.hpp>

#include <cmath>
#include <string>

namespace {

using rapt::bf16;
using rapt::f16;
using rapt_test::bits_of;
using rapt_test::expect_bits_of_the_contract;
using rapt_test::projection_rig;
using rapt_test::projection_shape;

template <class T, class Out = T>
void expect_bits_of_the_contract(const projection_shape& shape, unsigned max_blocks) {
  SCOPED_TRACE(std::to_string(shape.rows) + " x " + std::to_string(shape.in) + " x " + std::to_string(shape.out) + ", " + std::to_string(max_blocks) +
               " blocks");
  projection_rig<T, Out> rig(shape);
  rapt::kernels::project_hopper(rig.problem, max_blocks, nullptr);
  expect_bits_of_the_contract(rig);
}

template <class T>
class project_hopper : public testing::Test {};
using element_types = testing::Types<f16, bf16>;
TYPED_TEST_SUITE(project_hopper, element_types);

// One block has wide tiles, one after the other; enough for narrow ones give these. Written as floats: rounding to 16 bits hides most of what another
// order would change.
TYPED_TEST(project_hopper, gives_the_bits_of_the_contract) {
  for (const unsigned max_blocks : {1u, 2u, 100u})
    for (const projection_shape& s : {projection_shape{.rows = 65, .in = 8, .out = 1}, projection_shape{.rows = 70, .in = 304, .out = 140},
                                      projection_shape{.rows = 130, .in = 1224, .out = 65, .with_residual = false},
                                      projection_shape{.rows = 257, .in = 512, .out = 130, .with_bias = false}})
      expect_bits_of_the_contract<TypeParam, float>(s, max_blocks);
}
TYPED_TEST(project_hopper, several_groups_of_tiles_give_the_bits_of_the_contract) {
  expect_bits_of_the_contract<TypeParam, float>({.rows = 8 * 128 + 1, .in = 16, .out = 140}, 3);
}
// Whole tiles are written 16 bytes at a time, where rows lie so.
TYPED_TEST(project_hopper, a_row_is_rounded_once) {
  for (const projection_shape& s : {projection_shape{.rows = 67, .in = 304, .out = 21}, projection_shape{.rows = 130, .in = 16, .out = 130},
                                    projection_shape{.rows = 128, .in = 304, .out = 200, .with_bias = false, .with_residual = false}})
    for (const unsigned max_blocks : {1u, 9u}) expect_bits_of_the_contract<TypeParam>(s, max_blocks);
}
TYPED_TEST(project_hopper, y_may_lie_anywhere) {
  projection_rig<TypeParam> rig({.rows = 130, .in = 16, .out = 130});
  for (const auto& [first, stride] : {std::pair<std::size_t, std::size_t>{1, 136}, {0, 131}}) {
    std::vector<TypeParam> y(131 * 136);
    rig.problem.y = y.data() + first, rig.problem.y_stride = static_cast<rapt::index_t>(stride);
    rapt::kernels::project_hopper(rig.problem, 1, nullptr);
    for (std::size_t r = 0; r < 130; ++r)
      for (std::size_t c = 0; c < 130; ++c)
        ASSERT_EQ(bits_of(y[first + r * stride + c]), bits_of(rig.expected(static_cast<int>(r), static_cast<int>(c)))) << r << ' ' << c;
  }
}

TYPED_TEST(project_hopper, bits_are_the_same_under_every_schedule) {
  rapt_test::under_every_schedule([] {
    expect_bits_of_the_contract<TypeParam, float>({.rows = 135, .in = 840, .out = 12}, 1);
    expect_bits_of_the_contract<TypeParam, float>({.rows = 66, .in = 304, .out = 70}, 9);
  });
}

// In tiles that are written 16 bytes at a time, and in others.
TYPED_TEST(project_hopper, y_may_be_the_residual) {
  for (const int out : {11, 140}) {
    projection_rig<TypeParam> rig({.rows = 130, .in = 40, .out = out});
    const std::vector<TypeParam> residual = rig.residual;
    rig.problem.y = rig.residual.data();
    rapt::kernels::project_hopper(rig.problem, 1, nullptr);
    std::vector<TypeParam> y = residual;
    y.swap(rig.residual);
    for (int r = 0; r < 130; ++r)
      for (int c = 0; c < out; ++c) ASSERT_EQ(bits_of(y[static_cast<std::size_t>(r * rig.problem.y_stride + c)]), bits_of(rig.expected(r, c))) << r;
  }
}

constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();

TYPED_TEST(project_hopper, what_is_not_finite_stays_in_its_row_or_column) {
  projection_rig<TypeParam> rig({.rows = 80, .in = 272, .out = 20});
  rig.x_at(3, 261) = TypeParam(nan), rig.x_at(79, 0) = TypeParam(nan), rig.x_at(70, 7) = TypeParam(inf), rig.w_at(5, 269) = TypeParam(-inf);
  rapt::kernels::project_hopper(rig.problem, 2, nullptr);
  expect_bits_of_the_contract(rig);
  EXPECT_TRUE(std::isinf(static_cast<float>(rig.problem.y[5])));
  EXPECT_TRUE(std::isfinite(static_cast<float>(rig.problem.y[6])));
}
// Products below the smallest float leave -0, which products with the zeros behind the last input turn into +0 in some kernels.
TEST(project_hopper_bf16, a_zero_is_positive) {
  for (const int in : {16, 64, 256, 304}) {
    projection_rig<bf16, float> rig({.rows = 65, .in = in, .out = 4, .with_bias = false, .with_residual = false});
    for (int k = 0; k < in; ++k)
      for (int i = 0; i < 65; ++i) rig.x_at(i, k) = bf16(k + 1 == in ? 0x1p-100f : 0.0f), rig.w_at(i % 4, k) = bf16(-0x1p-100f);
    rapt::kernels::project_hopper(rig.problem, 1, nullptr);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(bits_of(rig.problem.y[i]), 0u) << in;
  }
}

TEST(project_hopper_checks, what_it_serves) {
  projection_rig<bf16> rig({.rows = 65, .in = 16, .out = 8});
  const auto served = [&](auto change) {
    auto p = rig.problem;
    change(p);
    return rapt::kernels::serves_hopper(p);
  };
  using problem = rapt::kernels::projection<bf16>;
  EXPECT_TRUE(served([](problem&) {}));
  EXPECT_FALSE(served([](problem& p) { p.rows = 64; }));
  EXPECT_FALSE(served([](problem& p) { p.in = 0; }));
  EXPECT_FALSE(served([](problem& p) { p.in = 12; }));
  EXPECT_FALSE(served([](problem& p) { p.x += 1; }));
  EXPECT_FALSE(served([](problem& p) { p.w_stride = 17; }));
  EXPECT_FALSE(served([](problem& p) { p.x_stride = 0; }));
  EXPECT_FALSE(served([](problem& p) { p.w_stride = 0; }));
  EXPECT_TRUE(served([](problem& p) { p.w_stride = 0, p.out = 1; }));
}
template <class Change>
std::string error_of(Change change) {
  projection_rig<f16> rig({.rows = 65, .in = 16, .out = 8});
  unsigned max_blocks = 1;
  change(rig.problem, max_blocks);
  try {
    rapt::kernels::project_hopper(rig.problem, max_blocks, nullptr);
  } catch (const rapt::error& e) {
    for (const f16 y : rig.y) EXPECT_EQ(bits_of(y), bits_of(f16(nan))) << "written";
    return e.what();
  }
  return "none";
}
TEST(project_hopper_checks, what_does_not_fit_is_an_error_before_anything_is_written) {
  using problem = rapt::kernels::projection<f16>;
  EXPECT_EQ(error_of([](problem& p, unsigned&) { p.x = nullptr; }), "project: x is null; 1 x 65 x 1 x 16 elements are needed");
  EXPECT_EQ(error_of([](problem& p, unsigned&) { p.rows = 64; }),
            "project_hopper: up to 64 rows, no inputs, and rows of no whole 16 bytes are what project serves");
  EXPECT_EQ(error_of([](problem&, unsigned& max_blocks) { max_blocks = 0; }), "project_hopper: at least one block is needed");
}

}  // namespace
