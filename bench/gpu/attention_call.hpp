// What programs in Python pass to attention kernels, as a structure of C.
#pragma once
#include <kernels/attention_problem.hpp>

namespace rapt_bench {

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

static_assert(sizeof(rapt::kernels::sequence) == 32, "attention.py writes them as 8 words of 32 bits");

template <class E>
rapt::kernels::heads_view<E> view_of(const tensor_call& x) {
  return {static_cast<E*>(const_cast<void*>(x.data)), x.strides[0], x.strides[1], x.strides[2]};
}
template <class T, class Out>
rapt::kernels::attention_problem<T, Out> problem_of(const attention_call& c) {
  rapt::kernels::attention_problem<T, Out> p;
  p.q = view_of<const T>(c.q), p.k = view_of<const T>(c.k), p.v = view_of<const T>(c.v), p.out = view_of<Out>(c.out), p.lse = view_of<float>(c.lse);
  p.sequences = static_cast<const rapt::kernels::sequence*>(c.sequences), p.num_sequences = c.num_sequences;
  p.num_heads = c.num_heads, p.num_kv_heads = c.num_kv_heads, p.head_dim = c.head_dim, p.value_dim = c.value_dim;
  p.page_table = c.page_table, p.page_len = c.page_len;
  p.softmax_scale = c.softmax_scale, p.softcap = c.softcap;
  p.window_left = c.window_left, p.window_right = c.window_right;
  p.mask = {c.visible, nullptr, c.mask_strides[0], c.mask_strides[1], c.mask_strides[2]};
  p.alibi_slopes_log2 = c.alibi_slopes_log2, p.sink_logits_log2 = c.sink_logits_log2;
  return p;
}

}  // namespace rapt_bench
