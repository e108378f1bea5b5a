// Which keys a query sees. Where positions are indices it is a range, by window and length; explicit positions and masks decide key by key.
// Test: tests/kernels/visibility_test.cpp.
#pragma once
#include <kernels/attention_problem.hpp>
#include <kernels/simt/math.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Keys [first, last), none where last <= first.
struct key_range {
  int first, last;
};

template <class Problem>
RAPT_DEVICE index_t position_of_query(const Problem& p, int sequence_idx, const sequence& s, int query) {
  if (p.q_positions.data != nullptr) return *p.q_positions.at(sequence_idx, s.first_row + query, 0);
  return index_t{s.first_position} + query;
}
template <class Problem>
RAPT_DEVICE index_t position_of_key(const Problem& p, int sequence_idx, const sequence& s, int key) {
  if (p.k_positions.data == nullptr) return key;
  const key_place place = place_of(p, sequence_idx, s, key);
  return *p.k_positions.at(place.outer, place.row, 0);
}

template <class Problem>
RAPT_DEVICE bool in_window(const Problem& p, index_t q_position, index_t k_position) {
  return (p.window_left == no_window || k_position >= q_position - p.window_left) &&
         (p.window_right == no_window || k_position <= q_position + p.window_right);
}

/// Whether a window and lengths decide alone, on indices: then ranges say all.
template <class T, class Out>
constexpr bool ranges_decide(const attention_problem<T, Out>& p) {
  return p.q_positions.data == nullptr && p.k_positions.data == nullptr && p.mask.visible == nullptr && p.mask.added == nullptr;
}

/// Ranges of up to 128 consecutive queries: outside of its range a query sees nothing, inside it sees all where ranges_decide. They ascend.
struct row_ranges {
  int first, first_step, last, last_step, kv_len;

  RAPT_DEVICE key_range of(int row) const {
    const auto within = [&](int key) { return key < 0 ? 0 : key > kv_len ? kv_len : key; };
    return {within(first + row * first_step), within(last + row * last_step)};
  }
};
template <class T, class Out>
RAPT_DEVICE row_ranges ranges_of(const attention_problem<T, Out>& p, const sequence& s, int first_query) {
  row_ranges ranges{0, 0, s.kv_len, 0, s.kv_len};
  if (p.q_positions.data != nullptr || p.k_positions.data != nullptr) return ranges;
  const index_t position = index_t{s.first_position} + first_query;
  const auto within = [&](index_t key) { return key < -128 ? -128 : key > s.kv_len ? s.kv_len : static_cast<int>(key); };
  if (p.window_left != no_window) ranges.first = within(position - p.window_left), ranges.first_step = 1;
  if (p.window_right != no_window) ranges.last = within(position + p.window_right + 1), ranges.last_step = 1;
  return ranges;
}

constexpr float log2_e = 1.44269504088896340736f;

/// Whether the query sees the key, by everything that decides it. An addition to scores hides where it is -inf in units of log2: as the least float
/// is.
template <class T, class Out>
RAPT_DEVICE bool sees(const attention_problem<T, Out>& p, int sequence_idx, const sequence& s, int head, int query, index_t q_position, int key) {
  if (query >= s.q_len || key >= s.kv_len || !in_window(p, q_position, position_of_key(p, sequence_idx, s, key))) return false;
  if (key < s.first_masked_key) return true;
  const index_t entry = p.mask.offset(s, head, query, key);
  return (p.mask.visible == nullptr || p.mask.visible[entry]) && (p.mask.added == nullptr || p.mask.added[entry] * log2_e != -simt::infinity);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
