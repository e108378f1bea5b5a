// The kernels behind plain functions, for the programs of bench/gpu in Python. Pointers are a device's; nonzero is an error, whose text last_error()
// has.
#include <bench/gpu/attention_call.hpp>
#include <bench/gpu/guarded.hpp>
#include <bench/gpu/projection_call.hpp>
#include <kernels/attend_prefill.hpp>
#include <kernels/naive_attention.hpp>
#include <kernels/project.hpp>
#include <kernels/repeat.hpp>

#include <string>

namespace {

using rapt::bf16;
using rapt::f16;
using rapt_bench::attention_call;
using rapt_bench::guarded;
using rapt_bench::problem_of;
using namespace rapt::kernels;

}  // namespace

extern "C" {

const char* last_error() { return rapt_bench::error.c_str(); }

/// At once on a multiprocessor.
int prefill_blocks(const attention_call* c) { return static_cast<int>(prefill_blocks_of(problem_of<bf16, bf16>(*c))); }
unsigned long long prefill_bytes(const attention_call* c, unsigned num_blocks) {
  return prefill_workspace_bytes(problem_of<bf16, bf16>(*c), num_blocks);
}

int run_prefill(const attention_call* c, void* workspace, unsigned* counter, unsigned num_blocks, rapt::simt::stream stream) {
  return guarded([&] {
    if (c->is_bf16 != 0)
      attend_prefill(problem_of<bf16, bf16>(*c), workspace, counter, num_blocks, stream);
    else
      attend_prefill(problem_of<f16, f16>(*c), workspace, counter, num_blocks, stream);
  });
}

/// out is double.
int run_naive(const attention_call* c, rapt::simt::stream stream) {
  return guarded([&] {
    if (c->is_bf16 != 0)
      naive_attend(problem_of<bf16, double>(*c), stream);
    else
      naive_attend(problem_of<f16, double>(*c), stream);
  });
}

int run_repeat(const void* from, void* to, long long rows, long long row_bytes, int group_size, rapt::simt::stream stream) {
  return guarded([&] { repeat_heads(from, to, rows, row_bytes, group_size, stream); });
}

int run_project(const rapt_bench::projection_call* c, rapt::simt::stream stream) {
  return guarded([&] {
    with_projection(*c, [&](const auto& p) {
      if (c->kernel < 0)
        project(p, stream);
      else
        project_with(static_cast<project_kernel>(c->kernel), p, stream);
    });
  });
}
}
