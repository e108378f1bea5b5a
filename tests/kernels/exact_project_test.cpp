// Exact projections against the CPU's project and the scalar model: every byte, for random extents, types, biases and residuals, under every
// schedule.
#include <contract/project_case.hpp>
#include <kernels/exact_project.hpp>
#include <tests/kernels/schedules.hpp>

namespace rapt_test {
namespace {

using contract::project_case;
using contract::project_limits;
using contract::random_tensor;
using rapt::index_t;

/// Packed weights [ceil(columns / 16)][depth][16] as rows [columns, depth + gap].
struct weight_rows {
  index_t stride;
  std::vector<std::byte> data;

  weight_rows(const rapt::packed_matrix& m, index_t gap) : stride(m.depth + gap) {
    const index_t element = size_of(m.type);
    data.assign(static_cast<std::size_t>(m.columns * stride * element), std::byte{0xff});
    for (index_t c = 0; c < m.columns; ++c)
      for (index_t k = 0; k < m.depth; ++k)
        std::copy_n(static_cast<const std::byte*>(m.data) + ((c / 16 * m.depth + k) * 16 + c % 16) * element, element,
                    data.data() + (c * stride + k) * element);
  }
};

using rapt::kernels::exact_project_kernel;
constexpr exact_project_kernel all_kernels[] = {exact_project_kernel::tiles, exact_project_kernel::few_rows, exact_project_kernel::one_row};

template <class A>
void project_targets(const rapt::project_params& p, index_t gap, exact_project_kernel kernel) {
  for (const auto& [weights, out] : p.targets) {
    const weight_rows w(weights, gap);
    rapt::kernels::exact_projection<A> projection;
    projection.x = p.x, projection.y = out, projection.residual = p.residual;
    projection.w = w.data.data(), projection.w_type = weights.type, projection.w_stride = w.stride;
    projection.bias = static_cast<const A*>(weights.bias);
    rapt::kernels::project_exact_with(kernel, projection, nullptr);
  }
}

void compare(std::uint64_t seed, const project_limits& limits) {
  SCOPED_TRACE("case " + std::to_string(seed));
  project_case c(seed, limits);
  contract::with_accumulator(c.p.accumulator, [&](auto a) {
    using A = decltype(a);
    const std::vector<random_tensor> of_model = c.outputs(c.outs);
    contract::model_project<A>(c.p);
    const std::vector<random_tensor> of_cpu = c.outputs(c.outs);
    rapt::cpu::context& ctx = contract::context_for(rapt::cpu::isa::automatic, 1);
    contract::run_measured(ctx, [&](rapt::workspace& scratch) { rapt::cpu::backend::project(ctx, c.p, scratch); });
    const auto schedules = all_schedules();
    const rapt::simt::emulator::scoped_device device(schedules[seed % schedules.size()]);
    const std::vector<random_tensor> got = c.outputs(c.outs);
    // Rows of weights at multiples of 4 elements, or not.
    project_targets<A>(c.p, seed % 2 == 0 ? (4 - c.p.x.heads * c.p.x.dim % 4) % 4 : 3, all_kernels[seed % 3]);
    for (std::size_t t = 0; t < got.size(); ++t) {
      contract::expect_same_bytes(got[t].bytes(), of_model[t].bytes(), got[t].o.type, "out, model");
      contract::expect_same_bytes(got[t].bytes(), of_cpu[t].bytes(), got[t].o.type, "out, CPU");
    }
  });
}

void compare_many(std::uint64_t first_seed, int count, const project_limits& limits) {
  for (int i = 0; i < count && !testing::Test::HasFailure(); ++i) compare(first_seed + static_cast<std::uint64_t>(i), limits);
}

TEST(exact_project, random_extents_and_dtypes) { compare_many(110'000, 100, {}); }
TEST(exact_project, many_rows_and_deep_chains) { compare_many(120'000, 6, {.depths = {1111, 2300}, .columns = {17, 70}, .max_rows = 40}); }
TEST(exact_project, nan_and_infinity_stay_in_their_row_and_column) { compare_many(130'000, 40, {.special_values = true}); }

TEST(exact_project, bits_are_the_same_under_every_schedule_and_by_every_kernel) {
  project_case c(140'000, {.depths = {520}, .columns = {33}, .max_rows = 10});
  contract::with_accumulator(c.p.accumulator, [&](auto a) {
    const std::vector<random_tensor> of_model = c.outputs(c.outs);
    contract::model_project<decltype(a)>(c.p);
    under_every_schedule([&] {
      for (const exact_project_kernel kernel : all_kernels) {
        const std::vector<random_tensor> got = c.outputs(c.outs);
        project_targets<decltype(a)>(c.p, 0, kernel);
        for (std::size_t t = 0; t < got.size(); ++t) contract::expect_same_bytes(got[t].bytes(), of_model[t].bytes(), got[t].o.type, "out");
      }
    });
  });
}

// Weights in double are rounded once, as when the CPU packs them; with no inputs a sum is +0.
TEST(exact_project, double_weights_under_float_and_no_inputs) {
  const double w[] = {1 + 0x1p-24, 1 + 0x1p-24 + 0x1p-40};
  const float x[] = {3.0f}, bias[] = {-0.0f, 2.0f};
  float y[2];
  rapt::kernels::exact_projection<float> p;
  p.x.data = const_cast<float*>(x), p.x.len = 1, p.x.dim = 1, p.x.len_stride = 1;
  p.y.data = y, p.y.len = 1, p.y.dim = 2, p.y.len_stride = 2;
  p.w = w, p.w_type = rapt::dtype::f64, p.w_stride = 1;
  rapt::kernels::project_exact(p, nullptr);
  EXPECT_EQ(y[0], 3.0f);
  EXPECT_EQ(y[1], 3 * (1 + 0x1p-23f));
  p.x.dim = 0, p.bias = bias;
  rapt::kernels::project_exact(p, nullptr);
  EXPECT_EQ(y[0], 0.0f);
  EXPECT_FALSE(std::signbit(y[0]));
  EXPECT_EQ(y[1], 2.0f);
}

TEST(exact_project, errors_are_found_before_anything_is_written) {
  const auto code_of = [](auto change) {
    std::vector<float> x(64, 1.0f), y(64, 5.0f);
    rapt::kernels::exact_projection<float> p;
    p.x.data = x.data(), p.x.len = 2, p.x.dim = 8, p.x.len_stride = 8;
    p.y = p.x, p.y.data = y.data(), p.w = x.data(), p.w_stride = 8;
    change(p);
    try {
      rapt::kernels::project_exact(p, nullptr);
    } catch (const rapt::error& e) {
      EXPECT_EQ(y, std::vector<float>(64, 5.0f));
      return e.code();
    }
    return rapt::errc::none;
  };
  using projection = rapt::kernels::exact_projection<float>;
  EXPECT_EQ(code_of([](projection&) {}), rapt::errc::none);
  EXPECT_EQ(code_of([](projection& p) { p.x.len = p.y.len = 0; }), rapt::errc::none);
  EXPECT_EQ(code_of([](projection& p) { p.x.type = rapt::dtype::i64; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](projection& p) { p.w_type = rapt::dtype::boolean; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](projection& p) { p.w = nullptr; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](projection& p) { p.w_stride = 7; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](projection& p) { p.y.data = nullptr; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](projection& p) { p.y.len = 1; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](projection& p) { p.residual = p.y, p.residual.dim = 7; }), rapt::errc::shape);
}

}  // namespace
}  // namespace rapt_test
