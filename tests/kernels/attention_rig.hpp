// Attention problems of random elements in every layout, and their answer by the definition, in double on the host.
#pragma once
#include <kernels/attention_problem.hpp>

#include <gtest/gtest.h>
#include <algorithm>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

namespace rapt_test {

using rapt::index_t;

/// A normal number that is a function of its arguments alone: so one problem's rows can be found again in another's.
inline float normal_of(std::uint64_t tensor, std::uint64_t seed, index_t token, int head, int d) {
  std::uint64_t state = (tensor * 31 + seed) * 0x9e3779b97f4a7c15u;
  const auto mixed = [&](std::uint64_t with) {
    state += with * 0xbf58476d1ce4e5b9u + 0x9e3779b97f4a7c15u;
    std::uint64_t x = state;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u, x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return state = x ^ (x >> 31);
  };
  mixed(static_cast<std::uint64_t>(token)), mixed(static_cast<std::uint64_t>(head)), mixed(static_cast<std::uint64_t>(d));
  const auto uniform = [&](std::uint64_t x) { return (static_cast<double>(x >> 11) + 0.5) * 0x1p-53; };
  const double a = uniform(mixed(1)), b = uniform(mixed(2));
  return static_cast<float>(std::sqrt(-2 * std::log(a)) * std::cos(6.283185307179586 * b));
}

/// Query i stands at position kv_len - q_len + i. Its elements, and those of keys and values, are functions of the seed and the position.
struct lengths {
  int q_len = 1, kv_len = 1;
  unsigned seed = 1;
};

enum class layout { dense, packed, pages };

struct attention_shape {
  std::vector<lengths> sequences = {{}};
  int num_heads = 1, num_kv_heads = 1, head_dim = 64, value_dim = 0;  // value_dim 0: as head_dim
  bool causal = false;
  index_t window_left = rapt::no_window, window_right = rapt::no_window;
  layout where = layout::packed;
  int page_len = 16, gap = 8;  // gap: elements between rows
  bool mask_visible = false, mask_added = false, alibi = false, sinks = false, explicit_positions = false;
  double softcap = 0, softmax_scale = 0;  // scale 0: 1 / sqrt(head_dim)

  int values() const { return value_dim == 0 ? head_dim : value_dim; }
};

/// Between rows, and in what no sequence has, are NaNs: a stride mistaken for a width is seen.
template <class T, class Out = T>
struct attention_rig {
  attention_shape shape;
  rapt::kernels::attention_problem<T, Out> problem;
  std::vector<rapt::kernels::sequence> sequences;
  std::vector<T> q, k, v;
  std::vector<Out> out;
  std::vector<float> lse;
  std::vector<std::int32_t> pages;
  std::vector<index_t> q_positions, k_positions;
  std::unique_ptr<bool[]> visible;
  std::vector<float> added, slopes, sinks;

  explicit attention_rig(const attention_shape& s) : shape(s) {
    place_sequences();
    auto& p = problem;
    p.num_heads = s.num_heads, p.num_kv_heads = s.num_kv_heads, p.head_dim = s.head_dim, p.value_dim = s.values();
    p.softmax_scale = s.softmax_scale != 0 ? s.softmax_scale : 1 / std::sqrt(static_cast<double>(s.head_dim));
    p.window_left = s.window_left, p.window_right = s.causal ? 0 : s.window_right;
    p.softcap = s.softcap;
    p.sequences = sequences.data(), p.num_sequences = static_cast<int>(sequences.size());
    fill_queries();
    fill_keys();
    if (s.mask_visible || s.mask_added) fill_masks();
    if (s.alibi)
      for (int h = 0; h < s.num_heads; ++h) slopes.push_back(static_cast<float>(slope(h) * log2_e));
    if (s.sinks)
      for (int h = 0; h < s.num_heads; ++h) sinks.push_back(static_cast<float>(sink(h) * log2_e));
    if (s.alibi) p.alibi_slopes_log2 = slopes.data();
    if (s.sinks) p.sink_logits_log2 = sinks.data();
  }
  attention_rig(const attention_rig&) = delete;
  attention_rig& operator=(const attention_rig&) = delete;

  static constexpr double log2_e = 1.4426950408889634074, nothing = -std::numeric_limits<double>::infinity();
  static constexpr int num_masked = 3;  // keys before this one have no entry in the mask

  const T* query(int sequence, int i, int head) const { return problem.q.at(sequence, first_row(sequence) + i, head); }
  Out* row(int sequence, int i, int head) const { return problem.out.at(sequence, first_row(sequence) + i, head); }
  float row_lse(int sequence, int i, int head) const { return *problem.lse.at(sequence, first_row(sequence) + i, head); }
  T* key(int sequence, int token, int head) const { return at(problem.k, sequence, token, head); }
  T* value(int sequence, int token, int head) const { return at(problem.v, sequence, token, head); }
  int kv_head(int head) const { return head * shape.num_kv_heads / shape.num_heads; }
  const lengths& len(int sequence) const { return shape.sequences[static_cast<std::size_t>(sequence)]; }
  int num_sequences() const { return static_cast<int>(shape.sequences.size()); }

  double slope(int head) const { return 0.3 / (head + 1); }
  double sink(int head) const { return 0.7 * head - 0.4; }
  index_t position_of_query(int sequence, int i) const {
    const index_t index = index_t{len(sequence).kv_len} - len(sequence).q_len + i;
    return shape.explicit_positions ? 2 * index + 1 : index;
  }
  index_t position_of_key(int, int token) const { return shape.explicit_positions ? 2 * token + (token % 3 == 0 ? 1 : 0) : token; }
  float mask_of(int sequence, int head, int i, int token) const {
    const float x = normal_of(4, len(sequence).seed, position_of_query(sequence, i) * 4096 + token, head, 0);
    return token < num_masked ? 0 : x < -0.5f ? -std::numeric_limits<float>::infinity() : x;
  }
  bool sees(int sequence, int head, int i, int token) const {
    const index_t q_pos = position_of_query(sequence, i), k_pos = position_of_key(sequence, token);
    const index_t right = shape.causal ? 0 : shape.window_right;
    if (shape.window_left != rapt::no_window && k_pos < q_pos - shape.window_left) return false;
    if (right != rapt::no_window && k_pos > q_pos + right) return false;
    return !(shape.mask_visible || shape.mask_added) || std::isfinite(mask_of(sequence, head, i, token));
  }

  /// The row of the answer, and after it its lse.
  std::vector<double> expected(int sequence, int i, int head) const {
    const auto as_double = [](const T* x, int d) { return static_cast<double>(static_cast<float>(x[d])); };
    std::vector<double> weights, answer(static_cast<std::size_t>(shape.values()));
    double max = nothing, sum = 0;
    for (int token = 0; token < len(sequence).kv_len; ++token) {
      double score = 0;
      for (int d = 0; d < shape.head_dim; ++d) score += as_double(query(sequence, i, head), d) * as_double(key(sequence, token, kv_head(head)), d);
      score *= problem.softmax_scale;
      if (shape.softcap > 0) score = shape.softcap * std::tanh(score / shape.softcap);
      if (shape.alibi) score -= slope(head) * std::abs(static_cast<double>(position_of_query(sequence, i) - position_of_key(sequence, token)));
      if (shape.mask_added) score += static_cast<double>(mask_of(sequence, head, i, token));
      weights.push_back(sees(sequence, head, i, token) ? score : nothing);
      max = std::max(max, weights.back());
    }
    for (double& w : weights) sum += w = max == nothing ? 0 : std::exp(w - max);
    answer.push_back(sum == 0 ? nothing : max + std::log(sum));
    if (shape.sinks) sum += std::exp(sink(head) - max);
    for (int token = 0; token < len(sequence).kv_len; ++token)
      if (const double w = weights[static_cast<std::size_t>(token)]; w != 0)
        for (int d = 0; d < shape.values(); ++d) answer[static_cast<std::size_t>(d)] += w / sum * as_double(value(sequence, token, kv_head(head)), d);
    return answer;
  }

 private:
  int first_row(int sequence) const { return sequences[static_cast<std::size_t>(sequence)].first_row; }
  T* at(const rapt::kernels::heads_view<const T>& view, int sequence, int token, int head) const {
    const auto place = rapt::kernels::place_of(problem, sequence, sequences[static_cast<std::size_t>(sequence)], token);
    return const_cast<T*>(view.at(place.outer, place.row, head));
  }

  void place_sequences() {
    int rows = 0, keys = 0, entries = 0;
    for (const lengths& l : shape.sequences) {
      rapt::kernels::sequence s;
      s.q_len = l.q_len, s.kv_len = l.kv_len, s.first_position = l.kv_len - l.q_len;
      if (shape.where != layout::dense) s.first_row = rows;
      if (shape.where == layout::packed) s.first_key = keys;
      if (shape.where == layout::pages) s.first_key = entries;
      s.first_masked_key = num_masked;
      rows += l.q_len, keys += l.kv_len, entries += (l.kv_len + shape.page_len - 1) / shape.page_len;
      sequences.push_back(s);
    }
    if (shape.where != layout::pages) return;
    // 7 has no divisor in common with these numbers of pages: every page once, in no order.
    const int num_pages = entries % 7 == 0 ? entries + 1 : entries;
    for (int i = 0; i < entries; ++i) pages.push_back((i * 7 + 3) % num_pages);
    problem.page_table = pages.data(), problem.page_len = shape.page_len;
    num_pages_ = num_pages;
  }

  /// Rows of heads * dim elements with gaps, for `outer` times `len` of them.
  template <class E>
  rapt::kernels::heads_view<E> make(std::vector<std::remove_const_t<E>>& tensor, int outer, int len, int heads, int dim) {
    const index_t stride = index_t{heads} * dim + shape.gap;
    tensor.assign(static_cast<std::size_t>(outer * (len * stride + shape.gap)), std::remove_const_t<E>(std::numeric_limits<float>::quiet_NaN()));
    return {tensor.data(), len * stride + shape.gap, stride, dim};
  }
  int total(int lengths::*which) const {
    int sum = 0;
    for (const lengths& l : shape.sequences) sum += l.*which;
    return sum;
  }

  void fill_queries() {
    const bool dense = shape.where == layout::dense;
    const int outer = dense ? num_sequences() : 1, rows = dense ? len(0).q_len : total(&lengths::q_len);
    problem.q = make<const T>(q, outer, rows, shape.num_heads, shape.head_dim);
    problem.out = make<Out>(out, outer, rows, shape.num_heads, shape.values());
    lse.assign(static_cast<std::size_t>(outer * shape.num_heads * rows), std::numeric_limits<float>::quiet_NaN());
    problem.lse = {lse.data(), index_t{shape.num_heads} * rows, 1, rows};
    q_positions.assign(static_cast<std::size_t>(outer * rows), -1);
    if (shape.explicit_positions) problem.q_positions = {q_positions.data(), rows, 1, 0};
    if (!dense) problem.q.outer_stride = problem.out.outer_stride = problem.lse.outer_stride = problem.q_positions.outer_stride = 0;
    for (int s = 0; s < num_sequences(); ++s)
      for (int i = 0; i < len(s).q_len; ++i) {
        if (shape.explicit_positions) const_cast<index_t&>(*problem.q_positions.at(s, first_row(s) + i, 0)) = position_of_query(s, i);
        for (int h = 0; h < shape.num_heads; ++h)
          for (int d = 0; d < shape.head_dim; ++d)
            const_cast<T*>(query(s, i, h))[d] = T(normal_of(1, len(s).seed, index_t{len(s).kv_len} - len(s).q_len + i, h, d));
      }
  }

  void fill_keys() {
    const bool dense = shape.where == layout::dense, in_pages = shape.where == layout::pages;
    const int outer = dense ? num_sequences() : in_pages ? num_pages_ : 1;
    const int rows = dense ? len(0).kv_len : in_pages ? shape.page_len : total(&lengths::kv_len);
    if (in_pages) {
      // [pages][KV heads]: keys [page_len][head_dim], then values [page_len][value_dim].
      const index_t of_keys = index_t{rows} * shape.head_dim, of_head = of_keys + index_t{rows} * shape.values();
      k.assign(static_cast<std::size_t>(outer * shape.num_kv_heads * of_head), T(std::numeric_limits<float>::quiet_NaN()));
      problem.k = {k.data(), shape.num_kv_heads * of_head, shape.head_dim, of_head};
      problem.v = {k.data() + of_keys, shape.num_kv_heads * of_head, shape.values(), of_head};
    } else {
      problem.k = make<const T>(k, outer, rows, shape.num_kv_heads, shape.head_dim);
      problem.v = make<const T>(v, outer, rows, shape.num_kv_heads, shape.values());
      if (!dense) problem.k.outer_stride = problem.v.outer_stride = 0;
    }
    k_positions.assign(static_cast<std::size_t>(outer * rows), -1);
    if (shape.explicit_positions) problem.k_positions = {k_positions.data(), shape.where == layout::packed ? 0 : rows, 1, 0};
    for (int s = 0; s < num_sequences(); ++s)
      for (int token = 0; token < len(s).kv_len; ++token) {
        if (shape.explicit_positions) {
          const auto place = rapt::kernels::place_of(problem, s, sequences[static_cast<std::size_t>(s)], token);
          const_cast<index_t&>(*problem.k_positions.at(place.outer, place.row, 0)) = position_of_key(s, token);
        }
        for (int h = 0; h < shape.num_kv_heads; ++h) {
          for (int d = 0; d < shape.head_dim; ++d) key(s, token, h)[d] = T(normal_of(2, len(s).seed, token, h, d));
          for (int d = 0; d < shape.values(); ++d) value(s, token, h)[d] = T(normal_of(3, len(s).seed, token, h, d));
        }
      }
  }

  /// [sequences][heads, q_len, kv_len - num_masked], one after the other.
  void fill_masks() {
    int max_q = 0, max_kv = 0;
    for (const lengths& l : shape.sequences) max_q = std::max(max_q, l.q_len), max_kv = std::max(max_kv, l.kv_len);
    auto& m = problem.mask;
    m.key_stride = 2, m.row_stride = 2 * max_kv, m.head_stride = m.row_stride * max_q;
    const index_t of_sequence = m.head_stride * shape.num_heads;
    visible = std::make_unique<bool[]>(static_cast<std::size_t>(of_sequence * num_sequences()));
    added.assign(static_cast<std::size_t>(of_sequence * num_sequences()), std::numeric_limits<float>::quiet_NaN());
    if (shape.mask_visible) m.visible = visible.get();
    if (shape.mask_added) m.added = added.data();
    for (int s = 0; s < num_sequences(); ++s) {
      auto& description = sequences[static_cast<std::size_t>(s)];
      description.mask_offset = s * of_sequence - num_masked * m.key_stride;
      for (int h = 0; h < shape.num_heads; ++h)
        for (int i = 0; i < len(s).q_len; ++i)
          for (int token = num_masked; token < len(s).kv_len; ++token) {
            const auto entry = static_cast<std::size_t>(m.offset(description, h, i, token));
            visible[entry] = std::isfinite(mask_of(s, h, i, token));
            added[entry] = mask_of(s, h, i, token);
          }
    }
  }

  int num_pages_ = 0;
};

/// f(sequence, query, head) for every row.
template <class T, class F>
void for_each_row(const attention_rig<T>& rig, F f) {
  for (int s = 0; s < rig.num_sequences(); ++s)
    for (int i = 0; i < rig.len(s).q_len; ++i)
      for (int h = 0; h < rig.shape.num_heads; ++h) f(s, i, h);
}

/// Relative error over every row, ||out - expected|| / ||expected||.
template <class T>
double error_of(const attention_rig<T>& rig) {
  double difference = 0, size = 0;
  for_each_row(rig, [&](int s, int i, int h) {
    const auto row = rig.expected(s, i, h);
    for (int d = 0; d < rig.shape.values(); ++d) {
      const double x = row[static_cast<std::size_t>(d)], e = static_cast<double>(static_cast<float>(rig.row(s, i, h)[d])) - x;
      difference += e * e, size += x * x;
    }
    // An infinite one is equal, a finite one near.
    if (row.back() != static_cast<double>(rig.row_lse(s, i, h))) { EXPECT_NEAR(row.back(), static_cast<double>(rig.row_lse(s, i, h)), 2e-5); }
  });
  return std::sqrt(difference / size);
}
template <class T>
constexpr double allowed_error = std::is_same_v<T, rapt::f16> ? 5e-4 : 4e-3;

}  // namespace rapt_test
