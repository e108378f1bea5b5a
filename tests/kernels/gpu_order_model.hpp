// One query by the order of the contract's ids sm80-mma16816-k64-v1 and sm90-mma16816-k64-v1, in plain loops: what every kernel of them has to give,
// bit for bit. Only the tensor core's sum of 16 products, exp2 and tanh are the emulator's.
#pragma once
#include <kernels/simt/math.hpp>
#include <kernels/simt/tensor_core.hpp>
#include <tests/kernels/attention_rig.hpp>

namespace rapt_test {

constexpr int tile_keys = 64;

template <class T>
struct model_row {
  std::vector<std::uint16_t> bits;
  float lse = 0;
};

/// A row of a rig's answer.
template <class T>
class gpu_order_model {
 public:
  gpu_order_model(const attention_rig<T>& rig, int sequence, int query, int head)
      : rig_(rig), sequence_(sequence), query_(query), head_(head), kv_len_(rig.len(sequence).kv_len) {
    const auto c = static_cast<float>(rig.problem.softmax_scale * log2_e);
    scale_ = c == 0 ? 1 : std::fabs(c);
    const float factor = c == 0 ? 0.0f : std::copysign(1.0f, c);
    // Zeros fill up to a multiple of 16.
    q_.assign(at((rig.shape.head_dim + 15) / 16 * 16), T());
    for (int d = 0; d < rig.shape.head_dim; ++d) {
      const auto x = static_cast<float>(rig.query(sequence, query, head)[d]);
      q_[at(d)] = std::isfinite(x) ? T(x * factor) : T(std::numeric_limits<float>::quiet_NaN());
    }
  }

  model_row<T> row() const {
    state total = empty(), super = empty();
    for (int first = 0; first < kv_len_; first += rapt::segment_len) {
      if (first > 0 && first % rapt::super_segment_len == 0) {
        merge(total, super);
        super = empty();
      }
      merge(super, segment(first, std::min<int>(first + rapt::segment_len, kv_len_)));
    }
    merge(total, super);
    model_row<T> answer;
    const auto lse = static_cast<float>(static_cast<double>(total.max) * 0.69314718055994530942 + std::log(static_cast<double>(total.sum)));
    answer.lse = total.max == none ? none : lse;
    if (rig_.shape.sinks && total.max != none) {
      state sink = empty();
      sink.max = static_cast<float>(rig_.sink(head_) * log2_e), sink.sum = 1;
      merge(total, sink);
    }
    for (const float x : total.acc) {
      const float y = total.max == none ? 0.0f : x * (1.0f / total.sum) + 0.0f;
      answer.bits.push_back(T(y).bits);
    }
    return answer;
  }

 private:
  static constexpr double log2_e = 1.4426950408889634074;
  static constexpr float none = -std::numeric_limits<float>::infinity();

  struct state {
    float max = none, sum = 0;
    std::vector<float> acc;
  };
  state empty() const {
    state s;
    s.acc.assign(at(rig_.shape.values()), 0.0f);
    return s;
  }

  bool sees(int key) const { return key < kv_len_ && rig_.sees(sequence_, head_, query_, key); }
  bool changes_scores() const { return rig_.shape.softcap > 0 || rig_.shape.alibi || rig_.shape.mask_added; }

  float score(int key) const {
    float u = 0;
    const T* const k = rig_.key(sequence_, key, rig_.kv_head(head_));
    for (int first = 0; first < rig_.shape.head_dim; first += 16) {
      T sixteen[16];
      for (int d = 0; d < 16; ++d) sixteen[d] = first + d < rig_.shape.head_dim ? k[first + d] : T();
      u = rapt::simt::emulator::multiply_add_16(rapt::simt::emulator::hopper, &q_[at(first)], sixteen, u);
    }
    if (!changes_scores()) return u;
    u *= scale_;
    const double cap = rig_.shape.softcap;
    if (cap > 0) u = static_cast<float>(cap * log2_e) * rapt::simt::tanh_approx(u * static_cast<float>(0.69314718055994530942 / cap));
    if (rig_.shape.alibi) {
      const index_t apart = rig_.position_of_query(sequence_, query_) - rig_.position_of_key(sequence_, key);
      u = std::fma(-static_cast<float>(rig_.slope(head_) * log2_e), static_cast<float>(std::abs(apart)), u);
    }
    if (rig_.shape.mask_added && key >= rig_.num_masked) u = std::fma(rig_.mask_of(sequence_, head_, query_, key), static_cast<float>(log2_e), u);
    return u;
  }

  state segment(int first, int last) const {
    state s = empty();
    for (int tile = first; tile < last; tile += tile_keys) fold(s, tile);
    return s;
  }

  void fold(state& s, int first) const {
    const float c = changes_scores() ? 1 : scale_;
    float u[tile_keys], largest = none;
    for (int j = 0; j < tile_keys; ++j) {
      u[j] = sees(first + j) ? score(first + j) : none;
      if (std::isnan(u[j]) || u[j] > largest) largest = u[j];
      if (std::isnan(largest)) break;
    }
    const float max = std::isnan(largest) || std::isnan(s.max) ? std::numeric_limits<float>::quiet_NaN() : std::max(s.max, largest * c);
    const float base = max == none ? 0.0f : max, scale = rapt::simt::exp2_approx(s.max - base);
    T p[tile_keys];
    float lanes[16] = {};
    for (int j = 0; j < tile_keys; ++j) {
      const float weight = std::isnan(max) ? max : u[j] == none ? 0.0f : rapt::simt::exp2_approx(std::fma(u[j], c, -base));
      p[j] = T(weight);
      lanes[j % 16] += weight;
    }
    for (int half = 8; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    s.sum = std::fma(s.sum, scale, lanes[0]);
    s.max = max;

    for (int d = 0; d < rig_.shape.values(); ++d) {
      float& acc = s.acc[at(d)];
      acc *= scale;
      float not_finite = 0;
      for (int block = 0; block < tile_keys; block += 16) {
        T column[16];
        for (int j = 0; j < 16; ++j) {
          const int key = first + block + j;
          column[j] = sees(key) ? rig_.value(sequence_, key, rig_.kv_head(head_))[d] : T();
          if (const auto x = static_cast<float>(column[j]); !std::isfinite(x)) {
            not_finite += static_cast<float>(p[block + j]) * x;
            column[j] = T();
          }
        }
        acc = rapt::simt::emulator::multiply_add_16(rapt::simt::emulator::hopper, &p[block], column, acc);
      }
      if (not_finite != 0) acc += not_finite;
    }
  }

  static std::size_t at(int i) { return static_cast<std::size_t>(i); }

  /// The side with the larger base has scale 1 and is added to; one whose scores are all -inf has scale 0, and what it has seen stays.
  static void merge(state& into, const state& from) {
    const bool nan = std::isnan(into.max) || std::isnan(from.max);
    const float high = nan ? std::numeric_limits<float>::quiet_NaN() : std::max(into.max, from.max), base = high == none ? 0.0f : high;
    const float scale_into = rapt::simt::exp2_approx(into.max - base), scale_from = rapt::simt::exp2_approx(from.max - base);
    const auto merged = [&](float x, float y) { return scale_into < 1.0f ? std::fma(x, scale_into, y) : std::fma(y, scale_from, x); };
    into.max = high;
    into.sum = merged(into.sum, from.sum);
    for (std::size_t d = 0; d < into.acc.size(); ++d) into.acc[d] = merged(into.acc[d], from.acc[d]);
  }

  const attention_rig<T>& rig_;
  const int sequence_, query_, head_, kv_len_;
  float scale_ = 1;
  std::vector<T> q_;
};

}  // namespace rapt_test
