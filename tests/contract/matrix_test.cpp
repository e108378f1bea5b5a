// The bitwise matrix: chunking x batch x threads x instruction set x paging x capacity x save and load, as random lives of caches. RAPT_MATRIX_CASES
// sets how many cases run (for soaking), RAPT_MATRIX_SEED the first; a failure prints both so that its case runs alone.
#include <contract/matrix_case.hpp>

#include <cstdlib>

namespace rapt_test::contract {
namespace {

index_t from_environment(const char* name, index_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoll(text, nullptr, 10);
}

void run_case(index_t seed, const matrix_limits& limits, const char* replay) {
  SCOPED_TRACE(std::string(replay) + std::to_string(seed));
  random_source random(static_cast<std::uint64_t>(seed));
  if (rapt::adds_bf16_pairs(limits.numerics)) return matrix_case<rapt::bf16>(random, limits).run();
  with_activation(random, [&](auto t) { matrix_case<decltype(t)>(random, limits).run(); });
}

const matrix_limits segments{.config = {.dims = {1, 3, 8}, .max_kv_heads = 2, .max_group = 2, .max_model_dim = 12},
                             .min_len = 500,
                             .max_len = 1'100,
                             .max_sequences = 2,
                             .max_streams = 1,
                             .max_actions = 6};

/// A quarter of the cases, so that ctest can run four at a time.
void run_quarter(index_t quarter) {
  const index_t cases = from_environment("RAPT_MATRIX_CASES", 10'000), first = from_environment("RAPT_MATRIX_SEED", 1'000'000);
  const matrix_limits mostly,
      wide{.config = {.dims = {63, 64, 65, 128, 130}, .max_kv_heads = 2, .max_group = 4, .max_model_dim = 300}, .max_len = 20};
  for (index_t seed = first + quarter * cases / 4; seed < first + (quarter + 1) * cases / 4 && !testing::Test::HasFailure(); ++seed)
    run_case(seed, seed % 100 == 0 ? segments : seed % 20 == 1 ? wide : mostly, "replay with RAPT_MATRIX_CASES=1 RAPT_MATRIX_SEED=");
}

TEST(matrix, first_quarter) { run_quarter(0); }
TEST(matrix, second_quarter) { run_quarter(1); }
TEST(matrix, third_quarter) { run_quarter(2); }
TEST(matrix, fourth_quarter) { run_quarter(3); }

TEST(matrix, bf16_by_pairs) {
  const auto by_pairs = [](matrix_limits limits) {
    limits.numerics = rapt::numerics_id::cpu_bf16dot_v1;
    return limits;
  };
  for (index_t seed = 2'000'000; seed < 2'001'000 && !HasFailure(); ++seed)
    run_case(seed, by_pairs(seed % 100 == 0 ? segments : matrix_limits{}), "by pairs, seed ");
}

TEST(matrix, super_segments) {
  const config_limits tiny{.dims = {1, 3}, .max_kv_heads = 1, .max_group = 2, .max_model_dim = 6};
  for (const index_t len : {8'191, 8'192, 8'193, 16'385}) {
    const matrix_limits limits{
        .config = tiny, .min_len = len, .max_len = len, .max_layers = 1, .max_sequences = 1, .max_streams = 1, .max_actions = 3, .portable = false};
    if (!HasFailure()) run_case(len, limits, "length ");
  }
}

}  // namespace
}  // namespace rapt_test::contract
