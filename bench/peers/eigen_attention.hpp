// softmax(Q K^T / sqrt(d)) V as one would write it with Eigen: three expressions for each head, heads over threads.
#pragma once
#include <Eigen/Core>

#include <cmath>
#include <thread>
#include <vector>

namespace peers {

inline void eigen_attention(const float* q, const float* k, const float* v, float* out, Eigen::Index q_len, Eigen::Index kv_len, Eigen::Index heads,
                            Eigen::Index kv_heads, Eigen::Index dim, int num_threads) {
  using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using rows = Eigen::Map<const matrix, 0, Eigen::OuterStride<>>;
  const auto run = [&](int thread) {
    for (Eigen::Index h = thread; h < heads; h += num_threads) {
      const Eigen::Index kv = h / (heads / kv_heads);
      const rows query(q + h * dim, q_len, dim, Eigen::OuterStride<>(heads * dim));
      const rows key(k + kv * dim, kv_len, dim, Eigen::OuterStride<>(kv_heads * dim));
      const rows value(v + kv * dim, kv_len, dim, Eigen::OuterStride<>(kv_heads * dim));
      matrix p = query * key.transpose() * (1 / std::sqrt(static_cast<float>(dim)));
      const Eigen::VectorXf largest = p.rowwise().maxCoeff();
      p = (p.colwise() - largest).array().exp();
      const Eigen::VectorXf sum = p.rowwise().sum();
      Eigen::Map<matrix, 0, Eigen::OuterStride<>>(out + h * dim, q_len, dim, Eigen::OuterStride<>(heads * dim)).noalias() =
          sum.cwiseInverse().asDiagonal() * (p * value).eval();
    }
  };
  std::vector<std::thread> others;
  for (int t = 1; t < num_threads; ++t) others.emplace_back(run, t);
  run(0);
  for (std::thread& other : others) other.join();
}

}  // namespace peers
