// Attention by the definition, in double: what other kernels are measured against on a device. One block for a query of a head.
//
// Every score is computed twice, first for the maximum, then for the weights; a tile of weights goes through shared memory and each thread sums its
// columns of the values. No rounding but double's, so its result counts as exact for 16-bit operands. Test: tests/kernels/naive_attention_test.cpp.
#pragma once
#include <kernels/attention_problem.hpp>
#include <kernels/simt/math.hpp>

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

template <class T>
RAPT_DEVICE double naive_score(const T* q, const T* k, int head_dim, double softmax_scale) {
  double sum = 0;
  for (int d = 0; d < head_dim; ++d) sum += static_cast<double>(simt::widen<T>(q[d].bits)) * static_cast<double>(simt::widen<T>(k[d].bits));
  return sum * softmax_scale;
}

/// grid (q_len, num_heads, batch)
template <class T>
RAPT_KERNEL(naive_threads, 1)
naive_attention(attention_problem<T, double> p, int head_dim) {
  auto& s = simt::shared<naive_storage>();
  const int query = static_cast<int>(simt::block_idx().x), head = static_cast<int>(simt::block_idx().y),
            batch = static_cast<int>(simt::block_idx().z);
  const int thread = static_cast<int>(simt::thread_idx()), visible = p.visible_keys(query), kv_head = p.kv_head_of(head);
  const T* const q = p.q.at(batch, query, head);
  const auto score = [&](int key) { return naive_score(q, p.k.at(batch, key, kv_head), head_dim, p.softmax_scale); };

  double max = -static_cast<double>(simt::infinity);
  for (int key = thread; key < visible; key += naive_threads) {
    const double u = score(key);
    max = u > max ? u : max;
  }
  max = over_block(s, max, [](double a, double b) { return b > a ? b : a; });
  double sum = 0, acc[2] = {};  // columns thread and thread + naive_threads
  for (int first = 0; first < visible; first += naive_threads) {
    const double weight = first + thread < visible ? std::exp(score(first + thread) - max) : 0.0;
    sum += weight;
    simt::sync_threads();
    s.of_thread[thread] = weight;
    simt::sync_threads();
    for (int i = 0; i < naive_threads && first + i < visible; ++i)
      for (int c = 0; c < 2; ++c)
        if (const int column = thread + c * naive_threads; column < head_dim)
          acc[c] += s.of_thread[i] * static_cast<double>(simt::widen<T>(p.v.at(batch, first + i, kv_head)[column].bits));
  }
  sum = over_block(s, sum, [](double a, double b) { return a + b; });
  for (int c = 0; c < 2; ++c)
    if (const int column = thread + c * naive_threads; column < head_dim) p.out.at(batch, query, head)[column] = visible == 0 ? 0.0 : acc[c] / sum;
}

/// head_dim <= 256.
template <class T>
void naive_attend(const attention_problem<T, double>& p, int head_dim, simt::stream stream) {
  simt::launch<naive_storage>(naive_attention<T>,
                              {static_cast<unsigned>(p.q_len), static_cast<unsigned>(p.num_heads), static_cast<unsigned>(p.batch)}, naive_threads,
                              stream, p, head_dim);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
