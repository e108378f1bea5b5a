// What decode.py passes to decode, as a structure of C.
#pragma once
#include <kernels/attend_decode.hpp>

#include <cmath>

namespace rapt_bench {

/// Rows of queries and of the output [rows, heads, head_dim] without gaps; keys and values with strides in elements, in pages where there is a table.
struct decode_call {
  const void *q, *k, *v;
  void* out;
  const void* sequences;
  const std::int32_t* page_table;
  float *acc, *max_and_sum;
  unsigned* counters;
  long long outer_stride, row_stride, head_stride;
  int num_sequences, num_heads, num_kv_heads, head_dim, page_len, max_q_len, max_kv_len, window_left, is_bf16;
};
template <class T>
rapt::kernels::attention_problem<T> problem_of(const decode_call& c) {
  rapt::kernels::attention_problem<T> p;
  p.q = {static_cast<const T*>(c.q), 0, rapt::index_t{c.num_heads} * c.head_dim, c.head_dim};
  p.out = {static_cast<T*>(c.out), 0, rapt::index_t{c.num_heads} * c.head_dim, c.head_dim};
  p.k = {static_cast<const T*>(c.k), c.outer_stride, c.row_stride, c.head_stride};
  p.v = {static_cast<const T*>(c.v), c.outer_stride, c.row_stride, c.head_stride};
  p.sequences = static_cast<const rapt::kernels::sequence*>(c.sequences), p.num_sequences = c.num_sequences;
  p.num_heads = c.num_heads, p.num_kv_heads = c.num_kv_heads, p.head_dim = p.value_dim = c.head_dim;
  p.page_table = c.page_table, p.page_len = c.page_len;
  p.window_left = c.window_left, p.window_right = 0;
  p.softmax_scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
  return p;
}

}  // namespace rapt_bench
