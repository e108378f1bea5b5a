// Kernels of sm_90a behind plain functions, for attention.py, decode.py and projections.py: part of their library where that is compiled for such a
// device. A nonzero result is an error, whose text last_error() has.
#include <bench/gpu/attention_call.hpp>
#include <bench/gpu/decode_call.hpp>
#include <bench/gpu/guarded.hpp>
#include <bench/gpu/projection_call.hpp>
#include <kernels/attend_decode_clusters.hpp>
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

/// Whether run_decode_by_clusters does.
extern "C" int clusters_serve(const rapt_bench::decode_call* c) {
  return serves_clusters(rapt_bench::problem_of<rapt::bf16>(*c), {c->max_q_len, c->max_kv_len}) ? 1 : 0;
}
extern "C" int run_decode_by_clusters(const rapt_bench::decode_call* c, rapt::simt::stream stream) {
  return rapt_bench::guarded([&] {
    const decode_limits limits{c->max_q_len, c->max_kv_len};
    const decode_memory memory{c->acc, c->max_and_sum, c->counters};
    if (c->is_bf16 != 0)
      attend_decode_by_clusters(rapt_bench::problem_of<rapt::bf16>(*c), limits, memory, stream);
    else
      attend_decode_by_clusters(rapt_bench::problem_of<rapt::f16>(*c), limits, memory, stream);
  });
}

extern "C" int run_project_hopper(const rapt_bench::projection_call* c, unsigned max_blocks, rapt::simt::stream stream) {
  return rapt_bench::guarded([&] { with_projection(*c, [&](const auto& p) { project_hopper(p, max_blocks, stream); }); });
}
