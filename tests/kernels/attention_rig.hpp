// Attention problems of random elements, and their answer by the definition, in double on the host.
#pragma once
#include <kernels/attention_problem.hpp>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace rapt_test {

struct attention_shape {
  int batch = 1, q_len = 1, kv_len = 1, num_heads = 1, num_kv_heads = 1, head_dim = 64;
  bool causal = false;
};

/// Tensors [batch, len, heads, head_dim] with gaps between tokens, so that a stride mistaken for a width is seen; the gaps are NaN.
template <class T, class Out = T>
struct attention_rig {
  attention_shape shape;
  std::vector<T> q, k, v;
  std::vector<Out> out;
  rapt::kernels::attention_problem<T, Out> problem;

  explicit attention_rig(const attention_shape& s, unsigned seed = 1) : shape(s) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<T>& tensor, int len, int heads) {
      const rapt::index_t stride = token_stride(heads);
      tensor.assign(static_cast<std::size_t>(s.batch * len * stride), T(std::numeric_limits<float>::quiet_NaN()));
      for (rapt::index_t token = 0; token < s.batch * len; ++token)
        for (rapt::index_t i = 0; i < heads * s.head_dim; ++i) tensor[static_cast<std::size_t>(token * stride + i)] = T(normal(random));
    };
    fill(q, s.q_len, s.num_heads);
    fill(k, s.kv_len, s.num_kv_heads);
    fill(v, s.kv_len, s.num_kv_heads);
    out.assign(q.size(), Out{});
    problem.batch = s.batch, problem.q_len = s.q_len, problem.kv_len = s.kv_len;
    problem.num_heads = s.num_heads, problem.num_kv_heads = s.num_kv_heads;
    problem.causal = s.causal;
    problem.softmax_scale = 1 / std::sqrt(static_cast<double>(s.head_dim));
    point_to_tensors();
  }
  attention_rig(const attention_rig&) = delete;
  attention_rig& operator=(const attention_rig&) = delete;

  rapt::index_t token_stride(int heads) const { return static_cast<rapt::index_t>(heads + 1) * shape.head_dim; }
  T& key(int batch, int token, int head, int d) { return const_cast<T&>(problem.k.at(batch, token, head)[d]); }
  T& value(int batch, int token, int head, int d) { return const_cast<T&>(problem.v.at(batch, token, head)[d]); }

  /// Row (batch, query, head) of the answer.
  std::vector<double> expected(int batch, int query, int head) const {
    const int visible = shape.causal ? std::min(shape.kv_len, std::max(0, shape.kv_len - shape.q_len + query + 1)) : shape.kv_len;
    const int kv_head = head * shape.num_kv_heads / shape.num_heads;
    const auto at = [](const T* x, int d) { return static_cast<double>(static_cast<float>(x[d])); };
    std::vector<double> weights(static_cast<std::size_t>(visible)), row(static_cast<std::size_t>(shape.head_dim));
    double max = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int key = 0; key < visible; ++key) {
      double score = 0;
      for (int d = 0; d < shape.head_dim; ++d) score += at(problem.q.at(batch, query, head), d) * at(problem.k.at(batch, key, kv_head), d);
      weights[static_cast<std::size_t>(key)] = score *= problem.softmax_scale;
      max = std::max(max, score);
    }
    for (double& w : weights) sum += w = std::exp(w - max);
    for (int key = 0; key < visible; ++key)
      for (int d = 0; d < shape.head_dim; ++d)
        row[static_cast<std::size_t>(d)] += weights[static_cast<std::size_t>(key)] / sum * at(problem.v.at(batch, key, kv_head), d);
    return row;
  }

 private:
  void point_to_tensors() {
    const auto view = [&](auto* data, int len, int heads) {
      using element = std::remove_pointer_t<decltype(data)>;
      return rapt::kernels::heads_view<element>{data, len * token_stride(heads), token_stride(heads), shape.head_dim};
    };
    problem.q = view(static_cast<const T*>(q.data()), shape.q_len, shape.num_heads);
    problem.k = view(static_cast<const T*>(k.data()), shape.kv_len, shape.num_kv_heads);
    problem.v = view(static_cast<const T*>(v.data()), shape.kv_len, shape.num_kv_heads);
    problem.out = view(out.data(), shape.q_len, shape.num_heads);
  }
};

}  // namespace rapt_test
