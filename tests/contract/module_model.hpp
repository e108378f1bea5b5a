// The whole module by the contract: project, norm, rotate, round keys and values once, attend, project, round once.
#pragma once
#include <contract/module_case.hpp>
#include <contract/scalar_model.hpp>
#include <rapt/ops/rope.hpp>

namespace rapt_test::contract {

/// Element i of a matrix, rounded once to bf16 where products add pairs.
template <class A>
A weight_at(const rapt::weight_view& w, index_t i, products how) {
  return how == products::bf16_pairs ? static_cast<A>(as_bf16(load<double>(w.type(), w.data(), i))) : load<A>(w.type(), w.data(), i);
}
/// A weight as [rows, depth] or a vector, part `part` of `parts` of its rows.
template <class A>
std::vector<A> part_of(const rapt::weight_view& w, index_t rows, index_t depth, index_t part, products how = products::fma) {
  std::vector<A> values;
  for (index_t i = 0; i < rows * depth; ++i) values.push_back(weight_at<A>(w, part * rows * depth + i, how));
  return values;
}

template <class A>
struct linear {
  index_t rows = 0, depth = 0;
  std::vector<A> weights, bias;  ///< [rows, depth]; [rows] or empty
  products how = products::fma;  ///< bf16_pairs: weights are rounded to bf16

  std::vector<A> operator()(const std::vector<A>& x, const std::vector<A>* residual = nullptr) const {
    std::vector<A> y;
    for (index_t r = 0; r < rows; ++r) {
      const auto at = static_cast<std::size_t>(r);
      y.push_back(projected<A>(x.data(), &weights[static_cast<std::size_t>(r * depth)], 1, depth,
                               bias.empty() ? std::nullopt : std::optional(bias[at]), residual ? std::optional((*residual)[at]) : std::nullopt, how));
    }
    return y;
  }
};

template <class A>
class module_model {
 public:
  module_model(const attention_config& config, const rapt::attention_weights& w)
      : c_(config), how_(config.numerics == "cpu-bf16dot-v1" ? products::bf16_pairs : products::fma) {
    const index_t e = c_.model_dim, q_rows = c_.num_heads * c_.head_dim, k_rows = c_.num_kv_heads * c_.head_dim,
                  v_rows = c_.num_kv_heads * c_.value_dim;
    const auto make = [&](const rapt::weight_view& weights, const rapt::weight_view& bias, index_t rows, index_t part) {
      return linear<A>{rows, e, part_of<A>(weights, rows, e, part, how_), bias.present() ? part_of<A>(bias, rows, 1, part) : std::vector<A>()};
    };
    const bool fused = w.w_qkv.present(), pair = w.w_kv.present();
    q_ = fused ? make(w.w_qkv, w.b_qkv, q_rows, 0) : make(w.w_q, w.b_q, q_rows, 0);
    k_ = fused ? make(w.w_qkv, w.b_qkv, k_rows, 1) : pair ? make(w.w_kv, w.b_kv, k_rows, 0) : make(w.w_k, w.b_k, k_rows, 0);
    v_ = fused ? make(w.w_qkv, w.b_qkv, v_rows, 2) : pair ? make(w.w_kv, w.b_kv, v_rows, 1) : make(w.w_v, w.b_v, v_rows, 0);
    out_.rows = c_.output_dim, out_.depth = c_.num_heads * c_.value_dim;
    for (index_t o = 0; o < out_.rows; ++o)
      for (index_t i = 0; i < out_.depth; ++i) out_.weights.push_back(weight_at<A>(w.w_out, i * out_.rows + o, how_));
    for (linear<A>* l : {&q_, &k_, &v_, &out_}) l->how = how_;
    if (w.b_out.present()) out_.bias = part_of<A>(w.b_out, out_.rows, 1, 0);
    if (c_.qk_norm) q_norm_ = part_of<A>(w.q_norm, c_.head_dim, 1, 0), k_norm_ = part_of<A>(w.k_norm, c_.head_dim, 1, 0);
    if (w.sink_logits.present()) sinks_ = part_of<A>(w.sink_logits, c_.num_heads, 1, 0);
    if (c_.rope) rope_ = rapt::make_rope_table(*c_.rope, c_.head_dim);
    if (c_.alibi) alibi_ = rapt::alibi_slopes(c_.num_heads);
  }

  struct token {
    index_t position;
    std::vector<A> k, v;  ///< [num_kv_heads, dim], as read back from the cache's dtype
  };
  token make_token(const std::vector<A>& x, index_t position) const {
    token t{position, k_(x), v_(x)};
    transform(t.k, c_.num_kv_heads, k_norm_, position);
    for (std::vector<A>* all : {&t.k, &t.v})
      for (A& value : *all) {
        double cell = 0;  // room for any dtype
        store<A>(*c_.kv_dtype, &cell, 0, value);
        value = load<A>(*c_.kv_dtype, &cell, 0);
      }
    return t;
  }

  struct result {
    std::vector<A> y, lse;  ///< y before it is rounded
  };
  /// One row against tokens of which sees(index) says whether they are visible beside causal and window.
  template <class Sees>
  result attend(const std::vector<A>& x, index_t position, const std::vector<token>& tokens, Sees sees, bool residual) const {
    std::vector<A> q = q_(x), attended;
    transform(q, c_.num_heads, q_norm_, position);
    result r;
    for (index_t h = 0; h < c_.num_heads; ++h) {
      const index_t kv_head = h / (c_.num_heads / c_.num_kv_heads);
      const std::vector<A> scaled =
          scaled_query(std::vector<A>(q.begin() + h * c_.head_dim, q.begin() + (h + 1) * c_.head_dim), *c_.softmax_scale, how_);
      score_terms terms{c_.softcap.value_or(0), {}};
      if (!alibi_.empty()) terms.alibi_slope = alibi_[static_cast<std::size_t>(h)];
      std::vector<A> scores;
      for (std::size_t j = 0; j < tokens.size(); ++j) {
        const token& t = tokens[j];
        const bool hidden = !sees(static_cast<index_t>(j)) || (c_.causal && t.position > position) ||
                            (c_.window.left && t.position < position - *c_.window.left) ||
                            (c_.window.right && t.position > position + *c_.window.right);
        A u = minus_infinity<A>;
        if (!hidden)
          u = biased_score(blocked_dot(scaled.data(), 1, t.k.data() + kv_head * c_.head_dim, 1, c_.head_dim, score_block_dims, how_), terms, position,
                           t.position, std::optional<A>());
        scores.push_back(u);
      }
      const auto value = [&](index_t j, index_t d) {
        return tokens[static_cast<std::size_t>(j)].v[static_cast<std::size_t>(kv_head * c_.value_dim + d)];
      };
      const attended_row<A> row = finish(fold_row(scores, c_.value_dim, value, {}, how_), c_.value_dim,
                                         sinks_.empty() ? std::nullopt : std::optional(static_cast<double>(sinks_[static_cast<std::size_t>(h)])));
      for (const A x_attended : row.out) attended.push_back(how_ == products::bf16_pairs ? as_bf16(x_attended) : x_attended);
      r.lse.push_back(row.lse);
    }
    r.y = out_(attended, residual ? &x : nullptr);
    return r;
  }

 private:
  void transform(std::vector<A>& all, index_t heads, const std::vector<A>& norm, index_t position) const {
    for (index_t h = 0; h < heads; ++h) {
      const std::span<A> head(all.data() + h * c_.head_dim, static_cast<std::size_t>(c_.head_dim));
      if (!norm.empty()) normalise<A>(head, norm.data(), c_.qk_norm->eps);
      if (c_.rope)
        rotate<A>(head, {rope_.dim, rope_.pairing == rapt::rope_pairing::interleaved, rope_.inverse_frequencies.data(), rope_.attention_factor},
                  position);
    }
  }
  attention_config c_;
  products how_;
  linear<A> q_, k_, v_, out_;
  std::vector<A> q_norm_, k_norm_, sinks_;
  std::vector<double> alibi_;
  rapt::rope_table rope_;
};

}  // namespace rapt_test::contract
