// scores: u = q' . k, register tiles over the lane groups that any row sees, then softcap, ALiBi and mask row by row;
// softmax: per row, m = max of the visible u, p = exp2(u - m), l = sum of p;
// values: acc = sum of p * v over the visible keys, ascending, skipping the others.
//
// The first two are done for all tiles of a group, then the third: so its keys and then its values serve the group out of the second-level cache.
// A masked value must not be read into a sum, not even times zero. So the segment is walked in intervals: keys that every row of the tile sees go
// through a register tile, others row by row. Decisions are each row's own: where a row's chain is cut into calls does not change it. Products of
// pairs take keys 2i and 2i + 1 together: intervals end between pairs, and a key that a row sees without its neighbour is read beside zeros.
#include <cpu/attend_tile.hpp>
#include <rapt/core/dropout.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {
namespace {

/// Bits 2i and 2i + 1 where both are set.
constexpr std::uint64_t both_of_pairs(std::uint64_t word) {
  const std::uint64_t both = word & (word >> 1) & 0x5555555555555555u;
  return both | both << 1;
}

template <class A>
class tile_work {
 public:
  /// Tile `index` of a group. The first one meets the segment in memory, if it is read where it lies.
  tile_work(const attend_call<A>& call, const sequence_rows& sequence, const key_segment& segment, query_tile<A>& tile, index_t index,
            const attend_scratch<A>& scratch, const states<A>& out)
      : c_(call),
        s_(sequence),
        segment_(segment),
        tile_(tile),
        w_(scratch),
        out_(out.at(index * max_tile_rows)),
        first_row_(index * max_tile_rows),
        walks_(index == 0 && call.in_place),
        seen_(scratch.ranges + first_row_) {}

  /// scores and softmax.
  void find_probabilities() {
    if (!find_visible()) return;
    score_all();
    // All maxima before all sums: nothing waits for one row's reduction.
    for (index_t r = 0; r < tile_.used; ++r) {
      if (seen_[r].empty()) continue;
      if (c_.changes_scores) finish_scores(r);
      out_.max[r] = largest(r);
    }
    for (index_t r = 0; r < tile_.used; ++r)
      if (!seen_[r].empty()) out_.sum[r] = c_.rows.exp_and_sum(scores(r), seen_[r], out_.max[r]);
    if (c_.p.dropout_p > 0)
      for (index_t r = 0; r < tile_.used; ++r) drop(r);
    if constexpr (sizeof(A) == 4)
      for (index_t r = 0; c_.pairs && r < tile_.used; ++r)
        if (!seen_[r].empty()) c_.pair.narrow(scores(r), seen_[r].first, seen_[r].last);
  }

  /// values.
  void sum_values() const {
    if (tile_.first >= tile_.last) return;
    std::memset(out_.acc, 0, static_cast<std::size_t>(tile_.tile_rows * c_.value_stride) * sizeof(A));
    index_t all_first = 0, all_last = segment_len;
    bool by_bits = false;
    for (index_t r = 0; r < tile_.used; ++r) {
      all_first = std::max(all_first, seen_[r].first), all_last = std::min(all_last, seen_[r].last);
      by_bits |= seen_[r].bits != nullptr;
    }
    all_first = round_up(all_first, c_.word_terms), all_last -= all_last % c_.word_terms;
    if (all_first >= all_last) return accumulate_by_row(tile_.first, tile_.last);
    if (!by_bits) {
      accumulate_by_row(tile_.first, all_first);
      accumulate(tile_.tile_rows, 0, all_first, all_last);
      accumulate_by_row(all_last, tile_.last);
      return;
    }
    std::uint64_t all[words_per_segment] = {};
    set_bits(all, all_first, all_last);
    for (index_t r = 0; r < tile_.used; ++r)
      if (seen_[r].bits != nullptr)
        for (index_t w = 0; w < words_per_segment; ++w) all[w] &= seen_[r].bits[w];
    if (c_.pairs)
      for (std::uint64_t& word : all) word = both_of_pairs(word);
    for (index_t j = 0; j < segment_len;) {
      const index_t on = find_bit(all, j, true), off = find_bit(all, on, false);
      if (j < on) accumulate_by_row(j, on);
      if (on < off) accumulate(tile_.tile_rows, 0, on, off);
      j = off;
    }
  }

 private:
  A* scores(index_t row) const { return w_.scores + (first_row_ + row) * score_stride; }

  /// seen_ and the range any row sees; false where that is empty.
  bool find_visible() {
    const bool by_index = c_.p.mask.kind != mask_kind::boolean && segment_.positions == nullptr;
    const bool same_for_heads = c_.p.mask.head_stride == 0;
    tile_.first = segment_len, tile_.last = 0;
    for (index_t r = 0; r < tile_.used; ++r) {
      out_.max[r] = minus_infinity<A>;
      out_.sum[r] = 0;
      const query_row& row = tile_.rows[r];
      if (by_index)
        seen_[r] = keys_in_range(row, segment_);
      else if (r > 0 && same_for_heads && row.query == tile_.rows[r - 1].query)
        seen_[r] = seen_[r - 1];
      else
        seen_[r] = keys_seen(c_.p, c_.has_window, s_, row, segment_, w_.seen + (first_row_ + r) * words_per_segment);
      if (seen_[r].empty()) continue;
      tile_.first = std::min(tile_.first, seen_[r].first), tile_.last = std::max(tile_.last, seen_[r].last);
    }
    return tile_.first < tile_.last;
  }

  void score_all() const {
    const index_t size = size_of(c_.operand_type), group_stride = c_.head_dim * lane_group;
    for (index_t i = 0; i < segment_.num_runs; ++i) {
      const key_run& run = segment_.runs[i];
      const index_t begin = std::max(run.first, tile_.first / lane_group * lane_group), end = std::min(run.first + run.count, tile_.last);
      if (begin >= end) continue;
      const std::byte* const keys = run.keys + (begin - run.first) * c_.head_dim * size;
      for (index_t d = 0; d < c_.head_dim; d += score_block)
        c_.operand.dot(tile_.tile_rows,
                       {tile_.queries + d / c_.word_terms * tile_.tile_rows, keys + d * lane_group * size, group_stride,
                        std::min(score_block, c_.head_dim - d), ceil_div(end - begin, lane_group), scores(0) + begin, score_stride, d > 0, walks_,
                        i + 1 < segment_.num_runs ? segment_.runs[i + 1].keys + d * lane_group * size : next_values(segment_.runs[0])});
    }
  }

  /// Step 1 after the products.
  void finish_scores(index_t r) const {
    const attend_params& p = c_.p;
    const query_row& row = tile_.rows[r];
    A* const u = scores(r);
    const index_t first = seen_[r].first, last = seen_[r].last;
    if (p.softcap > 0) c_.rows.softcap(u, first, last, c_.softcap_inner, c_.softcap_outer);
    if (p.alibi_slopes != nullptr) {
      const A minus_slope = static_cast<A>(-(p.alibi_slopes[row.head] * math::log2_e));
      const index_t distance = row.position - segment_.start;
      constexpr index_t limit = std::numeric_limits<std::int32_t>::max() - segment_len;
      if (segment_.positions == nullptr && distance > -limit && distance < limit) {
        c_.rows.alibi(u, first, last, minus_slope, static_cast<std::int32_t>(distance), -1);
      } else {
        clear_edges(first, last);
        for (index_t j = first; j < last; ++j) {
          const index_t apart = row.position - (segment_.positions != nullptr ? segment_.positions[j] : segment_.start + j);
          w_.added[j] = static_cast<A>(apart < 0 ? -apart : apart);
        }
        c_.rows.add_scaled(u, first, last, minus_slope, w_.added);
      }
    }
    if (p.mask.kind == mask_kind::additive) {
      const index_t masked = std::clamp(s_.mask_first_key - segment_.start, first, last);
      clear_edges(first, last);
      std::fill(w_.added + first, w_.added + masked, A{0});
      const A* const mask = static_cast<const A*>(p.mask.data) + mask_offset(p, s_, row, segment_.start + masked);
      if (masked < last) c_.rows.load(mask, dtype_of<A>, p.mask.key_stride, last - masked, w_.added + masked);
      c_.rows.add_scaled(u, first, last, c_.log2_e, w_.added);
    }
  }
  /// Passes run over whole lane groups.
  void clear_edges(index_t first, index_t last) const {
    std::fill(w_.added + first / lane_group * lane_group, w_.added + first, A{0});
    std::fill(w_.added + last, w_.added + round_up(last, lane_group), A{0});
  }

  /// Step 2. A visible score of -inf counts as masked from here on.
  A largest(index_t r) {
    const row_max<A> found = c_.rows.mask_and_max(scores(r), seen_[r]);
    if (!found.odd) return found.max;
    std::uint64_t* const bits = w_.finite + (first_row_ + r) * words_per_segment;
    const bool any_nan = c_.rows.finite_bits(scores(r), seen_[r], bits);
    seen_[r].bits = bits;
    if (any_nan) return std::numeric_limits<A>::quiet_NaN();
    if (found.max == minus_infinity<A>) seen_[r] = {};
    return found.max;
  }

  void drop(index_t r) const {
    const attend_params& p = c_.p;
    const query_row& row = tile_.rows[r];
    const index_t query_key = s_.kv_len - s_.num_rows + row.query;
    for (index_t j = seen_[r].first; j < seen_[r].last; ++j) {
      A& probability = scores(r)[j];
      const bool kept = dropout::keeps(p.dropout_p, p.dropout_seed, p.dropout_offset + static_cast<std::uint64_t>(s_.dropout_sequence), row.head,
                                       query_key, segment_.start + j);
      probability = kept ? probability / c_.kept_probability : A{0};
    }
  }

  const std::byte* next_values(const key_run& run) const { return byte_at(run.values, segment_.layout.offset(run.first_value, 0), c_.operand_type); }
  /// Keys [first, last) into the accumulators of `rows` rows from row `row`: all see all of them.
  void accumulate(int rows, index_t row, index_t first, index_t last) const {
    for (index_t i = 0; i < segment_.num_runs; ++i) {
      const key_run& run = segment_.runs[i];
      const index_t begin = std::max(run.first, first), end = std::min(run.first + run.count, last);
      if (begin >= end) continue;
      c_.operand.values(rows, {scores(row) + begin / c_.word_terms, run.values, segment_.layout, run.first_value + begin - run.first, end - begin,
                               out_.acc + row * c_.value_stride, walks_ && rows == tile_.tile_rows,
                               i + 1 < segment_.num_runs ? next_values(segment_.runs[i + 1]) : segment_.next_keys});
    }
  }
  /// The same for each row and what it sees of them.
  void accumulate_by_row(index_t first, index_t last) const {
    if (first >= last) return;
    for (index_t r = 0; r < tile_.used; ++r) {
      const index_t begin = std::max(first, seen_[r].first), end = std::min(last, seen_[r].last);
      if (seen_[r].bits == nullptr) {
        if (begin < end) accumulate_run(r, begin, end);
        continue;
      }
      for (index_t j = begin; j < end;) {
        const index_t on = std::min(find_bit(seen_[r].bits, j, true), end), off = std::min(find_bit(seen_[r].bits, on, false), end);
        if (on < off) accumulate_run(r, on, off);
        j = off;
      }
    }
  }
  /// Keys [first, last) that row r sees, neither the one before nor the one after: but those beyond an interval's end.
  void accumulate_run(index_t r, index_t first, index_t last) const {
    if (!c_.pairs) return accumulate(1, r, first, last);
    if (first % 2 != 0) accumulate_alone(r, first++);
    const index_t last_whole = last - last % 2;
    if (first < last_whole) accumulate(1, r, first, last_whole);
    if (std::max(first, last_whole) < last) accumulate_alone(r, last - 1);
  }
  /// A key whose neighbour is hidden: that one's value is +0, and its probability is already.
  void accumulate_alone(index_t r, index_t key) const {
    const key_run* run = segment_.runs;
    while (key >= run->first + run->count) ++run;
    const index_t group_bytes = lane_group * size_of(dtype::bf16);
    std::memset(w_.lone_value, 0, static_cast<std::size_t>(2 * c_.value_stride * size_of(dtype::bf16)));
    for (index_t column = 0; column < c_.value_stride; column += lane_group)
      std::memcpy(byte_at(w_.lone_value, 2 * column, dtype::bf16) + key % 2 * group_bytes,
                  byte_at(run->values, segment_.layout.offset(run->first_value + key - run->first, column), dtype::bf16),
                  static_cast<std::size_t>(group_bytes));
    c_.operand.values(1, {scores(r) + key / 2, w_.lone_value, {2, 2, c_.value_stride}, 0, 2, out_.acc + r * c_.value_stride, false, nullptr});
  }

  const attend_call<A>& c_;
  const sequence_rows& s_;
  const key_segment& segment_;
  query_tile<A>& tile_;
  const attend_scratch<A>& w_;
  const states<A> out_;
  const index_t first_row_;
  const bool walks_;
  seen_keys* const seen_;  // [tile_.used]
};

}  // namespace

template <class A>
void attend_tiles(const attend_call<A>& call, const sequence_rows& sequence, const key_segment& segment, std::span<query_tile<A>> tiles,
                  const attend_scratch<A>& scratch, const states<A>& out) {
  const auto work_of = [&](std::size_t t) { return tile_work<A>(call, sequence, segment, tiles[t], static_cast<index_t>(t), scratch, out); };
  for (std::size_t t = 0; t < tiles.size(); ++t) work_of(t).find_probabilities();
  for (std::size_t t = 0; t < tiles.size(); ++t) work_of(t).sum_values();
}

template void attend_tiles(const attend_call<float>&, const sequence_rows&, const key_segment&, std::span<query_tile<float>>,
                           const attend_scratch<float>&, const states<float>&);
template void attend_tiles(const attend_call<double>&, const sequence_rows&, const key_segment&, std::span<query_tile<double>>,
                           const attend_scratch<double>&, const states<double>&);

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
