// Attention as the paper writes it, one query at a time in double: the oracle of tests and of doubt, not a kernel.
// Its last bits may depend on the caller's compiler flags.
#pragma once
#include <rapt/ops/attend.hpp>

#include <cmath>
#include <limits>
#include <vector>

namespace rapt {
inline namespace v0 {

/// The same meaning as attend on host memory (dropout excepted, which it leaves out), computed naively with double accumulation.
/// Shapes as attend, and nothing is checked; out and lse are double. Source: Vaswani et al. 2017, eq. 1.
template <class T>
void attend_reference(tensor_view<const T, 4> q, tensor_view<const T, 4> k, tensor_view<const T, 4> v, tensor_view<double, 4> out,
                      tensor_view<double, 3> lse, const attend_options& options = {}) {
  const auto value = [](T x) {
    if constexpr (sizeof(T) == 2)
      return static_cast<double>(static_cast<float>(x));
    else
      return static_cast<double>(x);
  };
  constexpr double minus_inf = -std::numeric_limits<double>::infinity();
  const index_t q_len = q.extent(1), num_heads = q.extent(2), kv_len = k.extent(1), group_size = num_heads / k.extent(2);
  const double softmax_scale = options.softmax_scale.value_or(1 / std::sqrt(static_cast<double>(q.extent(3))));
  const auto at = [](auto span, index_t i) { return span[static_cast<std::size_t>(i)]; };
  const mask_operand mask = options.mask.params();

  for (index_t b = 0; b < q.extent(0); ++b)
    for (index_t h = 0; h < num_heads; ++h)
      for (index_t i = 0; i < q_len; ++i) {
        const index_t per_sequence = static_cast<index_t>(options.q_positions.size()) == q_len ? i : b * q_len + i;
        const index_t q_pos = options.q_positions.empty() ? kv_len - q_len + i : at(options.q_positions, per_sequence);
        std::vector<double> scores(static_cast<std::size_t>(kv_len), minus_inf);
        double max = minus_inf;
        bool any_nan = false;
        for (index_t j = 0; j < kv_len; ++j) {
          const index_t k_pos = options.k_positions.empty() ? j : at(options.k_positions, j);
          const index_t mask_at = b * mask.batch_stride + h * mask.head_stride + i * mask.row_stride + j * mask.key_stride;
          if (options.causal && k_pos > q_pos) continue;
          if (options.window.left && k_pos < q_pos - *options.window.left) continue;
          if (options.window.right && k_pos > q_pos + *options.window.right) continue;
          if (!options.kv_lens.empty() && j >= at(options.kv_lens, b)) continue;
          if (mask.kind == mask_kind::boolean && !static_cast<const bool*>(mask.data)[mask_at]) continue;
          double score = 0;
          for (index_t d = 0; d < q.extent(3); ++d) score += value(q(b, i, h, d)) * value(k(b, j, h / group_size, d));
          score *= softmax_scale;
          if (options.softcap) score = *options.softcap * std::tanh(score / *options.softcap);
          if (!options.alibi_slopes.empty()) score -= at(options.alibi_slopes, h) * std::abs(static_cast<double>(q_pos - k_pos));
          if (mask.kind == mask_kind::additive)
            score += options.mask.type() == dtype::f64 ? static_cast<const double*>(mask.data)[mask_at]
                                                       : static_cast<double>(static_cast<const float*>(mask.data)[mask_at]);
          scores[static_cast<std::size_t>(j)] = score;
          any_nan |= score != score;
          max = score > max ? score : max;
        }
        if (any_nan) max = std::numeric_limits<double>::quiet_NaN();
        double sum = 0;
        for (index_t d = 0; d < v.extent(3); ++d) out(b, i, h, d) = 0;
        if (max != minus_inf)
          for (index_t j = 0; j < kv_len; ++j) {
            if (scores[static_cast<std::size_t>(j)] == minus_inf) continue;  // hidden: its value is not read
            const double p = std::exp(scores[static_cast<std::size_t>(j)] - max);
            sum += p;
            for (index_t d = 0; d < v.extent(3); ++d) out(b, i, h, d) += p * value(v(b, j, h / group_size, d));
          }
        if (lse.data() != nullptr) lse(b, h, i) = max == minus_inf ? minus_inf : max + std::log(sum);
        if (max == minus_inf) continue;
        const double sink = options.sink_logits.empty() ? 0 : std::exp(at(options.sink_logits, h) - max);
        for (index_t d = 0; d < v.extent(3); ++d) out(b, i, h, d) /= sum + sink;
      }
}

}  // namespace v0
}  // namespace rapt
