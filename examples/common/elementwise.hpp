// What lies between a transformer's matrix products: norms and activation functions, one row at a time. A row's result depends on that row alone,
// so the bits of a token do not change with the number of rows computed at once.
#pragma once
#include <cmath>
#include <cstdint>
#include <rapt/core/tensor_view.hpp>
#include <vector>

namespace common {

using rows = rapt::tensor_view<float, 2>;
using const_rows = rapt::tensor_view<const float, 2>;

inline rows part_of(rows x, rapt::index_t first, rapt::index_t count) { return rapt::view(&x(first, 0), count, x.extent(1)); }

/// In eight sums, which a compiler keeps in vectors.
inline double sum_of_squares(const float* x, rapt::index_t dim) {
  double sums[8] = {};
  for (rapt::index_t i = 0; i + 8 <= dim; i += 8)
    for (rapt::index_t lane = 0; lane < 8; ++lane) sums[lane] += double(x[i + lane]) * x[i + lane];
  for (rapt::index_t i = dim / 8 * 8; i < dim; ++i) sums[i % 8] += double(x[i]) * x[i];
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/// y = x / sqrt(mean(x^2) + eps) * weight. y may be x.
inline void rms_norm(const_rows x, const std::vector<float>& weight, double eps, rows y) {
  const rapt::index_t dim = x.extent(1);
  for (rapt::index_t r = 0; r < x.extent(0); ++r) {
    const float* in = &x(r, 0);
    const auto scale = static_cast<float>(1 / std::sqrt(sum_of_squares(in, dim) / double(dim) + eps));
    for (rapt::index_t i = 0; i < dim; ++i) y(r, i) = in[i] * scale * weight[static_cast<std::size_t>(i)];
  }
}

/// x = (x - mean) / sqrt(variance + eps) * weight + bias, in place.
inline void layer_norm(rows x, const std::vector<float>& weight, const std::vector<float>& bias, double eps) {
  const rapt::index_t dim = x.extent(1);
  for (rapt::index_t r = 0; r < x.extent(0); ++r) {
    float* row = &x(r, 0);
    double mean = 0, variance = 0;
    for (rapt::index_t i = 0; i < dim; ++i) mean += row[i];
    mean /= double(dim);
    for (rapt::index_t i = 0; i < dim; ++i) variance += (row[i] - mean) * (row[i] - mean);
    const double scale = 1 / std::sqrt(variance / double(dim) + eps);
    for (rapt::index_t i = 0; i < dim; ++i) {
      const auto k = static_cast<std::size_t>(i);
      row[i] = static_cast<float>((row[i] - mean) * scale * weight[k] + bias[k]);
    }
  }
}

/// gate = gate / (1 + exp(-gate)) * up.
inline void silu_times(rows gate, const_rows up) {
  for (rapt::index_t r = 0; r < gate.extent(0); ++r)
    for (rapt::index_t i = 0; i < gate.extent(1); ++i) gate(r, i) = gate(r, i) / (1 + std::exp(-gate(r, i))) * up(r, i);
}

/// The exact form, x * Phi(x), as BERT has it.
inline void gelu(rows x) {
  for (rapt::index_t r = 0; r < x.extent(0); ++r)
    for (rapt::index_t i = 0; i < x.extent(1); ++i) x(r, i) = 0.5f * x(r, i) * (1 + std::erf(x(r, i) * 0.70710678118654752f));
}

/// x += y.
inline void add(rows x, const_rows y) {
  for (rapt::index_t r = 0; r < x.extent(0); ++r)
    for (rapt::index_t i = 0; i < x.extent(1); ++i) x(r, i) += y(r, i);
}

/// FNV-1a of the bits, to compare results across processes.
inline std::uint64_t hash_bits(const float* values, std::size_t count) {
  std::uint64_t hash = 14695981039346656037u;
  const auto* bytes = reinterpret_cast<const unsigned char*>(values);
  for (std::size_t i = 0; i < count * sizeof(float); ++i) hash = (hash ^ bytes[i]) * 1099511628211u;
  return hash;
}

}  // namespace common
