#include <cpu/rotary.hpp>
#include <cpu/row_block.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {

template <class A>
row_block<A>::row_block(const attend_call<A>& call, const sequence_rows& sequence, index_t kv_head, index_t first_row, index_t num_rows,
                        const attend_scratch<A>& scratch)
    : c_(call), s_(sequence), w_(scratch), kv_head_(kv_head), num_rows_(num_rows) {
  const operand& q = c_.p.q;
  first_ = std::numeric_limits<index_t>::max();
  const index_t first_head = kv_head * c_.group_size;
  index_t query = first_row / c_.group_size, head = first_head + first_row % c_.group_size;
  for (index_t r = 0; r < num_rows; ++r) {
    query_row& row = w_.block[r];
    row.query = query, row.head = head;
    if (++head == first_head + c_.group_size) ++query, head = first_head;
    row.position = position_of(s_, row.query);
    limit_keys(c_.p, c_.key_positions == nullptr, s_, row);
    if (row.first >= row.last) continue;
    first_ = std::min(first_, row.first), last_ = std::max(last_, row.last);
  }
  if (first_ >= last_) first_ = last_ = 0;

  if (num_rows == 0) return;
  const row_offsets offset = offsets_in(q);
  for (index_t r = 0; r < num_rows; r += max_tile_rows)
    pack_queries(c_, std::min<index_t>(max_tile_rows, num_rows - r), w_.queries + r * c_.query_words(), w_.wide, w_.narrow, [&](index_t i) {
      const query_row& row = w_.block[r + i];
      return byte_at(q.data, offset(s_.first_row + row.query, row.head), q.type);
    });
}

template <class A>
void row_block<A>::fold(index_t first, index_t last, const states<A>& into) const {
  key_segment segment;
  bool merging = false;
  for (index_t i = first; i < last; ++i) {
    index_t begin = segment_len, end = 0;
    for (index_t r = 0; r < num_rows_; ++r) {
      const index_t row_begin = std::max<index_t>(w_.block[r].first - i * segment_len, 0);
      const index_t row_end = std::min(w_.block[r].last - i * segment_len, segment_len);
      if (row_begin < row_end) begin = std::min(begin, row_begin), end = std::max(end, row_end);
    }
    if (begin >= end) continue;
    load_segment(c_, s_, kv_head_, i, begin, end, w_, segment);
    for (index_t first_row = 0; first_row < num_rows_; first_row += rows_of_group) {
      const index_t end_row = std::min(num_rows_, first_row + rows_of_group);
      query_tile<A> tiles[tiles_of_group];
      std::size_t num_tiles = 0;
      for (index_t r = first_row; r < end_row; r += max_tile_rows) {
        const index_t used = std::min<index_t>(max_tile_rows, end_row - r);
        tiles[num_tiles++] = {w_.block + r, used, tile_rows_for(used), w_.queries + r * c_.query_words(), 0, 0};
      }
      attend_tiles<A>(c_, s_, segment, {tiles, num_tiles}, w_, merging ? w_.segment : into.at(first_row));
      if (merging) c_.rows.merge(end_row - first_row, into.at(first_row), w_.segment);
    }
    merging = true;
  }
  if (!merging) clear(into, num_rows_);
}

template <class A>
row_offsets row_block<A>::offsets_in(const operand& o) const {
  return {o, s_.first_row + w_.block[0].query, s_.first_row + w_.block[num_rows_ - 1].query + 1};
}

template <class A>
void row_block<A>::finish(const states<A>& of) const {
  if (num_rows_ == 0) return;
  const row_offsets out = offsets_in(c_.p.out);
  for (index_t r = 0; r < num_rows_; ++r) {
    const query_row& row = w_.block[r];
    finish_row(row, of.at(r), byte_at(c_.p.out.data, out(s_.first_row + row.query, row.head), c_.p.out.type));
  }
}

template <class A>
void row_block<A>::finish_row(const query_row& row, const states<A>& state, std::byte* out) const {
  const attend_params& p = c_.p;
  A& max = *state.max;
  A& sum = *state.sum;
  const bool seen = max != minus_infinity<A>;
  if (p.lse.data != nullptr) {
    A* const lse = static_cast<A*>(p.lse.data) + p.lse.offset(s_.first_row + row.query, row.head);
    A value = minus_infinity<A>;
    if (seen) value = static_cast<A>(static_cast<double>(max) * math::ln_2 + math::log(static_cast<double>(sum)));
    *lse = value == value ? value : std::numeric_limits<A>::quiet_NaN();
  }
  if (!seen) {
    std::fill_n(state.acc, c_.value_dim, A{0});
    sum = 1;
  } else if (p.sink_logits != nullptr) {
    *w_.sink.max = static_cast<A>(p.sink_logits[row.head] * math::log2_e);
    *w_.sink.sum = 1;
    std::fill_n(w_.sink.acc, c_.value_stride, A{0});
    c_.rows.merge(1, state, w_.sink);
  }
  c_.rows.store(state.acc, A{1} / sum, c_.value_dim, out, p.out.type, p.out.dim_stride);
}

template class row_block<float>;
template class row_block<double>;

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
