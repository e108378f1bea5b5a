// What attention reads of the host's: lengths and positions of a call's sequences, and constants of its heads.
#pragma once
#include <cuda/sequences.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {
namespace cuda {

/// The most queries and keys of a sequence.
template <class Limits>
Limits limits_of(const attend_params& p) {
  Limits limits{0, 0};
  for (index_t i = 0; i < p.num_sequences; ++i) {
    limits.max_q_len = std::max(limits.max_q_len, static_cast<int>(p.sequences[i].num_rows));
    limits.max_kv_len = std::max(limits.max_kv_len, static_cast<int>(std::min(p.sequences[i].kv_len, p.sequences[i].visible_len)));
  }
  return limits;
}

/// Sequences as attention takes them; keys that are hidden by their index do not exist.
inline std::vector<kernels::sequence> attended_sequences(const attend_params& p, const page_tables& tables) {
  std::vector<kernels::sequence> all(static_cast<std::size_t>(p.num_sequences));
  for (std::size_t i = 0; i < all.size(); ++i) {
    const sequence_rows& s = p.sequences[i];
    kernels::sequence& to = all[i];
    to.first_row = static_cast<int>(s.first_row), to.q_len = static_cast<int>(s.num_rows);
    to.kv_len = static_cast<int>(std::min(s.kv_len, s.visible_len)), to.first_position = static_cast<int>(s.first_position);
    to.first_key = tables.first.empty() ? 0 : tables.first[i];
    to.first_masked_key = static_cast<int>(s.mask_first_key);
    to.mask_offset = s.mask_batch * p.mask.batch_stride + s.mask_row * p.mask.row_stride + (s.mask_key - s.mask_first_key) * p.mask.key_stride;
  }
  return all;
}

/// Positions of the call's rows, where some sequence gives its own.
inline std::vector<index_t> explicit_positions(const sequence_rows* sequences, index_t num_sequences) {
  std::vector<index_t> all;
  const sequence_rows* const end = sequences + num_sequences;
  if (std::none_of(sequences, end, [](const sequence_rows& s) { return s.positions != nullptr; })) return all;
  for (const sequence_rows* s = sequences; s != end; ++s) {
    all.resize(std::max(all.size(), static_cast<std::size_t>(s->first_row + s->num_rows)));
    for (index_t i = 0; i < s->num_rows; ++i) all[static_cast<std::size_t>(s->first_row + i)] = position_of(*s, i);
  }
  return all;
}

/// Rounded once.
template <class A>
std::vector<A> times_log2_e(const double* values, index_t count) {
  constexpr double log2_e = 1.4426950408889634074;
  std::vector<A> all;
  for (index_t i = 0; values != nullptr && i < count; ++i) all.push_back(static_cast<A>(values[i] * log2_e));
  return all;
}

/// Positions of keys in pages, as far as sequences have keys.
inline std::vector<index_t> positions_in_pages(const attend_params& p, const page_tables& tables) {
  index_t count = tables.pages.empty() ? (p.num_sequences - 1) * p.kv.position_stride : 0;
  for (const std::int32_t page : tables.pages) count = std::max(count, page * p.kv.position_stride);
  index_t longest = 0;
  for (index_t i = 0; i < p.num_sequences; ++i) longest = std::max(longest, p.sequences[i].kv_len);
  return {p.kv.positions, p.kv.positions + count + std::min(longest, p.kv.page_len)};
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
