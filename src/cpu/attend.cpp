// Attention: which rows and keys are one work unit, in which order partial results are merged. Nothing here computes; nothing here can change a bit.
//
// blocks  Prefill, and many short sequences: a unit is (sequence, KV head, block of 96 rows, or up to 4128 where segments are packed first) and walks
//         that block's segments upwards. A key or value is read from memory once for all query heads of its group. Work memory: two states for each
//         row of a block, per worker.
// lone    A query for each sequence whose keys are one segment: a unit is (sequence, some KV heads), done at once (lone_query.*).
// split   Few rows against many keys (decode): a unit is one whole super-segment of one KV head, or one segment of the last super-segment, so that
//         all threads read one sequence's cache. Partial states are stored and merged upwards by one owner.
// Bound: the FMA units for many rows; for few, the rate at which keys and values are read.
// Test: tests/cpu/attend_test.cpp.
#include <cpu/lone_query.hpp>
#include <cpu/row_block.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {
namespace {
constexpr index_t segments_per_super = super_segment_len / segment_len;
// Blocks for each worker, so that all end at about the same time.
constexpr index_t units_of_worker = 4;
// Below this many blocks threads may be left without work; above it splitting would only cost memory.
constexpr index_t max_split_blocks = 64;
// Of queries, keys, values and results each: together half of a second-level cache.
constexpr index_t touched_bytes = index_t{64} << 10;

/// Sums of units over sequences: entry i holds the units of sequences 0 .. i.
class unit_list {
 public:
  unit_list(workspace& from, index_t num_sequences) : ends_(from.take<index_t>(num_sequences)), num_sequences_(num_sequences) {}
  template <class F>
  index_t fill(const F& units_of) const {
    index_t total = 0;
    for (index_t i = 0; i < num_sequences_; ++i) ends_[i] = total += units_of(i);
    return total;
  }
  struct place {
    index_t sequence, unit;
  };
  place find(index_t unit) const {
    const index_t i = std::upper_bound(ends_, ends_ + num_sequences_, unit) - ends_;
    return {i, unit - begin_of(i)};
  }
  index_t begin_of(index_t sequence) const { return sequence == 0 ? 0 : ends_[sequence - 1]; }

 private:
  index_t* ends_;
  index_t num_sequences_;
};

template <class A>
class attention {
 public:
  attention(context& ctx, const attend_params& p) : ctx_(ctx), p_(p), c_(ctx, p) {
    for (index_t i = 0; i < p.num_sequences; ++i) {
      const sequence_rows& s = p.sequences[i];
      max_query_rows_ = std::max(max_query_rows_, s.num_rows);
      total_rows_ += rows_of(s);
      max_kv_len_ = std::max(max_kv_len_, s.kv_len);
      work_ += rows_of(s) * s.kv_len * c_.stored_heads * (c_.head_dim + c_.value_dim);
    }
    max_rows_ = max_query_rows_ * c_.group_size;
    if (!c_.in_place) {
      const index_t rows_of_unit = total_rows_ * c_.stored_heads / (units_of_worker * std::max<index_t>(ctx.num_workers(), 1));
      const index_t most = std::clamp(rows_of_unit, min_block_rows, max_packing_block_rows), rows = std::max<index_t>(max_rows_, 1);
      max_block_rows_ = round_up(ceil_div(rows, ceil_div(rows, most)), max_tile_rows);  // none much shorter than the others
    }
    for (index_t i = 0; i < p.num_sequences; ++i) num_blocks_ += c_.stored_heads * ceil_div(rows_of(p.sequences[i]), max_block_rows_);
    block_rows_ = std::min(max_block_rows_, round_up(max_rows_, max_tile_rows));
  }

  /// For people: the way that is taken, unless a lone query's score is not finite.
  const char* way() const {
    if (are_lone()) return "lone queries, several heads at once";
    return splits_keys() ? "keys split by segments of 512, merged upwards" : "blocks of rows that walk all segments of 512 keys";
  }
  void run(workspace& scratch) {
    if (total_rows_ == 0 || lone_queries(scratch)) return;
    if (splits_keys())
      split(scratch);
    else
      blocks(scratch);
  }

 private:
  index_t rows_of(const sequence_rows& s) const { return s.num_rows * c_.group_size; }
  bool splits_keys() const { return max_rows_ <= min_block_rows && num_blocks_ < max_split_blocks && max_kv_len_ > 2 * segment_len; }
  bool are_lone() const { return max_query_rows_ <= 1 && max_kv_len_ <= segment_len && serves_lone_queries(c_); }

  /// False where another way has to be taken: not all are lone queries, or a score is not finite. Outputs may have been written then.
  bool lone_queries(workspace& scratch) {
    if (!are_lone()) return false;
    const workspace::scope scope(scratch);
    const index_t num_heads = p_.num_sequences * c_.stored_heads, num_workers = workers_for(ctx_, num_heads, work_);
    index_t together = lone_heads(c_);
    if (num_workers > 1) together = std::clamp<index_t>(num_heads / (units_of_worker * num_workers), 1, together);
    const index_t units_of_sequence = ceil_div(c_.stored_heads, together);
    const worker_scratch workers(scratch, num_workers, [&](workspace& from) { return lone_query_scratch<A>(from, c_, together); });
    if (scratch.measuring()) return false;
    std::atomic<bool> all_done = true;
    for_each_unit(ctx_, workers, num_workers, p_.num_sequences * units_of_sequence, [&](const lone_query_scratch<A>& own, index_t unit) {
      const index_t i = unit / units_of_sequence, first = (unit - i * units_of_sequence) * together;
      const sequence_rows& s = p_.sequences[i];
      if (s.num_rows > 0 && !attend_lone_query(c_, s, first, std::min(together, c_.stored_heads - first), own))
        all_done.store(false, std::memory_order_relaxed);
    });
    return all_done;
  }

  void blocks(workspace& scratch) {
    const unit_list list(scratch, p_.num_sequences);
    const index_t num_workers = workers_for(ctx_, num_blocks_, work_);
    const worker_scratch workers(scratch, num_workers, [&](workspace& from) { return attend_scratch<A>(from, c_, block_rows_); });
    if (scratch.measuring()) return;
    const auto blocks_of = [&](index_t i) { return ceil_div(rows_of(p_.sequences[i]), max_block_rows_); };
    list.fill([&](index_t i) { return c_.stored_heads * blocks_of(i); });
    // Many short sequences: one worker takes all heads of one.
    const index_t grain = num_blocks_ >= 16 * num_workers * c_.stored_heads ? c_.stored_heads : 1;
    const auto attend_unit = [&](const attend_scratch<A>& own, index_t unit) {
      const auto [i, of_sequence] = list.find(unit);
      const sequence_rows& s = p_.sequences[i];
      // The last rows first: under causal they take longest.
      const index_t first_row = (blocks_of(i) - 1 - of_sequence / c_.stored_heads) * max_block_rows_;
      const index_t num_rows = std::min(max_block_rows_, rows_of(s) - first_row);
      if (grain > 1 && of_sequence % grain == 0) touch(s, first_row, num_rows);
      const row_block<A> block(c_, s, of_sequence % c_.stored_heads, first_row, num_rows, own);
      const index_t last = block.last_segment(), num_supers = ceil_div(last, segments_per_super);
      const index_t first_super = block.first_segment() / segments_per_super;
      // The first non-empty side of a merge is copied: a lone super-segment may as well be the whole.
      const bool alone = num_supers - first_super == 1;
      if (!alone) clear(own.whole, block.num_rows());
      for (index_t super = first_super; super < num_supers; ++super) {
        block.fold(std::max(block.first_segment(), super * segments_per_super), std::min(last, (super + 1) * segments_per_super),
                   alone ? own.whole : own.super);
        if (!alone) c_.rows.merge(block.num_rows(), own.whole, own.super);
      }
      block.finish(own.whole);
    };
    for_each_unit(ctx_, workers, num_workers, num_blocks_, attend_unit, grain);
  }

  /// Reads once, in the order of addresses, what the heads of a short block share: a head alone meets it in pieces that lie a row apart, which takes
  /// more than twice as long, and prefetch instructions do not shorten that (README.md).
  void touch(const sequence_rows& s, index_t first_row, index_t num_rows) const {
    const index_t first_query = ceil_div(first_row, c_.group_size), last_query = (first_row + num_rows) / c_.group_size;
    touch(p_.q, s.first_row + first_query, last_query - first_query);
    touch(p_.out, s.first_row + first_query, last_query - first_query);
    if (p_.kv.present()) return;
    touch(p_.k, s.kv_batch * p_.k.len, s.kv_len);
    touch(p_.v, s.kv_batch * p_.v.len, s.kv_len);
  }
  static void touch(const operand& o, index_t first_row, index_t num_rows) {
    if (o.dim_stride != 1 || o.head_stride != o.dim) return;
    const index_t row_bytes = o.heads * o.dim * size_of(o.type);
    for (index_t row = first_row; row < first_row + std::min(num_rows, touched_bytes / row_bytes); ++row) {
      const std::byte* const from = byte_at(o.data, o.offset(row, 0), o.type);
      for (index_t at = 0; at < row_bytes; at += 64) static_cast<void>(*static_cast<const volatile std::byte*>(from + at));
    }
  }

  /// Units of one KV head: whole super-segments [first_super, last_super), then segments [first_segment, last_segment) of super-segment last_super.
  struct split_range {
    index_t first_super = 0, last_super = 0, first_segment = 0, last_segment = 0;
    index_t num_supers() const { return last_super - first_super; }
    index_t num_units() const { return num_supers() + last_segment - first_segment; }
  };
  split_range range_of(const sequence_rows& s) const {
    index_t first = std::numeric_limits<index_t>::max(), last = 0;
    for (index_t i = 0; i < s.num_rows; ++i) {
      query_row row{i, 0, s.positions != nullptr ? s.positions[i] : s.first_position + i, 0, 0};
      limit_keys(p_, c_.key_positions == nullptr, s, row);
      if (row.first < row.last) first = std::min(first, row.first), last = std::max(last, row.last);
    }
    split_range range;
    if (first >= last) return range;
    range.last_segment = ceil_div(last, segment_len);
    range.first_super = first / super_segment_len;
    range.last_super = (range.last_segment - 1) / segments_per_super;
    range.first_segment = std::max(first / segment_len, range.last_super * segments_per_super);
    return range;
  }

  void split(workspace& scratch) {
    const index_t slots = segments_per_super + ceil_div(max_kv_len_, super_segment_len), num_rows = total_rows_ * c_.stored_heads;
    index_t room = 0;
    for (index_t i = 0; i < p_.num_sequences; ++i) room += tiled_rows(rows_of(p_.sequences[i]));
    const states<A> partial = take_states<A>(scratch, room * c_.stored_heads * slots, c_.value_stride);
    const unit_list list(scratch, p_.num_sequences), rows(scratch, p_.num_sequences);
    split_range* const ranges = scratch.take<split_range>(p_.num_sequences);
    const index_t num_workers = workers_for(ctx_, std::max<index_t>(ctx_.num_workers(), 1), work_);
    const worker_scratch workers(scratch, num_workers, [&](workspace& from) { return attend_scratch<A>(from, c_, block_rows_); });
    if (scratch.measuring()) return;
    for (index_t i = 0; i < p_.num_sequences; ++i) ranges[i] = range_of(p_.sequences[i]);
    const index_t num_units = list.fill([&](index_t i) { return c_.stored_heads * ranges[i].num_units(); });
    rows.fill([&](index_t i) { return tiled_rows(rows_of(p_.sequences[i])); });

    // Slot `slot` of a KV head of sequence i: the states of whole tiles.
    const auto slot_at = [&](index_t i, index_t head, index_t slot) {
      const index_t before = rows.begin_of(i), count = tiled_rows(rows_of(p_.sequences[i]));
      return partial.at((before * c_.stored_heads + head * count) * slots + slot * count);
    };
    for_each_unit(ctx_, workers, num_workers, num_units, [&](const attend_scratch<A>& own, index_t unit) {
      const auto [i, of_sequence] = list.find(unit);
      const sequence_rows& s = p_.sequences[i];
      const split_range& range = ranges[i];
      const index_t slot = of_sequence / c_.stored_heads, head = of_sequence % c_.stored_heads;
      const row_block<A> block(c_, s, head, 0, rows_of(s), own);
      const states<A> into = slot_at(i, head, slot);
      if (slot < range.num_supers()) {
        const index_t super = range.first_super + slot;
        block.fold(std::max(block.first_segment(), super * segments_per_super), (super + 1) * segments_per_super, into);
      } else {
        const index_t segment = range.first_segment + slot - range.num_supers();
        block.fold(segment, segment + 1, into);
      }
    });
    const index_t num_owners = p_.num_sequences * c_.stored_heads;
    const index_t num_mergers = std::min(num_workers, workers_for(ctx_, num_owners, num_rows * slots * c_.value_dim));
    for_each_unit(ctx_, workers, num_mergers, num_owners, [&](const attend_scratch<A>& own, index_t unit) {
      const index_t i = unit / c_.stored_heads, head = unit % c_.stored_heads, count = rows_of(p_.sequences[i]);
      if (count == 0) return;
      const row_block<A> block(c_, p_.sequences[i], head, 0, count, own);
      const index_t num_supers = ranges[i].num_supers(), num_slots = ranges[i].num_units();
      clear(own.super, count), clear(own.whole, count);
      for (index_t slot = 0; slot < num_supers; ++slot) c_.rows.merge(count, own.whole, slot_at(i, head, slot));
      for (index_t slot = num_supers; slot < num_slots; ++slot) c_.rows.merge(count, own.super, slot_at(i, head, slot));
      c_.rows.merge(count, own.whole, own.super);
      block.finish(own.whole);
    });
  }

  context& ctx_;
  const attend_params& p_;
  const attend_call<A> c_;
  index_t max_block_rows_ = min_block_rows, max_query_rows_ = 0, max_rows_ = 0, total_rows_ = 0, max_kv_len_ = 0, num_blocks_ = 0, work_ = 0,
          block_rows_ = 0;
};
}  // namespace

void backend::attend(context& ctx, const attend_params& params, workspace& scratch) noexcept {
  const float_environment environment;
  const workspace::scope scope(scratch);
  with_accumulator(params.accumulator, [&](auto a) { attention<decltype(a)>(ctx, params).run(scratch); });
}

std::string backend::describe_attend(context& ctx, const attend_params& params) {
  std::string way;
  with_accumulator(params.accumulator, [&](auto a) { way = attention<decltype(a)>(ctx, params).way(); });
  const std::string products = params.bf16_pairs ? "pairs of bf16 added by vdpbf16ps, " : "";
  return way + ", " + products + std::string(name_of(params.accumulator)) + " sums, keys and values " + std::string(name_of(params.kv.type));
}

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
