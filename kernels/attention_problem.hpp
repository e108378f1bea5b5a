// What an attention kernel is asked: sequences of a launch, their tensors of 16-bit elements, and what decides which keys a query sees.
//
// All of it is read by every attention kernel. Everything that may change between launches of one graph - lengths, positions, page tables - lies in
// device memory; what stands here is a function of shapes. How a kernel treats it: visibility.hpp, scores.hpp.
#pragma once
#include <kernels/simt/simt.hpp>
#include <rapt/core/params.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Rows of heads with the last dimension contiguous; strides in elements. `outer` is the sequence, of keys and values in pages it is the page.
/// Dense [batch, len, heads, dim]: outer_stride is the batch's. Packed rows [rows, heads, dim]: outer_stride is 0.
template <class T>
struct heads_view {
  T* data = nullptr;
  index_t outer_stride = 0, row_stride = 0, head_stride = 0;

  RAPT_DEVICE T* at(int outer, int row, int head) const { return data + outer * outer_stride + row * row_stride + head * head_stride; }
};

/// One sequence of a launch, in device memory.
struct sequence {
  int first_row = 0;  ///< the row of its first query in q, out, lse and q_positions
  int q_len = 0;
  int kv_len = 0;            ///< keys from this one on are not seen, and not read
  int first_position = 0;    ///< of its first query, where there are no q_positions; by default kv_len - q_len
  int first_key = 0;         ///< the row of its first key in k, v and k_positions; of keys in pages: its first entry in the page table
  int first_masked_key = 0;  ///< keys before it have no entry in the mask: they are seen, and nothing is added
  index_t mask_offset = 0;   ///< elements from the mask's data to where (head 0, its first query, key 0) is or would be
};

/// [heads, rows, keys]; strides in elements, 0 broadcasts. At most one of the pointers is not null.
template <class Added>
struct mask_view_of {
  const bool* visible = nullptr;  ///< true: visible
  const Added* added = nullptr;   ///< added to scores; what is -inf after multiplication by log2 e hides
  index_t head_stride = 0, row_stride = 0, key_stride = 1;

  RAPT_DEVICE index_t offset(const sequence& s, int head, int query, int key) const {
    return s.mask_offset + head * head_stride + query * row_stride + key * key_stride;
  }
};
using mask_view = mask_view_of<float>;

/// out = softmax(softmax_scale * q k^T + what is added) v for every query head, which reads the KV head of its group.
///
/// q [.., num_heads, head_dim], out [.., num_heads, value_dim], lse [.., num_heads] with a head_stride of its own;
/// k [.., num_kv_heads, head_dim], v [.., num_kv_heads, value_dim]. In pages: outer is the page, row the token in it, so that a page which holds for
/// each KV head [page_len][head_dim] keys, then [page_len][value_dim] values, has row strides head_dim and value_dim, and a head stride common to
/// both.
template <class T, class Out = T>
struct attention_problem {
  heads_view<const T> q, k, v;
  heads_view<Out> out;
  heads_view<float> lse;  ///< natural log, without sinks; data null: not wanted
  const sequence* sequences = nullptr;
  int num_sequences = 0;
  int num_heads = 0, num_kv_heads = 0, head_dim = 0, value_dim = 0;
  const std::int32_t* page_table = nullptr;  ///< the page of each page_len tokens of a sequence, from its first_key on; null: no pages
  int page_len = 0;                          ///< tokens, a multiple of 16
  double softmax_scale = 0;

  index_t window_left = no_window, window_right = no_window;  ///< q_pos - left <= k_pos <= q_pos + right; causal: right = 0; at most max_position
  heads_view<const index_t> q_positions;                      ///< explicit ones, head 0; data null: first_position + i
  heads_view<const index_t> k_positions;                      ///< explicit ones, where k has its rows, head 0; data null: the key's index
  mask_view mask;
  double softcap = 0;                        ///< 0: none
  const float* alibi_slopes_log2 = nullptr;  ///< [num_heads]: slope * log2 e, multiplied in double, rounded once
  const float* sink_logits_log2 = nullptr;   ///< [num_heads]: logit * log2 e likewise

  RAPT_DEVICE int kv_head_of(int head) const { return head / (num_heads / num_kv_heads); }
};

/// Where a key lies: k.at(outer, row, kv_head).
struct key_place {
  int outer, row;
};
template <class Problem>
RAPT_DEVICE key_place place_of(const Problem& p, int sequence_idx, const sequence& s, int key) {
  if (p.page_table == nullptr) return {sequence_idx, s.first_key + key};
  return {p.page_table[s.first_key + key / p.page_len], key % p.page_len};
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
