// The bitwise matrix on the emulated device: chunking x batch x paging x capacity x order of blocks and threads x save and load.
// RAPT_CUDA_MATRIX_CASES sets how many cases run.
#include <rapt/cuda.hpp>

#include <contract/matrix_case.hpp>
#include <kernels/schedules.hpp>
#include <support/cuda_placement.hpp>

#include <cstdlib>

namespace rapt_test::contract {
namespace {

/// One context, and for each call another schedule.
struct cuda_contexts {
  using backend = rapt::cuda::backend;
  explicit cuda_contexts(const matrix_limits&) {}
  rapt::cuda::context& any(random_source& random) {
    device_.reset();
    device_.emplace(random.pick(schedules_));
    return plain();
  }
  rapt::cuda::context& plain() {
    static rapt::cuda::context ctx;
    return ctx;
  }

 private:
  const std::vector<rapt::simt::emulator::schedule> schedules_ = rapt_test::all_schedules();
  std::optional<rapt::simt::emulator::scoped_device> device_;
};

template <class T>
void run_cases(index_t first, const matrix_limits& limits, index_t divisor) {
  const char* const text = std::getenv("RAPT_CUDA_MATRIX_CASES");
  const index_t cases = (text == nullptr ? 24 : std::strtoll(text, nullptr, 10)) / divisor;
  if (cases == 0) GTEST_SKIP() << "no case among so few; " << divisor << " would be one";
  for (index_t seed = first; seed < first + cases && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_source random(static_cast<std::uint64_t>(seed));
    matrix_case<T, cuda_contexts>(random, limits).run();
  }
}

matrix_limits on_tensor_cores(index_t min_len, index_t max_len) {
  return {.config = {.dims = {1, 8, 17, 40}, .max_kv_heads = 2, .max_group = 3, .max_model_dim = 40},
          .min_len = min_len,
          .max_len = max_len,
          .max_sequences = 3,
          .max_actions = 8,
          .numerics = rapt::numerics_id::sm90_mma_v1};
}

matrix_limits in_the_cpu_s_order() {
  matrix_limits limits = on_tensor_cores(1, 40);
  limits.numerics = rapt::numerics_id::cpu_v1;
  return limits;
}

TEST(cuda_matrix, float_in_the_cpu_s_order) { run_cases<float>(3'000'001, in_the_cpu_s_order(), 2); }
TEST(cuda_matrix, double_in_the_cpu_s_order) { run_cases<double>(4'000'001, in_the_cpu_s_order(), 2); }
TEST(cuda_matrix, bf16_in_the_cpu_s_order) { run_cases<rapt::bf16>(5'000'001, in_the_cpu_s_order(), 2); }
TEST(cuda_matrix, bf16_by_tensor_cores) { run_cases<rapt::bf16>(1, on_tensor_cores(1, 40), 1); }
TEST(cuda_matrix, f16_by_tensor_cores) { run_cases<rapt::f16>(1'000'001, on_tensor_cores(1, 40), 1); }
TEST(cuda_matrix, segments_by_tensor_cores) { run_cases<rapt::bf16>(2'000'001, on_tensor_cores(500, 1'100), 12); }

}  // namespace
}  // namespace rapt_test::contract
