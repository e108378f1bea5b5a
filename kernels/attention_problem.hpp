// What an attention kernel is asked: tensors of 16-bit elements and which keys a query sees.
#pragma once
#include <kernels/simt/simt.hpp>
#include <rapt/core/index.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// [batch, len, heads, dim] with the last dimension contiguous; strides in elements.
template <class T>
struct heads_view {
  T* data = nullptr;
  index_t batch_stride = 0, token_stride = 0, head_stride = 0;

  RAPT_DEVICE T* at(int batch, int token, int head) const { return data + batch * batch_stride + token * token_stride + head * head_stride; }
};

/// out = softmax(softmax_scale * q k^T) v for every query head, which reads the KV head of its group.
///
/// q [batch, q_len, num_heads, head_dim], k and v [batch, kv_len, num_kv_heads, head_dim], out as q.
/// Query i stands at position kv_len - q_len + i; with `causal` it sees keys up to its own position, else all.
template <class T, class Out = T>
struct attention_problem {
  heads_view<const T> q, k, v;
  heads_view<Out> out;
  int batch = 0, q_len = 0, kv_len = 0, num_heads = 0, num_kv_heads = 0;
  bool causal = false;
  double softmax_scale = 0;

  RAPT_DEVICE int kv_head_of(int head) const { return head / (num_heads / num_kv_heads); }
  /// Keys [0, this) are those that query i sees.
  RAPT_DEVICE int visible_keys(int query) const {
    const int up_to_itself = kv_len - q_len + query + 1;
    return !causal || up_to_itself > kv_len ? kv_len : up_to_itself < 0 ? 0 : up_to_itself;
  }
};

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
