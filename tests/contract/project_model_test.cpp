// cpu::backend::project against the scalar model: every bit, for random extents, dtypes, biases, residuals and targets.
#include <contract/project_case.hpp>

namespace rapt_test::contract {
namespace {

void compare(std::uint64_t seed, const project_limits& limits) {
  SCOPED_TRACE("case " + std::to_string(seed));
  project_case c(seed, limits);
  const std::vector<random_tensor> expected = c.outputs(c.outs);
  with_accumulator(c.p.accumulator, [&](auto a) { model_project<decltype(a)>(c.p); });
  random_source random(seed ^ 0xabcd);
  on_every_context(
      random,
      [&](rapt::cpu::context& ctx) {
        const std::vector<random_tensor> got = c.outputs(c.outs);
        run_measured(ctx, [&](rapt::workspace& scratch) { rapt::cpu::backend::project(ctx, c.p, scratch); });
        for (std::size_t t = 0; t < got.size(); ++t) expect_same_bytes(got[t].bytes(), expected[t].bytes(), got[t].o.type, "out");
      },
      c.p.bf16_pairs);
}

void compare_many(std::uint64_t first_seed, int count, const project_limits& limits) {
  for (int i = 0; i < count && !testing::Test::HasFailure(); ++i) compare(first_seed + static_cast<std::uint64_t>(i), limits);
}

TEST(project_contract, random_extents_and_dtypes) { compare_many(10'000, 800, {}); }
TEST(project_contract, many_rows_and_deep_chains) { compare_many(20'000, 25, {.depths = {1024, 2048, 1111}, .columns = {17, 130}, .max_rows = 90}); }
TEST(project_contract, nan_and_infinity_stay_in_their_row_and_column) { compare_many(30'000, 200, {.special_values = true}); }

TEST(project_contract, pairs_of_bf16) {
  compare_many(40'000, 400, {.bf16_pairs = true});
  compare_many(41'000, 15, {.depths = {1024, 2048, 1111}, .columns = {17, 130}, .max_rows = 90, .bf16_pairs = true});
  compare_many(42'000, 100, {.special_values = true, .bf16_pairs = true});
}

}  // namespace
}  // namespace rapt_test::contract
