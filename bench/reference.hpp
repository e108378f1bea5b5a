// The oracle of the benches: a module's answer in double for single rows, by other steps than the library's.
#pragma once
#include <support.hpp>

#include <algorithm>
#include <array>

namespace bench {

/// sum of a[i] * b[i]; eight sums side by side, so that a compiler can use vectors.
template <class B>
double dot(const double* a, const B* b, index_t n) {
  std::array<double, 8> sums{};
  index_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (index_t s = 0; s < 8; ++s) sums[static_cast<std::size_t>(s)] += a[i + s] * to_double(b[i + s]);
  double sum = 0;
  for (; i < n; ++i) sum += a[i] * to_double(b[i]);
  for (const double s : sums) sum += s;
  return sum;
}
template <class B>
void add_scaled(double* sum, double scale, const B* b, index_t n) {
  for (index_t i = 0; i < n; ++i) sum[i] += scale * to_double(b[i]);
}
/// Scores become probabilities.
inline void softmax(std::vector<double>& scores) {
  const double max = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& s : scores) sum += s = std::exp(s - max);
  for (double& s : scores) s /= sum;
}

/// Weights widened to double, and what a module computes from them. Nothing but softmax_scale of the options is known here.
class module_reference {
 public:
  module_reference(const rapt::attention_config& resolved, const rapt::attention_weights& w)
      : c_(resolved), q_(widened(w.w_q)), k_(widened(w.w_k)), v_(widened(w.w_v)), out_(widened(w.w_out)) {}

  /// y of row x [model_dim] that sees the first num_keys rows of x_kv [.., model_dim]. Keys and values are never formed: q . (W_k x) = (W_k^T q) . x,
  /// and the sum of p * (W_v x) is W_v applied to the sum of p * x. first_head_only: KV head 0 serves all.
  std::vector<double> row(const float* x, const float* x_kv, index_t num_keys, bool first_head_only = false) const {
    const std::vector<double> q = queries(x);
    const index_t width = c_.model_dim, d = c_.head_dim;
    std::vector<double> attended(static_cast<std::size_t>(c_.num_heads * c_.value_dim));
    for (index_t h = 0; h < c_.num_heads; ++h) {
      const index_t kv_head = first_head_only ? 0 : h / c_.group_size();
      std::vector<double> query_in_x(static_cast<std::size_t>(width)), weighted_x(static_cast<std::size_t>(width)),
          p(static_cast<std::size_t>(num_keys));
      for (index_t i = 0; i < d; ++i) add_scaled(query_in_x.data(), *c_.softmax_scale * q[at(h * d + i)], &k_[at((kv_head * d + i) * width)], width);
      for (index_t j = 0; j < num_keys; ++j) p[at(j)] = dot(query_in_x.data(), x_kv + j * width, width);
      softmax(p);
      for (index_t j = 0; j < num_keys; ++j) add_scaled(weighted_x.data(), p[at(j)], x_kv + j * width, width);
      for (index_t i = 0; i < c_.value_dim; ++i)
        attended[at(h * c_.value_dim + i)] = dot(weighted_x.data(), &v_[at((kv_head * c_.value_dim + i) * width)], width);
    }
    return output(attended);
  }
  /// The same over keys and values as they are stored: k [num_keys, num_kv_heads, head_dim], v [num_keys, num_kv_heads, value_dim].
  template <class C>
  std::vector<double> row_over_stored(const float* x, const C* k, const C* v, index_t num_keys) const {
    const std::vector<double> q = queries(x);
    const index_t d = c_.head_dim, dv = c_.value_dim;
    std::vector<double> attended(static_cast<std::size_t>(c_.num_heads * dv)), p(static_cast<std::size_t>(num_keys));
    for (index_t h = 0; h < c_.num_heads; ++h) {
      const index_t kv_head = h / c_.group_size();
      for (index_t j = 0; j < num_keys; ++j) p[at(j)] = *c_.softmax_scale * dot(&q[at(h * d)], k + (j * c_.num_kv_heads + kv_head) * d, d);
      softmax(p);
      for (index_t j = 0; j < num_keys; ++j) add_scaled(&attended[at(h * dv)], p[at(j)], v + (j * c_.num_kv_heads + kv_head) * dv, dv);
    }
    return output(attended);
  }
  /// A row's own key and value, rounded to C as a cache rounds them.
  template <class C>
  std::vector<C> key(const float* x) const {
    return rounded<C>(k_, x, c_.num_kv_heads * c_.head_dim);
  }
  template <class C>
  std::vector<C> value(const float* x) const {
    return rounded<C>(v_, x, c_.num_kv_heads * c_.value_dim);
  }

 private:
  static std::size_t at(index_t i) { return static_cast<std::size_t>(i); }
  /// Contiguous weights of any type, any rank.
  static std::vector<double> widened(const rapt::weight_view& w) {
    index_t count = 1;
    for (int i = 0; i < w.rank(); ++i) count *= w.extent(i);
    std::vector<double> values(at(count));
    with_type(w.type(), [&]<class W>(std::type_identity<W>) {
      for (index_t i = 0; i < count; ++i) values[at(i)] = to_double(static_cast<const W*>(w.data())[i]);
    });
    return values;
  }
  /// One row of `weights` [outputs, model_dim] for each output.
  std::vector<double> projected(const std::vector<double>& weights, const float* x, index_t outputs) const {
    std::vector<double> y(at(outputs));
    for (index_t o = 0; o < outputs; ++o) y[at(o)] = dot(&weights[at(o * c_.model_dim)], x, c_.model_dim);
    return y;
  }
  template <class C>
  std::vector<C> rounded(const std::vector<double>& weights, const float* x, index_t outputs) const {
    std::vector<C> y;
    for (const double value : projected(weights, x, outputs)) y.push_back(static_cast<C>(value));
    return y;
  }
  std::vector<double> queries(const float* x) const { return projected(q_, x, c_.num_heads * c_.head_dim); }
  std::vector<double> output(const std::vector<double>& attended) const {
    std::vector<double> y(at(c_.output_dim));
    for (std::size_t i = 0; i < attended.size(); ++i) add_scaled(y.data(), attended[i], &out_[i * y.size()], c_.output_dim);
    return y;
  }

  rapt::attention_config c_;
  std::vector<double> q_, k_, v_, out_;
};

}  // namespace bench
