// One query by the contract's order mma16816-k64-v1, in plain loops: what every kernel of that id has to give, bit for bit. Only the tensor core's
// sum of 16 products and exp2 are the emulator's.
#pragma once
#include <kernels/simt/math.hpp>
#include <kernels/simt/tensor_core.hpp>
#include <rapt/core/index.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace rapt_test {

constexpr int tile_keys = 64;

struct row_state {
  float max = -std::numeric_limits<float>::infinity(), sum = 0;
  std::vector<float> acc;
};

/// softmax(scale * q k^T) v over keys [0, visible); k and v [key][dim].
template <class T>
class gpu_order_model {
 public:
  gpu_order_model(const std::vector<std::vector<T>>& k, const std::vector<std::vector<T>>& v, double softmax_scale)
      : k_(k), v_(v), head_dim_(static_cast<int>(v[0].size())) {
    const double c = softmax_scale * 1.4426950408889634074;
    high_ = static_cast<float>(c), low_ = static_cast<float>(c - static_cast<double>(high_));
  }

  std::vector<T> row(const std::vector<T>& q, int visible) const {
    std::vector<T> scaled;
    for (const T x : q) {
      const auto y = static_cast<float>(x);
      scaled.push_back(std::isfinite(y) ? T(std::fma(y, high_, y * low_)) : T(std::numeric_limits<float>::quiet_NaN()));
    }
    row_state total = empty(), super = empty();
    for (int first = 0; first < visible; first += rapt::segment_len) {
      if (first > 0 && first % rapt::super_segment_len == 0) {
        merge(total, super);
        super = empty();
      }
      merge(super, segment(scaled, first, std::min<int>(first + rapt::segment_len, visible)));
    }
    merge(total, super);
    std::vector<T> out;
    for (const float x : total.acc) {
      const float y = total.max == -std::numeric_limits<float>::infinity() ? 0.0f : x * (1.0f / total.sum) + 0.0f;
      out.push_back(T(y));
    }
    return out;
  }

 private:
  row_state empty() const {
    row_state s;
    s.acc.assign(at(head_dim_), 0.0f);
    return s;
  }

  row_state segment(const std::vector<T>& q, int first, int last) const {
    row_state s = empty();
    for (int tile = first; tile < last; tile += tile_keys) fold(s, q, tile, std::min(tile + tile_keys, last));
    return s;
  }

  void fold(row_state& s, const std::vector<T>& q, int first, int last) const {
    float u[tile_keys];
    float max = s.max;
    for (int j = 0; j < tile_keys; ++j) {
      u[j] = -std::numeric_limits<float>::infinity();
      if (first + j >= last) continue;
      u[j] = 0;
      for (int d = 0; d < head_dim_; d += 16)
        u[j] = rapt::simt::emulator::multiply_add_16(rapt::simt::emulator::hopper, &q[at(d)], &k_[at(first) + at(j)][at(d)], u[j]);
      if (std::isnan(u[j]) || std::isnan(max))
        max = std::numeric_limits<float>::quiet_NaN();
      else
        max = std::max(max, u[j]);
    }
    if (max == -std::numeric_limits<float>::infinity()) return;
    const float scale = rapt::simt::exp2_approx(s.max - max);
    T p[tile_keys];
    float lanes[16] = {};
    for (int j = 0; j < tile_keys; ++j) {
      const float weight = rapt::simt::exp2_approx(u[j] - max);
      p[j] = T(weight);
      lanes[j % 16] += weight;
    }
    for (int half = 8; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    s.sum = std::fma(s.sum, scale, lanes[0]);
    s.max = max;

    bool sees_not_finite = false;
    for (int key = first; key < last; ++key)
      for (const T x : v_[at(key)]) sees_not_finite |= !std::isfinite(static_cast<float>(x));
    for (int d = 0; d < head_dim_; ++d) {
      float& acc = s.acc[at(d)];
      acc *= scale;
      for (int block = 0; block < tile_keys; block += 16) {
        T column[16];
        for (int j = 0; j < 16; ++j) {
          const std::size_t key = at(first) + at(block) + at(j);
          column[j] = key < v_.size() ? v_[key][at(d)] : T();
          if (!sees_not_finite && !std::isfinite(static_cast<float>(column[j]))) column[j] = T();
        }
        acc = rapt::simt::emulator::multiply_add_16(rapt::simt::emulator::hopper, &p[block], column, acc);
      }
    }
  }

  static std::size_t at(int i) { return static_cast<std::size_t>(i); }

  static void merge(row_state& into, const row_state& from) {
    constexpr float none = -std::numeric_limits<float>::infinity();
    if (from.max == none) return;
    if (into.max == none) {
      into = from;
      return;
    }
    const bool from_is_high = from.max > into.max;
    const row_state &high = from_is_high ? from : into, &low = from_is_high ? into : from;
    const float scale = rapt::simt::exp2_approx(low.max - high.max);
    row_state merged = high;
    merged.sum = std::fma(low.sum, scale, high.sum);
    for (std::size_t d = 0; d < merged.acc.size(); ++d) merged.acc[d] = std::fma(low.acc[d], scale, high.acc[d]);
    into = merged;
  }

  const std::vector<std::vector<T>>&k_, &v_;
  const int head_dim_;
  float high_ = 0, low_ = 0;
};

}  // namespace rapt_test
