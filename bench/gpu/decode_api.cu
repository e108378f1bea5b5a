// Decode, append and gather behind plain functions, for bench/gpu/decode.py. Pointers are a device's; nonzero is an error, see guarded.hpp.
#include <bench/gpu/decode_call.hpp>
#include <bench/gpu/guarded.hpp>
#include <kernels/append.hpp>
#include <kernels/attend_decode.hpp>
#include <kernels/gather.hpp>

/// q, k and v are parts of one matrix [rows, (num_heads + 2 * num_kv_heads) * head_dim], of floats or elements; the cache is as decode reads it.
struct append_call {
  const void* rows;
  void *q_out, *k_out, *v_out;
  const void* sequences;
  const std::int32_t* page_table;
  const void* angles;
  const float *q_norm, *k_norm;
  long long outer_stride, row_stride, head_stride;
  int num_sequences, num_rows, num_heads, num_kv_heads, head_dim, page_len, rope_dim, is_bf16, is_float;
};

namespace {

using rapt::bf16;
using rapt::f16;
using rapt::index_t;
using rapt_bench::decode_call;
using rapt_bench::guarded;
using rapt_bench::problem_of;
using namespace rapt::kernels;

template <class From, class T>
void append_of(const append_call& c, rapt::simt::stream stream) {
  append_problem<From, T> p;
  const auto part = [&](int first_head) {
    const index_t stride = index_t{c.num_heads + 2 * c.num_kv_heads} * c.head_dim;
    return heads_view<const From>{static_cast<const From*>(c.rows) + index_t{first_head} * c.head_dim, 0, stride, c.head_dim};
  };
  p.q = part(0), p.k = part(c.num_heads), p.v = part(c.num_heads + c.num_kv_heads);
  p.q_out = {static_cast<T*>(c.q_out), 0, index_t{c.num_heads} * c.head_dim, c.head_dim};
  p.k_out = {static_cast<T*>(c.k_out), c.outer_stride, c.row_stride, c.head_stride};
  p.v_out = {static_cast<T*>(c.v_out), c.outer_stride, c.row_stride, c.head_stride};
  p.sequences = static_cast<const sequence*>(c.sequences), p.num_sequences = c.num_sequences, p.num_rows = c.num_rows;
  p.num_heads = c.num_heads, p.num_kv_heads = c.num_kv_heads, p.head_dim = p.value_dim = c.head_dim;
  p.page_table = c.page_table, p.page_len = c.page_len;
  p.q_norm = c.q_norm, p.k_norm = c.k_norm, p.eps = 1e-6f;
  p.rope_dim = c.rope_dim, p.angles = static_cast<const angle*>(c.angles);
  append_rows(p, stream);
}

}  // namespace

extern "C" {

/// Elements of acc, max_and_sum and counters.
int decode_sizes_for(const decode_call* c, long long sizes[3]) {
  return guarded([&] {
    const decode_sizes all = decode_sizes_of(problem_of<bf16>(*c), {c->max_q_len, c->max_kv_len});
    sizes[0] = all.acc, sizes[1] = all.max_and_sum, sizes[2] = all.counters;
  });
}

int run_decode(const decode_call* c, rapt::simt::stream stream) {
  return guarded([&] {
    const decode_limits limits{c->max_q_len, c->max_kv_len};
    if (c->is_bf16 != 0)
      attend_decode(problem_of<bf16>(*c), limits, {c->acc, c->max_and_sum, c->counters}, stream);
    else
      attend_decode(problem_of<f16>(*c), limits, {c->acc, c->max_and_sum, c->counters}, stream);
  });
}

int run_append(const append_call* c, rapt::simt::stream stream) {
  return guarded([&] {
    if (c->is_float != 0) return c->is_bf16 != 0 ? append_of<float, bf16>(*c, stream) : append_of<float, f16>(*c, stream);
    return c->is_bf16 != 0 ? append_of<bf16, bf16>(*c, stream) : append_of<f16, f16>(*c, stream);
  });
}

int run_gather(const void* from, void* to, const long long* indices, long long rows, long long row_bytes, rapt::simt::stream stream) {
  return guarded([&] { gather_rows(from, to, reinterpret_cast<const index_t*>(indices), rows, row_bytes, stream); });
}
}
