// A block of rows of one sequence and KV head: loading its queries, folding segments into it, finishing its rows. Both drivers are made of these.
#pragma once
#include <cpu/attend_tile.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {

template <class A>
class row_block {
 public:
  /// Rows [first_row, first_row + num_rows) in the order (query, head of the group), in the worker's scratch, which must outlive the block.
  row_block(const attend_call<A>& call, const sequence_rows& sequence, index_t kv_head, index_t first_row, index_t num_rows,
            const attend_scratch<A>& scratch);
  row_block(const attend_call<A>&, const sequence_rows&, index_t, index_t, index_t, const attend_scratch<A>&&) = delete;

  /// Segments that some row may see: [first_segment, last_segment).
  index_t first_segment() const { return first_ / segment_len; }
  index_t last_segment() const { return ceil_div(last_, segment_len); }
  index_t num_rows() const { return num_rows_; }

  /// `into`, with room for tiled_rows(num_rows()), becomes the merge of segments [first, last), ascending.
  void fold(index_t first, index_t last, const states<A>& into) const;
  /// Step 5: sink, out, lse. The states are used up.
  void finish(const states<A>& of) const;

 private:
  row_offsets offsets_in(const operand& o) const;
  void finish_row(const query_row& row, const states<A>& state, std::byte* out) const;

  const attend_call<A>& c_;
  const sequence_rows& s_;
  const attend_scratch<A>& w_;
  index_t kv_head_, num_rows_;
  index_t first_ = 0, last_ = 0;  // keys that some row may see
};

extern template class row_block<float>;
extern template class row_block<double>;

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
