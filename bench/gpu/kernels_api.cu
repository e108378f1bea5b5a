// The kernels behind plain functions, for the programs of bench/gpu in Python. Pointers are a device's; nonzero is an error, whose text last_error()
// has.
#include <bench/gpu/guarded.hpp>
#include <kernels/attend_prefill.hpp>
#include <kernels/naive_attention.hpp>
#include <kernels/project.hpp>
#include <kernels/repeat.hpp>

#include <string>

/// Strides of outer, rows and heads, in elements.
struct tensor_call {
  const void* data;
  long long strides[3];
};
/// What attention.py passes: an attention_problem.
struct attention_call {
  tensor_call q, k, v, out, lse;
  const void* sequences;
  const std::int32_t* page_table;
  double softmax_scale, softcap;
  long long window_left, window_right;
  const bool* visible;  ///< [batch, heads, q_len, kv_len], by these strides
  long long mask_strides[3];
  const float *alibi_slopes_log2, *sink_logits_log2;
  int num_sequences, num_heads, num_kv_heads, head_dim, value_dim, page_len, is_bf16;
};
/// What projections.py passes: matrices without gaps; a float bias and a residual, or null. kernel: a project_kernel, or -1 for the one that suits.
struct projection_call {
  const void *x, *w, *bias, *residual;
  void* y;
  int rows, in, out, is_bf16, kernel;
};

namespace {

using rapt::bf16;
using rapt::f16;
using rapt_bench::guarded;
using namespace rapt::kernels;

static_assert(sizeof(sequence) == 32, "attention.py writes them as 8 words of 32 bits");

template <class E>
heads_view<E> view_of(const tensor_call& x) {
  return {static_cast<E*>(const_cast<void*>(x.data)), x.strides[0], x.strides[1], x.strides[2]};
}
template <class T, class Out>
attention_problem<T, Out> problem_of(const attention_call& c) {
  attention_problem<T, Out> p;
  p.q = view_of<const T>(c.q), p.k = view_of<const T>(c.k), p.v = view_of<const T>(c.v), p.out = view_of<Out>(c.out), p.lse = view_of<float>(c.lse);
  p.sequences = static_cast<const sequence*>(c.sequences), p.num_sequences = c.num_sequences;
  p.num_heads = c.num_heads, p.num_kv_heads = c.num_kv_heads, p.head_dim = c.head_dim, p.value_dim = c.value_dim;
  p.page_table = c.page_table, p.page_len = c.page_len;
  p.softmax_scale = c.softmax_scale, p.softcap = c.softcap;
  p.window_left = c.window_left, p.window_right = c.window_right;
  p.mask = {c.visible, nullptr, c.mask_strides[0], c.mask_strides[1], c.mask_strides[2]};
  p.alibi_slopes_log2 = c.alibi_slopes_log2, p.sink_logits_log2 = c.sink_logits_log2;
  return p;
}

template <class T>
void project_of(const projection_call& c, rapt::simt::stream stream) {
  projection<T> p;
  p.x = static_cast<const T*>(c.x), p.w = static_cast<const T*>(c.w), p.y = static_cast<T*>(c.y);
  p.bias = static_cast<const float*>(c.bias), p.residual = static_cast<const T*>(c.residual);
  p.rows = c.rows, p.in = c.in, p.out = c.out;
  p.x_stride = p.w_stride = c.in, p.residual_stride = p.y_stride = c.out;
  if (c.kernel < 0)
    project(p, stream);
  else
    project_with(static_cast<project_kernel>(c.kernel), p, stream);
}

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

int run_project(const projection_call* c, rapt::simt::stream stream) {
  return guarded([&] {
    if (c->is_bf16 != 0)
      project_of<bf16>(*c, stream);
    else
      project_of<f16>(*c, stream);
  });
}
}
