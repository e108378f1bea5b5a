// The backend's operations by the words of core/params.hpp: operands in, the scalar model, operands out. One thread, no blocking, no workspace.
#pragma once
#include <contract/scalar_model.hpp>
#include <contract/storage_model.hpp>

namespace rapt_test::contract {

template <class A>
A element(const rapt::operand& o, index_t row, index_t head, index_t d) {
  return load<A>(o.type, o.data, o.offset(row, head) + d * o.dim_stride);
}
template <class A>
void set_element(const rapt::operand& o, index_t row, index_t head, index_t d, A x) {
  store<A>(o.type, o.data, o.offset(row, head) + d * o.dim_stride, x);
}
template <class A>
std::vector<A> vector_of(const rapt::operand& o, index_t row, index_t head) {
  std::vector<A> x;
  for (index_t d = 0; d < o.dim; ++d) x.push_back(element<A>(o, row, head, d));
  return x;
}
/// [heads, dim] of one row, one after the other.
template <class A>
std::vector<A> whole_row(const rapt::operand& o, index_t row) {
  std::vector<A> x;
  for (index_t h = 0; h < o.heads; ++h)
    for (index_t d = 0; d < o.dim; ++d) x.push_back(element<A>(o, row, h, d));
  return x;
}

inline index_t position_of_row(const rapt::sequence_rows& s, index_t i) { return s.positions != nullptr ? s.positions[i] : s.first_position + i; }

// ---- Packed operands

/// Where an element of packed keys and values lies, in elements from base.
struct kv_place {
  const rapt::packed_kv* kv;
  const rapt::sequence_rows* sequence;
  index_t page(index_t key) const { return sequence->pages != nullptr ? sequence->pages[key / kv->page_len] : sequence->kv_batch; }
  index_t slot(index_t key) const { return sequence->pages != nullptr ? key % kv->page_len : key; }
  index_t head_start(index_t key, index_t head) const { return (page(key) * kv->page_bytes + head * kv->head_bytes) / size_of(kv->type); }
  index_t key_element(index_t key, index_t head, index_t d) const {
    const index_t i = slot(key);
    return head_start(key, head) + (i / 16 * kv->head_dim + d) * 16 + i % 16;
  }
  index_t value_element(index_t key, index_t head, index_t d) const {
    // Blocks of 64 keys, the last of a page shorter; in a block, groups of 16 columns.
    const index_t before = slot(key) / 64 * 64, in_block = std::min<index_t>(64, kv->page_len - before);
    return head_start(key, head) + kv->value_offset / size_of(kv->type) + before * ((kv->value_dim + 15) / 16 * 16) +
           (d / 16 * in_block + (slot(key) - before)) * 16 + d % 16;
  }
  index_t position(index_t key) const { return kv->positions != nullptr ? kv->positions[page(key) * kv->position_stride + slot(key)] : key; }
};

/// [ceil(columns / 16)][depth][16]
template <class A>
A matrix_element(const rapt::packed_matrix& m, index_t k, index_t column) {
  return load<A>(m.type, m.data, (column / 16 * m.depth + k) * 16 + column % 16);
}

// ---- Operations

template <class A>
void model_project(const rapt::project_params& p) {
  for (index_t row = 0; row < p.x.rows(); ++row) {
    const std::vector<A> x = whole_row<A>(p.x, row);
    for (const auto& [w, out] : p.targets) {
      for (index_t c = 0; c < w.columns; ++c) {
        std::vector<A> column;
        for (index_t k = 0; k < w.depth; ++k) column.push_back(matrix_element<A>(w, k, c));
        std::optional<A> bias, residual;
        if (w.bias != nullptr) bias = static_cast<const A*>(w.bias)[c];
        if (p.residual.data != nullptr) residual = element<A>(p.residual, row, c / p.residual.dim, c % p.residual.dim);
        set_element<A>(out, row, c / out.dim, c % out.dim,
                       projected<A>(x.data(), column.data(), 1, w.depth, bias, residual, p.bf16_pairs ? products::bf16_pairs : products::fma));
      }
    }
  }
}

template <class A>
std::vector<A> normed_and_rotated(std::vector<A> x, const rapt::norm_params& norm, const rapt::rope_params& rope, index_t position) {
  if (norm.weight != nullptr) normalise<A>(x, static_cast<const A*>(norm.weight), norm.eps);
  if (rope.dim > 0) rotate<A>(x, {rope.dim, rope.interleaved, rope.inverse_frequencies, rope.attention_factor}, position);
  return x;
}

template <class A>
void model_rotate(const rapt::rotate_params& p) {
  for (index_t n = 0; n < p.num_sequences; ++n)
    for (index_t i = 0; i < p.sequences[n].num_rows; ++i)
      for (index_t h = 0; h < p.x.heads; ++h) {
        const index_t row = p.sequences[n].first_row + i;
        const std::vector<A> x = normed_and_rotated(vector_of<A>(p.x, row, h), p.norm, p.rope, position_of_row(p.sequences[n], i));
        for (index_t d = 0; d < p.x.dim; ++d) set_element<A>(p.x, row, h, d, canonical(x[static_cast<std::size_t>(d)]));
      }
}

template <class A>
void model_append(const rapt::append_params& p) {
  for (index_t n = 0; n < p.num_sequences; ++n)
    for (index_t i = 0; i < p.sequences[n].num_rows; ++i)
      for (index_t h = 0; h < p.kv.num_heads; ++h) {
        const rapt::sequence_rows& s = p.sequences[n];
        const index_t row = s.first_row + i, key = s.kv_len + i;
        const kv_place place{&p.kv, &s};
        const std::vector<A> k = normed_and_rotated(vector_of<A>(p.k, row, h), p.norm, p.rope, position_of_row(s, i)), v = vector_of<A>(p.v, row, h);
        const auto keep = [&](index_t element, A x) { store<A>(p.kv.type, p.kv.base, element, canonical(x)); };
        for (index_t d = 0; d < p.kv.head_dim; ++d) keep(place.key_element(key, h, d), k[static_cast<std::size_t>(d)]);
        for (index_t d = 0; d < p.kv.value_dim; ++d) keep(place.value_element(key, h, d), v[static_cast<std::size_t>(d)]);
      }
}

/// One query head of one row: which keys it sees, their scores, and its result.
template <class A>
class attend_model {
 public:
  attend_model(const rapt::attend_params& p, const rapt::sequence_rows& s, index_t i, index_t head) : p_(p), s_(s), i_(i), head_(head) {}

  attended_row<A> run() const {
    const products how = p_.bf16_pairs ? products::bf16_pairs : p_.tf32 ? products::tf32 : products::fma;
    const std::vector<A> q = scaled_query(vector_of<A>(p_.q, s_.first_row + i_, head_), p_.softmax_scale, how);
    score_terms terms{p_.softcap, {}};
    if (p_.alibi_slopes != nullptr) terms.alibi_slope = p_.alibi_slopes[head_];
    std::vector<A> scores;
    for (index_t j = 0; j < s_.kv_len; ++j) {
      A u = minus_infinity<A>;
      if (sees(j)) {
        const std::vector<A> k = key(j);
        u = blocked_dot(q.data(), 1, k.data(), 1, p_.q.dim, score_block_dims, how);
        u = biased_score(u, terms, q_position(), k_position(j), additive_mask(j));
      }
      scores.push_back(u);
    }
    // A query's index is that of the key that an append would make of its row, so that cutting the rows into calls changes nothing.
    const index_t query_index = s_.kv_len - s_.num_rows + i_;
    const dropout drop{p_.dropout_p, p_.dropout_seed, p_.dropout_offset + static_cast<std::uint64_t>(s_.dropout_sequence), head_, query_index};
    std::optional<double> sink;
    if (p_.sink_logits != nullptr) sink = p_.sink_logits[head_];
    const auto row = fold_row(
        scores, value_dim(), [&](index_t j, index_t d) { return value(j, d); }, drop, how);
    return finish(row, value_dim(), sink);
  }

  bool sees(index_t j) const {
    if (j >= s_.visible_len || j >= s_.kv_len) return false;
    if (p_.window_left != rapt::no_window && k_position(j) < q_position() - p_.window_left) return false;
    if (p_.window_right != rapt::no_window && k_position(j) > q_position() + p_.window_right) return false;
    if (p_.mask.kind == rapt::mask_kind::boolean && masks(j)) return static_cast<const bool*>(p_.mask.data)[mask_element(j)];
    if (const auto m = additive_mask(j)) return *m != minus_infinity<A>;
    return true;
  }
  index_t value_dim() const { return p_.out.dim; }

 private:
  bool packed() const { return p_.kv.present(); }
  kv_place place() const { return {&p_.kv, &s_}; }
  index_t kv_head() const {
    const index_t stored = packed() ? p_.kv.num_heads : p_.k.heads;
    return stored == 1 ? 0 : head_ / (p_.q.heads / p_.num_kv_heads);
  }
  std::vector<A> key(index_t j) const {
    std::vector<A> k;
    for (index_t d = 0; d < p_.q.dim; ++d)
      k.push_back(packed() ? load<A>(p_.kv.type, p_.kv.base, place().key_element(j, kv_head(), d))
                           : load<A>(p_.k.type, p_.k.data,
                                     s_.kv_batch * p_.k.batch_stride + j * p_.k.len_stride + kv_head() * p_.k.head_stride + d * p_.k.dim_stride));
    return k;
  }
  A value(index_t j, index_t d) const {
    if (packed()) return load<A>(p_.kv.type, p_.kv.base, place().value_element(j, kv_head(), d));
    return load<A>(p_.v.type, p_.v.data, s_.kv_batch * p_.v.batch_stride + j * p_.v.len_stride + kv_head() * p_.v.head_stride + d * p_.v.dim_stride);
  }
  index_t q_position() const { return position_of_row(s_, i_); }
  index_t k_position(index_t j) const {
    if (packed()) return place().position(j);
    return p_.k_positions != nullptr ? p_.k_positions[j] : j;
  }
  bool masks(index_t j) const { return p_.mask.kind != rapt::mask_kind::none && j >= s_.mask_first_key; }
  index_t mask_element(index_t j) const {
    return s_.mask_batch * p_.mask.batch_stride + head_ * p_.mask.head_stride + (s_.mask_row + i_) * p_.mask.row_stride +
           (s_.mask_key + j - s_.mask_first_key) * p_.mask.key_stride;
  }
  std::optional<A> additive_mask(index_t j) const {
    if (p_.mask.kind != rapt::mask_kind::additive || !masks(j)) return {};
    return static_cast<const A*>(p_.mask.data)[mask_element(j)];
  }

  const rapt::attend_params& p_;
  const rapt::sequence_rows& s_;
  index_t i_, head_;
};

template <class A>
void model_attend(const rapt::attend_params& p) {
  for (index_t n = 0; n < p.num_sequences; ++n)
    for (index_t i = 0; i < p.sequences[n].num_rows; ++i)
      for (index_t h = 0; h < p.q.heads; ++h) {
        const attended_row<A> result = attend_model<A>(p, p.sequences[n], i, h).run();
        const index_t row = p.sequences[n].first_row + i;
        for (index_t d = 0; d < p.out.dim; ++d) set_element<A>(p.out, row, h, d, result.out[static_cast<std::size_t>(d)]);
        if (p.lse.data != nullptr) store<A>(p.lse.type, p.lse.data, p.lse.offset(row, h), result.lse);
      }
}

/// Calls f with a float or a double: the accumulator.
template <class F>
auto with_accumulator(dtype accumulator, F f) {
  return accumulator == dtype::f64 ? f(double{}) : f(float{});
}

}  // namespace rapt_test::contract
