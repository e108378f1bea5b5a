// A backend's attend_params as exact attention's problem: keys and values as rows instead of packed, and what a device reads in arrays.
#pragma once
#include <kernels/exact_attention.hpp>
#include <tests/kernels/row_cache.hpp>

#include <algorithm>
#include <vector>

namespace rapt_test {
using rapt::index_t;

/// All of `p`, which has to outlive it. `problem.out` and `lse` are those of p.
template <class A>
struct exact_attention_rig {
  rapt::kernels::exact_attention_problem<A> problem;
  rapt::kernels::exact_limits limits;
  row_cache cache;
  std::vector<rapt::kernels::sequence> sequences;
  std::vector<rapt::kernels::dropout_sequence> dropout_sequences;
  std::vector<index_t> q_positions;
  std::vector<A> alibi, sinks;

  explicit exact_attention_rig(const rapt::attend_params& p) {
    constexpr double log2_e = contract::log2_e;
    const auto size = [](index_t n) { return static_cast<std::size_t>(n); };
    problem.q = p.q, problem.out = p.out, problem.lse = p.lse;
    problem.num_heads = static_cast<int>(p.q.heads), problem.head_dim = static_cast<int>(p.q.dim), problem.value_dim = static_cast<int>(p.out.dim);
    problem.num_kv_heads = static_cast<int>((p.kv.present() ? p.kv.num_heads : p.k.heads) == 1 ? 1 : p.num_kv_heads);
    problem.softmax_scale = p.softmax_scale, problem.softcap = p.softcap;
    problem.window_left = p.window_left, problem.window_right = p.window_right;
    problem.dropout_p = p.dropout_p, problem.dropout_seed = p.dropout_seed;
    for (index_t h = 0; h < p.q.heads; ++h) {
      if (p.alibi_slopes != nullptr) alibi.push_back(static_cast<A>(p.alibi_slopes[h] * log2_e));
      if (p.sink_logits != nullptr) sinks.push_back(static_cast<A>(p.sink_logits[h] * log2_e));
    }
    if (!alibi.empty()) problem.alibi_slopes_log2 = alibi.data();
    if (!sinks.empty()) problem.sink_logits_log2 = sinks.data();
    auto& mask = problem.mask;
    mask.head_stride = p.mask.head_stride, mask.row_stride = p.mask.row_stride, mask.key_stride = p.mask.key_stride;
    if (p.mask.kind == rapt::mask_kind::boolean) mask.visible = static_cast<const bool*>(p.mask.data);
    if (p.mask.kind == rapt::mask_kind::additive) mask.added = static_cast<const A*>(p.mask.data);

    const bool explicit_positions = std::any_of(p.sequences, p.sequences + p.num_sequences, [](const auto& s) { return s.positions != nullptr; });
    q_positions.resize(size(p.q.rows()));
    if (explicit_positions) problem.q_positions = {q_positions.data(), 0, 1, 0};
    if (p.kv.present()) unpack(p);
    for (index_t n = 0; n < p.num_sequences; ++n) {
      const rapt::sequence_rows& s = p.sequences[n];
      rapt::kernels::sequence to;
      to.first_row = static_cast<int>(s.first_row), to.q_len = static_cast<int>(s.num_rows);
      to.kv_len = static_cast<int>(std::min(s.kv_len, s.visible_len)), to.first_position = static_cast<int>(s.first_position);
      to.first_masked_key = static_cast<int>(s.mask_first_key);
      to.mask_offset = s.mask_batch * p.mask.batch_stride + s.mask_row * p.mask.row_stride + (s.mask_key - s.mask_first_key) * p.mask.key_stride;
      for (index_t i = 0; i < s.num_rows; ++i) q_positions[size(s.first_row + i)] = contract::position_of_row(s, i);
      if (p.kv.present()) to.first_key = cache.first_pages[size(n)];
      sequences.push_back(to);
      dropout_sequences.push_back({p.dropout_offset + static_cast<std::uint64_t>(s.dropout_sequence), static_cast<int>(s.kv_len - s.num_rows)});
      limits.max_q_len = std::max(limits.max_q_len, to.q_len), limits.max_kv_len = std::max(limits.max_kv_len, to.kv_len);
    }
    problem.sequences = sequences.data(), problem.num_sequences = static_cast<int>(sequences.size());
    problem.dropout_sequences = dropout_sequences.data();
    if (!p.kv.present()) {
      problem.k = p.k, problem.v = p.v;
      if (p.k_positions != nullptr) problem.k_positions = {p.k_positions, 0, 1, 0};
    }
  }
  exact_attention_rig(const exact_attention_rig&) = delete;
  exact_attention_rig& operator=(const exact_attention_rig&) = delete;

  template <rapt::kernels::exact_products Products = rapt::kernels::exact_products::fma>
  void run(rapt::kernels::exact_parts by) {
    // NaNs, which nothing that was not written may become part of.
    std::vector<A> workspace(rapt::kernels::exact_attention_bytes(problem, limits, by) / sizeof(A), std::numeric_limits<A>::quiet_NaN());
    rapt::kernels::attend_exact_by<Products>(by, problem, limits, workspace.data(), nullptr);
  }

 private:
  void unpack(const rapt::attend_params& p) {
    std::vector<index_t> kv_lens;
    for (index_t n = 0; n < p.num_sequences; ++n) kv_lens.push_back(p.sequences[n].kv_len);
    cache = row_cache(p.kv, p.sequences, kv_lens);
    for (index_t n = 0; n < p.num_sequences; ++n)
      row_cache::for_each_element(cache, p.kv, p.sequences[n], 0, p.sequences[n].kv_len,
                                  [&](const std::byte* from, std::byte* to) { std::copy_n(from, size_of(p.kv.type), to); });
    problem.k = cache.k, problem.v = cache.v;
    problem.page_table = cache.page_table.data(), problem.page_len = static_cast<int>(p.kv.page_len);
    if (p.kv.positions != nullptr) problem.k_positions = {p.kv.positions, p.kv.position_stride, 1, 0};
  }
};

}  // namespace rapt_test
