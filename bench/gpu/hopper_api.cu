// Kernels of sm_90a behind plain functions, for attention.py and projections.py: part of their library where that is compiled for such a device. A
// nonzero result is an error, whose text last_error() has.
#include <bench/gpu/attention_call.hpp>
#include <bench/gpu/guarded.hpp>
#include <bench/gpu/projection_call.hpp>
#include <kernels/attend_hopper.hpp>
#include <kernels/project_hopper.hpp>

using namespace rapt::kernels;

extern "C" int run_hopper(const rapt_bench::attention_call* c, long long q_rows, long long kv_rows, unsigned* counter, unsigned num_blocks,
                          rapt::simt::stream stream) {
  return rapt_bench::guarded([&] {
    const auto run = [&](auto type) {
      using T = decltype(type);
      attend_hopper(rapt_bench::problem_of<T, T>(*c), {q_rows, kv_rows}, counter, num_blocks, stream);
    };
    if (c->is_bf16 != 0)
      run(rapt::bf16());
    else
      run(rapt::f16());
  });
}

extern "C" int run_project_hopper(const rapt_bench::projection_call* c, unsigned max_blocks, rapt::simt::stream stream) {
  return rapt_bench::guarded([&] { with_projection(*c, [&](const auto& p) { project_hopper(p, max_blocks, stream); }); });
}
