// Attention by the definition, in double: what other kernels are measured against on a device. A block goes through queries of a sequence, for one
// head.
//
// Every score is computed twice, first for the maximum, then for the weights; a tile of weights goes through shared memory and each thread sums its
// columns of the values. No rounding but double's, so its result counts as exact for 16-bit operands. Every option of a problem is there. Test:
// tests/kernels/naive_attention_test.cpp.
#pragma once
#include <kernels/visibility.hpp>

#include <cmath>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int naive_threads = 128;

struct naive_storage {
  double of_thread[naive_threads];
};

/// Max or sum over the block, the same in every thread.
template <class Combine>
RAPT_DEVICE double over_block(naive_storage& s, double mine, Combine combine) {
  simt::sync_threads();
  s.of_thread[simt::thread_idx()] = mine;
  simt::sync_threads();
  double all = s.of_thread[0];
  for (int t = 1; t < naive_threads; ++t) all = combine(all, s.of_thread[t]);
  return all;
}

/// The score of a key that the query sees, in natural units.
template <class T>
RAPT_DEVICE double naive_score(const attention_problem<T, double>& p, int sequence_idx, const sequence& s, int head, int query, index_t position,
                               int key) {
  constexpr double ln_2 = 0.69314718055994530942;
  const key_place place = place_of(p, sequence_idx, s, key);
  const T* const q = p.q.at(sequence_idx, s.first_row + query, head);
  const T* const k = p.k.at(place.outer, place.row, p.kv_head_of(head));
  double sum = 0;
  for (int d = 0; d < p.head_dim; ++d) sum += static_cast<double>(simt::widen<T>(q[d].bits)) * static_cast<double>(simt::widen<T>(k[d].bits));
  sum *= p.softmax_scale;
  if (p.softcap > 0) sum = p.softcap * tanh(sum / p.softcap);
  if (p.alibi_slopes_log2 != nullptr) {
    const index_t apart = position - position_of_key(p, sequence_idx, s, key);
    sum -= static_cast<double>(p.alibi_slopes_log2[head]) * ln_2 * static_cast<double>(apart < 0 ? -apart : apart);
  }
  if (p.mask.added != nullptr && key >= s.first_masked_key) sum += static_cast<double>(p.mask.added[p.mask.offset(s, head, query, key)]);
  return sum;
}

/// grid (num_heads, num_sequences, n): every n-th query of a sequence is a block's.
template <class T>
RAPT_KERNEL(naive_threads, 1)
naive_attention(attention_problem<T, double> p) {
  constexpr double ln_2 = 0.69314718055994530942, minus_infinity = -static_cast<double>(simt::infinity);
  auto& shared = simt::shared<naive_storage>();
  const int head = static_cast<int>(simt::block_idx().x), sequence_idx = static_cast<int>(simt::block_idx().y);
  const int thread = static_cast<int>(simt::thread_idx()), kv_head = p.kv_head_of(head);
  const sequence s = p.sequences[sequence_idx];
  for (int query = static_cast<int>(simt::block_idx().z); query < s.q_len; query += static_cast<int>(simt::grid_extent().z)) {
    const index_t position = position_of_query(p, sequence_idx, s, query);
    const auto seen = [&](int key) { return sees(p, sequence_idx, s, head, query, position, key); };
    const auto score = [&](int key) { return seen(key) ? naive_score(p, sequence_idx, s, head, query, position, key) : minus_infinity; };

    double max = minus_infinity;
    for (int key = thread; key < s.kv_len; key += naive_threads) {
      const double u = score(key);
      max = u > max ? u : max;
    }
    max = over_block(shared, max, [](double a, double b) { return b > a ? b : a; });
    double sum = 0, acc[2] = {};  // columns thread and thread + naive_threads
    for (int first = 0; max != minus_infinity && first < s.kv_len; first += naive_threads) {
      const double weight = first + thread < s.kv_len ? exp(score(first + thread) - max) : 0.0;
      sum += weight;
      simt::sync_threads();
      shared.of_thread[thread] = weight;
      simt::sync_threads();
      for (int i = 0; i < naive_threads && first + i < s.kv_len; ++i) {
        if (shared.of_thread[i] == 0) continue;
        const key_place place = place_of(p, sequence_idx, s, first + i);
        for (int c = 0; c < 2; ++c)
          if (const int column = thread + c * naive_threads; column < p.value_dim)
            acc[c] += shared.of_thread[i] * static_cast<double>(simt::widen<T>(p.v.at(place.outer, place.row, kv_head)[column].bits));
      }
    }
    sum = over_block(shared, sum, [](double a, double b) { return a + b; });
    if (thread == 0 && p.lse.data != nullptr)
      *p.lse.at(sequence_idx, s.first_row + query, head) = sum == 0 ? -simt::infinity : static_cast<float>(max + log(sum));
    if (p.sink_logits_log2 != nullptr && sum != 0) sum += exp(static_cast<double>(p.sink_logits_log2[head]) * ln_2 - max);
    for (int c = 0; c < 2; ++c)
      if (const int column = thread + c * naive_threads; column < p.value_dim)
        p.out.at(sequence_idx, s.first_row + query, head)[column] = sum == 0 ? 0.0 : acc[c] / sum;
  }
}

/// Dimensions up to 256.
template <class T>
void naive_attend(const attention_problem<T, double>& p, simt::stream stream) {
  simt::launch<naive_storage>(naive_attention<T>, {static_cast<unsigned>(p.num_heads), static_cast<unsigned>(p.num_sequences), 64}, naive_threads,
                              stream, p);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
