// Which keys a query sees: the window and lengths as a range, explicit positions and boolean masks as a bit for each key of a segment.
#pragma once
#include <cpu/key_segment.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {

/// Fills `row.first` and `row.last`: outside of them nothing is seen, whatever masks say.
void limit_keys(const attend_params& params, bool positions_are_indices, const sequence_rows& sequence, query_row& row);

/// The keys of a segment that a row sees by their index: all there is to it without boolean mask and explicit positions.
inline seen_keys keys_in_range(const query_row& row, const key_segment& segment) {
  return {std::max<index_t>(row.first - segment.start, 0), std::min(row.last - segment.start, segment_len), nullptr};
}
/// The keys of a segment that a row sees. Where they are no range, `bits` [words_per_segment] says which.
seen_keys keys_seen(const attend_params& params, bool has_window, const sequence_rows& sequence, const query_row& row, const key_segment& segment,
                    std::uint64_t* bits);

/// Sets bits [first, last) of a segment's words.
void set_bits(std::uint64_t* bits, index_t first, index_t last);
/// The first index >= from whose bit is `value`, segment_len where there is none.
index_t find_bit(const std::uint64_t* bits, index_t from, bool value);

/// Element of the mask for key j of a segment at `start`, in elements from the mask's data.
inline index_t mask_offset(const attend_params& p, const sequence_rows& s, const query_row& row, index_t key) {
  const mask_operand& m = p.mask;
  return s.mask_batch * m.batch_stride + row.head * m.head_stride + (s.mask_row + row.query) * m.row_stride +
         (s.mask_key + key - s.mask_first_key) * m.key_stride;
}

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
