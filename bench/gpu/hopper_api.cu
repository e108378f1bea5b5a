// The attention kernel of sm_90a behind a plain function, for attention.py: part of its library where that is compiled for such a device. A nonzero
// result is an error, whose text last_error() has.
#include <bench/gpu/attention_call.hpp>
#include <bench/gpu/guarded.hpp>
#include <kernels/attend_hopper.hpp>

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
