// Keys and values of one segment, as runs that kernels read: pieces of pages where they lie, or one run packed into scratch.
#pragma once
#include <cpu/attend_call.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {

/// Keys first .. first + count of the segment (multiples of 16 but for the segment's end).
struct key_run {
  const std::byte* keys;    ///< [count / 16][head_dim][16] of the call's operand type
  const std::byte* values;  ///< as key_segment::layout says
  index_t first_value;      ///< the first key's place there
  index_t first, count;
};

struct key_segment {
  index_t start = 0;                   ///< index of the segment's first key
  const index_t* positions = nullptr;  ///< explicit ones of its keys, where the call looks at them
  index_t min_position = 0, max_position = 0;
  value_layout layout;
  const std::byte* next_keys = nullptr;  ///< where the segment after this one begins, if known
  index_t num_runs = 0;
  key_run runs[segment_len / lane_group];
};

/// Calls f(page, slot, first, count) for the pieces of pages that hold keys [first, last) of the segment at `start`; slots and firsts are multiples
/// of 16.
template <class F>
void each_page_piece(const packed_kv& kv, const sequence_rows& s, index_t start, index_t first, index_t last, const F& f) {
  if (s.pages == nullptr) return f(s.kv_batch, start + first, first, last - first);
  while (first < last) {
    const index_t index = start + first, slot = index % kv.page_len, count = std::min(kv.page_len - slot, last - first);
    f(index_t{s.pages[index / kv.page_len]}, slot, first, count);
    first += count;
  }
}

/// Segment `segment_idx` of a sequence for KV head `kv_head`, of which keys [first, last) (relative) will be read.
template <class A>
void load_segment(const attend_call<A>& call, const sequence_rows& sequence, index_t kv_head, index_t segment_idx, index_t first, index_t last,
                  const attend_scratch<A>& scratch, key_segment& segment);

extern template void load_segment(const attend_call<float>&, const sequence_rows&, index_t, index_t, index_t, index_t, const attend_scratch<float>&,
                                  key_segment&);
extern template void load_segment(const attend_call<double>&, const sequence_rows&, index_t, index_t, index_t, index_t, const attend_scratch<double>&,
                                  key_segment&);

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
