// A tile of up to 8 rows against one segment of 512 keys, in the order of cpu-v1. Rows are (query, head) pairs that share a KV head.
//
//   scores   a thread has four keys and all rows: chains in registers, ascending over head_dim. Queries lie in shared memory by 128 dimensions, a
//   block
//            of the contract's; keys come through it as accumulators, transposed, a few dimensions at a time.
//   softmax  16 threads a row, which are the contract's 16 lanes
//   values   a warp has two rows, a thread four columns of 128: chains in registers, ascending over the keys that come through shared memory
// A hidden key's score is -inf, then its weight is -1: nothing of it is computed with, not even times 0.
//
// With exact_products::tf32 the chains of scores and values are those of mma.sync on parts of floats (tf32_products.hpp), eight dimensions or keys at
// a time: rows are its columns, 16 keys, or columns of values, its rows. All else is the same.
#pragma once
#include <kernels/exact_storage.hpp>
#include <kernels/simt/warp.hpp>
#include <kernels/tf32_products.hpp>
#include <rapt/core/dropout.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

template <class A, exact_products Products>
class exact_tile {
 public:
  using storage = exact_storage<A, Products>;
  RAPT_DEVICE exact_tile(storage& memory, const exact_attention_problem<A>& p, const exact_constants<A>& c, int sequence_idx, int kv_head, int first)
      : m(memory), p_(p), c_(c), s_(p.sequences[sequence_idx]), sequence_idx_(sequence_idx), kv_head_(kv_head), first_(first) {
    const index_t left = index_t{s_.q_len} * p.group_size() - first;
    num_rows_ = left < 0 ? 0 : left < exact_rows ? static_cast<int>(left) : exact_rows;
  }

  RAPT_DEVICE int num_rows() const { return num_rows_; }
  RAPT_DEVICE int kv_len() const { return s_.kv_len; }
  RAPT_DEVICE int row_of_operands(int r) const { return s_.first_row + m.rows[r].query; }

  /// Who the rows are; afterwards all threads know. Keys [first_key, last_key) are all that any row may see.
  RAPT_DEVICE void find_rows() {
    if (thread_ < exact_rows) {
      exact_row<A>& row = m.rows[thread_];
      row.first = row.last = 0;
      if (thread_ < num_rows_) {
        row.query = (first_ + thread_) / p_.group_size(), row.head = kv_head_ * p_.group_size() + (first_ + thread_) % p_.group_size();
        row.position = position_of_query(p_, sequence_idx_, s_, row.query);
        row.last = s_.kv_len;
        if (p_.k_positions.data == nullptr) {
          if (p_.window_left != no_window && row.position - p_.window_left > 0)
            row.first = row.position - p_.window_left < s_.kv_len ? static_cast<int>(row.position - p_.window_left) : s_.kv_len;
          if (p_.window_right != no_window && row.position + p_.window_right + 1 < s_.kv_len)
            row.last = static_cast<int>(row.position + p_.window_right + 1);
        }
      }
    }
    simt::sync_threads();
    first_key = s_.kv_len, last_key = 0;
    for (int r = 0; r < num_rows_; ++r) {
      if (m.rows[r].first >= m.rows[r].last) continue;
      first_key = m.rows[r].first < first_key ? m.rows[r].first : first_key;
      last_key = m.rows[r].last > last_key ? m.rows[r].last : last_key;
    }
  }

  /// Weights of the segment in m.scores, and what the segment does to m.rows[..].state in its `merge`.
  RAPT_DEVICE void find_weights(int segment) {
    segment_first_ = segment * exact_segment;
    begin_ = first_key > segment_first_ ? first_key - segment_first_ : 0;
    end_ = last_key - segment_first_ < exact_segment ? last_key - segment_first_ : exact_segment;
    for (int j = thread_; j < exact_segment; j += exact_threads)
      if (j >= begin_ && j < end_) m.places[j] = place_of(p_, sequence_idx_, s_, segment_first_ + j);
    for (int d = 0; d < p_.head_dim; d += exact_block) {
      const int count = p_.head_dim - d < exact_block ? p_.head_dim - d : exact_block;
      if constexpr (storage::by_tf32)
        add_products_by_tf32(d, count);
      else
        add_products(d, count);
    }
    // By tf32 a thread's scores are not its own keys'.
    if constexpr (storage::by_tf32) simt::sync_threads();
    finish_scores();
    simt::sync_threads();
    softmax();
    simt::sync_threads();
  }

  /// Weighted values of the segment, merged into those of the state, which `state_of(row)` finds in memory. Each value is always the same thread's.
  template <class StateOf>
  RAPT_DEVICE void merge_values(StateOf state_of) {
    for (int column = 0; column < p_.value_dim; column += exact_columns) {
      own_values acc;
      for (int j = begin_ / storage::keys * storage::keys; j < end_; j += storage::keys) {
        simt::sync_threads();
        stage_values(j, column);
        simt::sync_threads();
        add_values(acc, j);
      }
      for_own_values(column, [&](int r, int c, int i) {
        A& into = state_of(r)[c];
        into = m.rows[r].merge.of(into, acc.total(i));
      });
    }
  }

  /// f(row, column, number of the value among the thread's eight) for the thread's values of a block of columns.
  template <class F>
  RAPT_DEVICE void for_own_values(int column, F f) {
    constexpr int per_row = storage::by_tf32 ? 1 : exact_quad;  // neighbours in one row
    RAPT_UNROLL for (int i = 0; i < values_of_thread; i += per_row) {
      const int r = row_of_value(i);
      if (r >= num_rows_ || m.rows[r].merge.way == merge_way::skip) continue;
      RAPT_UNROLL for (int q = 0; q < per_row; ++q) if (const int c = column + column_of_value(i + q); c < p_.value_dim) f(r, c, i + q);
    }
  }

  int first_key = 0, last_key = 0;
  storage& m;

 private:
  static constexpr int values_of_thread = exact_rows * exact_columns / exact_threads;

  RAPT_DEVICE int row_of_value(int i) const {
    return storage::by_tf32 ? lane_ % 4 * 2 + i % 2 : static_cast<int>(simt::warp_idx()) * exact_rows_of_warp + i / exact_quad;
  }
  /// Of 128.
  RAPT_DEVICE int column_of_value(int i) const {
    if (!storage::by_tf32) return lane_ * exact_quad + i % exact_quad;
    return static_cast<int>(simt::warp_idx()) * (exact_columns / exact_warps) + i / 4 * 16 + lane_ / 4 + i % 4 / 2 * 8;
  }

  struct plain_values {
    A of[values_of_thread] = {};
    RAPT_DEVICE A total(int i) const { return of[i]; }
  };
  struct tf32_values {
    tf32_sums of[values_of_thread / 4];
    bool nan[values_of_thread] = {};
    /// Zeros are positive, however many keys were added that are none of the row's.
    RAPT_DEVICE float total(int i) const { return nan[i] ? simt::float_of(0x7fc00000u) : of[i / 4].total(i % 4) + 0.0f; }
  };
  using own_values = std::conditional_t<storage::by_tf32, tf32_values, plain_values>;

  RAPT_DEVICE void load_queries(int d, int count) {
    simt::sync_threads();
    for (int i = thread_; i < exact_rows * exact_block; i += exact_threads)
      m.queries[i / exact_block * storage::query_stride + i % exact_block] = query(i / exact_block, d, i % exact_block, count);
  }
  RAPT_DEVICE void add_to_score(int r, int key, int d, A sum) {
    A& score = m.scores[r * storage::score_stride + key];
    score = d == 0 ? sum : score + sum;
  }

  /// A warp has 128 keys: eight times 16 rows of an mma, whose columns are the tile's rows.
  RAPT_DEVICE void add_products_by_tf32(int d, int count) {
    load_queries(d, count);
    constexpr int keys_of_warp = exact_segment / exact_warps;
    const int first_key_of_warp = static_cast<int>(simt::warp_idx()) * keys_of_warp;
    const bool has_keys = first_key_of_warp + keys_of_warp > begin_ && first_key_of_warp < end_;
    tf32_sums sums[keys_of_warp / 16];
    for (int first = 0; first < count; first += storage::dims) {
      simt::sync_threads();
      stage_keys(d + first, count - first < storage::dims ? count - first : storage::dims);
      simt::sync_threads();
      if (!has_keys) continue;
      RAPT_UNROLL for (int i = 0; i < storage::dims; i += 8) {
        const tf32_columns rows([&](int e) { return m.queries[lane_ / 4 * storage::query_stride + first + i + lane_ % 4 + e * 4]; });
        RAPT_UNROLL for (int t = 0; t < keys_of_warp / 16; ++t) {
          const int key = first_key_of_warp + t * 16 + lane_ / 4;
          sums[t].add(tf32_rows([&](int e) { return m.tile[storage::place_of_key(i + lane_ % 4 + e / 2 * 4, key + e % 2 * 8)]; }), rows);
        }
      }
    }
    RAPT_UNROLL for (int t = 0; t < keys_of_warp / 16; ++t) RAPT_UNROLL for (int e = 0; e < 4; ++e)
        add_to_score(lane_ % 4 * 2 + e % 2, first_key_of_warp + t * 16 + lane_ / 4 + e / 2 * 8, d, sums[t].total(e));
  }

  /// Products of dimensions [d, d + count), one block of the contract's, added to the scores.
  RAPT_DEVICE void add_products(int d, int count) {
    load_queries(d, count);
    A chain[exact_rows][exact_keys_of_thread] = {};
    const int key = thread_ * exact_keys_of_thread;
    const bool has_keys = key + exact_keys_of_thread > begin_ && key < end_;
    for (int first = 0; first < count; first += storage::dims) {
      simt::sync_threads();
      stage_keys(d + first, count - first < storage::dims ? count - first : storage::dims);
      simt::sync_threads();
      if (!has_keys) continue;
      for (int i = 0; i < storage::dims && first + i < count; i += exact_quad) {
        exact_four<A> keys[exact_quad];
        RAPT_UNROLL for (int q = 0; q < exact_quad; ++q) keys[q] =
            *reinterpret_cast<const exact_four<A>*>(m.tile + storage::place_of_key(i + q, key));
        RAPT_UNROLL for (int r = 0; r < exact_rows; ++r) {
          const auto x = *reinterpret_cast<const exact_four<A>*>(m.queries + r * storage::query_stride + first + i);
          RAPT_UNROLL for (int q = 0; q < exact_quad; ++q) RAPT_UNROLL for (int k = 0; k < exact_keys_of_thread; ++k) chain[r][k] =
              simt::fma(x.x[q], keys[q].x[k], chain[r][k]);
        }
      }
    }
    RAPT_UNROLL for (int r = 0; r < exact_rows; ++r) {
      auto& scores = *reinterpret_cast<exact_four<A>*>(m.scores + r * storage::score_stride + key);
      RAPT_UNROLL for (int k = 0; k < exact_keys_of_thread; ++k) scores.x[k] = d == 0 ? chain[r][k] : scores.x[k] + chain[r][k];
    }
  }

  /// Dimension d + i of a row's query, scaled; 0 past the block's end, which changes no chain but the sign of its zero.
  RAPT_DEVICE A query(int r, int d, int i, int count) const {
    if (r >= num_rows_ || i >= count) return A{0};
    const A x = load_any<A>(p_.q.data, p_.q.type, p_.q.offset(row_of_operands(r), m.rows[r].head) + (d + i) * p_.q.dim_stride);
    if (x == static_cast<A>(simt::infinity) || x == -static_cast<A>(simt::infinity)) return canonical_nan<A>();
    return simt::fma(x, c_.scale.high, x * c_.scale.low);
  }

  RAPT_DEVICE index_t offset_of(const operand& o, int j) const {
    return m.places[j].outer * o.batch_stride + m.places[j].row * o.len_stride + kv_head_ * o.head_stride;
  }
  /// Dimensions [d, d + count) of the segment's keys, transposed; zeros beside them. Four are read at once, by as many loads as fit in registers.
  RAPT_DEVICE void stage_keys(int d, int count) {
    with_element_type(p_.k.type, [&](auto t) {
      using T = decltype(t);
      constexpr int quads = storage::dims / 4, total = exact_segment * quads / exact_threads, at_once = total < 8 ? total : 8;
      for (int first = 0; first < total; first += at_once) {
        four_elements<T> four[at_once];
        RAPT_UNROLL for (int i = 0; i < at_once; ++i) {
          const int unit = thread_ + (first + i) * exact_threads, j = unit / quads, dim = unit % quads * 4;
          const bool there = j >= begin_ && j < end_;
          four[i] = load_four(static_cast<const T*>(p_.k.data) + (there ? offset_of(p_.k, j) + d * p_.k.dim_stride : 0), dim, there ? count : 0,
                              p_.k.dim_stride, c_.k_by_four);
        }
        RAPT_UNROLL for (int i = 0; i < at_once; ++i) {
          const int unit = thread_ + (first + i) * exact_threads, j = unit / quads, dim = unit % quads * 4;
          RAPT_UNROLL for (int e = 0; e < 4; ++e) m.tile[storage::place_of_key(dim + e, j)] = widened<A>(four[i].x[e]);
        }
      }
    });
  }
  /// Columns from `column` on of the values of a few keys.
  RAPT_DEVICE void stage_values(int first_key_idx, int column) {
    with_element_type(p_.v.type, [&](auto t) {
      using T = decltype(t);
      constexpr int total = storage::keys / exact_warps, at_once = total < 8 ? total : 8;
      const int count = p_.value_dim - column;
      for (int first = 0; first < total; first += at_once) {
        four_elements<T> four[at_once];
        RAPT_UNROLL for (int i = 0; i < at_once; ++i) {
          const int j = first_key_idx + static_cast<int>(simt::warp_idx()) + (first + i) * exact_warps;
          const bool there = j >= begin_ && j < end_;
          four[i] = load_four(static_cast<const T*>(p_.v.data) + (there ? offset_of(p_.v, j) + column * p_.v.dim_stride : 0), lane_ * 4,
                              there ? count : 0, p_.v.dim_stride, c_.v_by_four);
        }
        RAPT_UNROLL for (int i = 0; i < at_once; ++i) {
          exact_four<A> wide;
          RAPT_UNROLL for (int e = 0; e < 4; ++e) wide.x[e] = widened<A>(four[i].x[e]);
          const int key = static_cast<int>(simt::warp_idx()) + (first + i) * exact_warps;
          *reinterpret_cast<exact_four<A>*>(m.tile + key * storage::column_stride + lane_ * 4) = wide;
        }
      }
    });
  }

  /// Softcap, ALiBi and masks of the thread's own scores; -inf where a key is hidden.
  RAPT_DEVICE void finish_scores() {
    RAPT_NO_UNROLL for (int i = 0; i < exact_rows * exact_keys_of_thread; ++i) {
      const int r = i / exact_keys_of_thread, j = thread_ * exact_keys_of_thread + i % exact_keys_of_thread, key = segment_first_ + j;
      const exact_row<A>& row = m.rows[r];
      A& score = m.scores[r * storage::score_stride + j];
      const A u = score;
      score = -static_cast<A>(simt::infinity);
      if (key < row.first || key >= row.last) continue;
      index_t position = key;
      if (p_.k_positions.data != nullptr) {
        position = *p_.k_positions.at(m.places[j].outer, m.places[j].row, 0);
        if (!in_window(p_, row.position, position)) continue;
      }
      score = biased(u, row, key, position);
    }
  }
  RAPT_DEVICE A biased(A u, const exact_row<A>& row, int key, index_t position) const {
    const index_t entry = p_.mask.offset(s_, row.head, row.query, key);
    const bool masked = key >= s_.first_masked_key;
    if (masked && p_.mask.visible != nullptr && !p_.mask.visible[entry]) return -static_cast<A>(simt::infinity);
    if (p_.softcap > 0) u = c_.softcap_outer * tanh(u * c_.softcap_inner);
    if (p_.alibi_slopes_log2 != nullptr) {
      const index_t apart = row.position - position;
      u = simt::fma(-p_.alibi_slopes_log2[row.head], static_cast<A>(apart < 0 ? -apart : apart), u);
    }
    if (masked && p_.mask.added != nullptr) {
      const A added = p_.mask.added[entry];
      u = added == -static_cast<A>(simt::infinity) ? added : simt::fma(added, static_cast<A>(math::coefficients::log2_e), u);
    }
    return u;
  }

  /// Scores become weights; -1 where a key is hidden.
  RAPT_DEVICE void softmax() {
    constexpr int lanes = exact_threads / exact_rows;
    static_assert(lanes == 16);
    const int r = thread_ / lanes, lane = thread_ % lanes;
    A* const scores = m.scores + r * storage::score_stride;
    const auto larger = [](A a, A b) { return a != a ? a : b != b ? b : b > a ? b : a; };
    exact_sums<A> sums = no_sums<A>();
    for (int j = lane; j < exact_segment; j += lanes) sums.max = larger(sums.max, scores[j]);
    RAPT_UNROLL for (unsigned width = lanes / 2; width >= 1; width /= 2) sums.max = larger(sums.max, simt::shuffle_xor(sums.max, width));
    RAPT_NO_UNROLL for (int j = lane; j < exact_segment; j += lanes) {
      const A u = scores[j];
      A weight = A{-1};
      if (u != -static_cast<A>(simt::infinity)) {
        weight = exp2_nonpositive(u - sums.max);
        sums.sum = sums.sum + weight;
        if (p_.dropout_p > 0) weight = keeps(m.rows[r], segment_first_ + j) ? simt::divide(weight, c_.kept) : A{0};
      }
      scores[j] = weight;
    }
    RAPT_UNROLL for (unsigned width = lanes / 2; width >= 1; width /= 2) sums.sum = sums.sum + simt::shuffle_xor(sums.sum, width);
    if (lane == 0) {
      m.rows[r].segment = sums;
      m.rows[r].merge = merge_sums(m.rows[r].state, sums);
    }
  }
  RAPT_DEVICE bool keeps(const exact_row<A>& row, int key) const {
    const dropout_sequence d = p_.dropout_sequences[sequence_idx_];
    return dropout::keeps(p_.dropout_p, p_.dropout_seed, d.counter, row.head, d.first_query + row.query, key);
  }

  /// A warp has 32 columns: twice 16 rows of an mma.
  RAPT_DEVICE void add_values(tf32_values& acc, int first) const {
    const int num_keys = end_ - first < storage::keys ? end_ - first : storage::keys;
    bool finite = true;
    for (int j = 0; j < num_keys; j += 8) {
      // Of a hidden key 0.
      const tf32_columns weights([&](int e) {
        const A weight = m.scores[lane_ / 4 * storage::score_stride + first + j + lane_ % 4 + e * 4];
        return weight < A{0} ? A{0} : weight;
      });
      RAPT_UNROLL for (int t = 0; t < values_of_thread / 4; ++t) acc.of[t].add(
          tf32_rows([&](int e) {
            const A value = m.tile[(j + lane_ % 4 + e / 2 * 4) * storage::column_stride + column_of_value(t * 4) + e % 2 * 8];
            const bool is_finite = tf32_parts::is_finite(value);
            finite = finite && is_finite;
            return is_finite ? value : A{0};
          }),
          weights);
    }
    if (simt::ballot(!finite) == 0) return;
    // 0 times NaN is NaN on a tensor core, so a row that does not see such a value must not meet it.
    for (int j = 0; j < num_keys; ++j) RAPT_UNROLL for (int i = 0; i < values_of_thread; ++i) {
        const bool sees = m.scores[row_of_value(i) * storage::score_stride + first + j] >= A{0};
        acc.nan[i] = acc.nan[i] || (sees && !tf32_parts::is_finite(m.tile[j * storage::column_stride + column_of_value(i)]));
      }
  }
  RAPT_DEVICE void add_values(plain_values& acc, int first) const {
    const int end = end_ - first < storage::keys ? end_ - first : storage::keys;
    const A* const weights = m.scores + static_cast<int>(simt::warp_idx()) * exact_rows_of_warp * storage::score_stride + first;
    for (int j = 0; j < end; ++j) {
      const auto v = *reinterpret_cast<const exact_four<A>*>(m.tile + j * storage::column_stride + lane_ * exact_quad);
      RAPT_UNROLL for (int i = 0; i < exact_rows_of_warp; ++i) {
        const A weight = weights[i * storage::score_stride + j];
        if (weight < A{0}) continue;
        RAPT_UNROLL for (int q = 0; q < exact_quad; ++q) acc.of[i * exact_quad + q] = simt::fma(weight, v.x[q], acc.of[i * exact_quad + q]);
      }
    }
  }

  const exact_attention_problem<A>& p_;
  const exact_constants<A>& c_;
  const sequence s_;
  const int sequence_idx_, kv_head_, first_;
  const int thread_ = static_cast<int>(simt::thread_idx()), lane_ = static_cast<int>(simt::lane_idx());
  int num_rows_ = 0;
  int segment_first_ = 0, begin_ = 0, end_ = 0;  ///< keys of the segment that any row may see: [begin_, end_), from its first one on
};

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
