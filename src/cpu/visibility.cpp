#include <cpu/visibility.hpp>

#include <emmintrin.h>

#include <bit>

namespace rapt {
inline namespace v0 {
namespace cpu {
namespace {

struct position_range {
  index_t first, last;  // inclusive
};
// Sides and positions may be anything up to 2^63 - 1: sums that leave the range do not bound.
position_range seen_positions(const attend_params& p, index_t position) {
  position_range seen{std::numeric_limits<index_t>::min(), std::numeric_limits<index_t>::max()};
  if (p.window_left != no_window && __builtin_sub_overflow(position, p.window_left, &seen.first)) seen.first = std::numeric_limits<index_t>::min();
  if (p.window_right != no_window && __builtin_add_overflow(position, p.window_right, &seen.last)) seen.last = std::numeric_limits<index_t>::max();
  return seen;
}

/// Bits [first, last) from a boolean row; mask[0] belongs to bit `first`.
void boolean_bits(const bool* mask, index_t stride, index_t first, index_t last, std::uint64_t* bits) {
  const auto one = [&](index_t j) { bits[j / 64] |= std::uint64_t{mask[(j - first) * stride]} << (j % 64); };
  index_t j = first;
  if (stride == 1) {
    for (; j < last && j % 16 != 0; ++j) one(j);
    for (; j + 16 <= last; j += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask + (j - first)));
      const auto hidden = static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_setzero_si128())));
      bits[j / 64] |= std::uint64_t{~hidden & 0xffffu} << (j % 64);
    }
  }
  for (; j < last; ++j) one(j);
}

void clear_bits(std::uint64_t* bits) { std::fill_n(bits, words_per_segment, std::uint64_t{0}); }

}  // namespace

void set_bits(std::uint64_t* bits, index_t first, index_t last) {
  for (index_t j = first; j < last;) {
    const index_t count = std::min(64 - j % 64, last - j);
    bits[j / 64] |= (~std::uint64_t{0} >> (64 - count)) << (j % 64);
    j += count;
  }
}

index_t find_bit(const std::uint64_t* bits, index_t from, bool value) {
  for (index_t j = from; j < segment_len; j = (j / 64 + 1) * 64) {
    const std::uint64_t word = (value ? bits[j / 64] : ~bits[j / 64]) >> (j % 64);
    if (word != 0) return j + std::countr_zero(word);
  }
  return segment_len;
}

void limit_keys(const attend_params& p, bool positions_are_indices, const sequence_rows& s, query_row& row) {
  row.first = 0, row.last = std::min(s.kv_len, s.visible_len);
  if (!positions_are_indices) return;
  const position_range seen = seen_positions(p, row.position);
  row.first = std::max(row.first, seen.first);
  if (seen.last < row.last) row.last = seen.last + 1;
}

seen_keys keys_seen(const attend_params& p, bool has_window, const sequence_rows& s, const query_row& row, const key_segment& segment,
                    std::uint64_t* bits) {
  seen_keys seen = keys_in_range(row, segment);
  if (seen.empty()) return {};
  bool by_bits = false;

  if (has_window && segment.positions != nullptr) {
    const position_range at = seen_positions(p, row.position);
    if (segment.max_position < at.first || segment.min_position > at.last) return {};
    if (segment.min_position < at.first || segment.max_position > at.last) {
      clear_bits(bits);
      for (index_t j = seen.first; j < seen.last; ++j)
        bits[j / 64] |= std::uint64_t{segment.positions[j] >= at.first && segment.positions[j] <= at.last} << (j % 64);
      by_bits = true;
    }
  }

  const index_t masked_first = std::max(seen.first, s.mask_first_key - segment.start);
  if (p.mask.kind == mask_kind::boolean && masked_first < seen.last) {
    std::uint64_t mask[words_per_segment] = {};
    set_bits(mask, seen.first, masked_first);
    boolean_bits(static_cast<const bool*>(p.mask.data) + mask_offset(p, s, row, segment.start + masked_first), p.mask.key_stride, masked_first,
                 seen.last, mask);
    if (!by_bits)
      std::copy_n(mask, words_per_segment, bits);
    else
      for (index_t w = 0; w < words_per_segment; ++w) bits[w] &= mask[w];
    by_bits = true;
  }

  if (!by_bits) return seen;
  seen.first = find_bit(bits, 0, true);
  if (seen.first == segment_len) return {};
  if (const index_t hole = find_bit(bits, seen.first, false); find_bit(bits, hole, true) == segment_len) {
    seen.last = hole;  // a range after all
    return seen;
  }
  while (seen.last > seen.first && (bits[(seen.last - 1) / 64] >> ((seen.last - 1) % 64) & 1) == 0) --seen.last;
  seen.bits = bits;
  return seen;
}

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
