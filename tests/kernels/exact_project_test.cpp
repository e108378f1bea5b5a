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

template <class A>
void project_targets(const rapt::project_params& p, index_t gap) {
  for (int t = 0; t < p.num_targets; ++t) {
    const weight_rows w(p.targets[t].weights, gap);
    rapt::kernels::exact_projection<A> projection;
    projection.x = p.x, projection.y = p.targets[t].out, projection.residual = p.residual;
    projection.w = w.data.data(), projection.w_type = p.targets[t].weights.type, projection.w_stride = w.stride;
    projection.bias = static_cast<const A*>(p.targets[t].weights.bias);
    rapt::kernels::project_exact(projection, nullptr);
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
    const std::vector<random_tensor> got = c.outputs(c.outs);
    const auto schedules = all_schedules();
    const rapt::simt::emulator::scoped_device device(schedules[seed % schedules.size()]);
    project_targets<A>(c.p, static_cast<index_t>(seed % 3));
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
TEST(exact_project, many_rows_and_deep_chains) { compare_many(120'000, 6, {.depths = {1024, 1111}, .columns = {17, 130}, .max_rows = 90}); }
TEST(exact_project, nan_and_infinity_stay_in_their_row_and_column) { compare_many(130'000, 40, {.special_values = true}); }

}  // namespace
}  // namespace rapt_test
