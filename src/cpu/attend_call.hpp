// One attend call as its drivers see it: extents, constants rounded once, kernels; and the scratch that a worker needs for a block of rows.
#pragma once
#include <cpu/row_tiles.hpp>
#include <rapt/core/scale.hpp>

#include <limits>

namespace rapt {
inline namespace v0 {
namespace cpu {

/// Rows of one KV head that walk its segments together: at least 8 tiles. A segment that has to be packed first is packed once for all of them, so
/// that more rows save work, and fewer leave more units to share.
constexpr index_t min_block_rows = 8 * max_tile_rows, max_packing_block_rows = 344 * max_tile_rows;

/// Tiles whose scores are all computed before any value is read. The keys of a segment, then its values (256 KiB each of f32 at head_dim 128), stay
/// in a second-level cache of 512 KiB for them, beside 100 KiB of scores; in turns they would not.
constexpr index_t tiles_of_group = 4, rows_of_group = tiles_of_group * max_tile_rows;

/// Keys of a segment that is packed into scratch. Not 512: the column groups of its values would lie a power of two apart.
constexpr index_t scratch_keys = segment_len + lane_group;

template <class A>
constexpr A minus_infinity = -std::numeric_limits<A>::infinity();

template <class A>
struct attend_call {
  const attend_params& p;
  const row_kernels<A>& rows;
  const operand_kernels<A>& operand;  ///< of the type in which segments are read
  const pair_kernels& pair;           ///< used with pairs
  dtype operand_type;
  bool in_place;       ///< segments are read where they lie, else packed into scratch
  bool pairs;          ///< products of bf16_pair; queries and probabilities are words of two
  index_t word_terms;  ///< terms of a chain in a word of queries or probabilities
  index_t num_heads, stored_heads, group_size, head_dim, value_dim, value_stride;
  math::split_constant<A> scale;
  A log2_e, softcap_inner, softcap_outer, kept_probability;
  bool has_window;
  bool changes_scores;           ///< softcap, ALiBi or an additive mask
  const index_t* key_positions;  ///< explicit ones, of slots or of strided keys; null: the index

  attend_call(const context& ctx, const attend_params& params)
      : p(params),
        rows(rows_of<A>(*ctx.internals().table)),
        operand(operand_for(*ctx.internals().table, params)),
        pair(ctx.internals().table->bf16_pairs),
        operand_type(params.bf16_pairs         ? dtype::bf16
                     : stored_in_place(params) ? params.kv.type
                                               : dtype_of<A>),
        in_place(stored_in_place(params)),
        pairs(params.bf16_pairs),
        word_terms(pairs ? 2 : 1),
        num_heads(params.q.heads),
        stored_heads(params.kv.present() ? params.kv.num_heads : params.k.heads),
        group_size(num_heads / stored_heads),
        head_dim(params.q.dim),
        value_dim(params.out.dim),
        value_stride(round_up(value_dim, lane_group)),
        scale(math::split_scale<A>(params.softmax_scale)),
        log2_e(static_cast<A>(math::log2_e)),
        softcap_inner(static_cast<A>(math::ln_2 / params.softcap)),
        softcap_outer(static_cast<A>(params.softcap * math::log2_e)),
        kept_probability(static_cast<A>(1 - params.dropout_p)),
        has_window(params.window_left != no_window || params.window_right != no_window),
        changes_scores(params.softcap > 0 || params.alibi_slopes != nullptr || params.mask.kind == mask_kind::additive),
        key_positions(params.kv.present() ? params.kv.positions : params.k_positions) {}

  /// Products for segments of this call.
  static bool stored_in_place(const attend_params& p) {
    return p.kv.present() && (sizeof(A) == 8 ? p.kv.type == dtype::f64 : p.kv.type != dtype::f64);
  }
  static const operand_kernels<A>& operand_for(const kernels& table, const attend_params& p) {
    return products_of<A>(table, stored_in_place(p) ? p.kv.type : dtype_of<A>, p.bf16_pairs);
  }
  /// Words of a packed query.
  index_t query_words() const { return ceil_div(head_dim, word_terms); }
};

/// One query of one head.
struct query_row {
  index_t query;  ///< row within its sequence
  index_t head;
  index_t position;
  index_t first, last;  ///< keys outside can not be seen: window (where key positions are indices) and visible length
};

/// `used` queries, of which i lies at address_of(i), to [query_words][tile rows], scaled. wide: [tile rows][head_dim]; narrow: as much for pairs,
/// else null.
template <class A, class Address>
void pack_queries(const attend_call<A>& c, index_t used, A* packed, A* wide, bf16* narrow, const Address& address_of) {
  const operand& q = c.p.q;
  const index_t tile_rows = tile_rows_for(used);
  const bool pairs = narrow != nullptr, in_place = !pairs && lies_as<A>(q);
  if (used == 1 && in_place) return c.rows.scale_query(reinterpret_cast<const A*>(address_of(0)), c.head_dim, c.scale.high, c.scale.low, packed);
  pack_tile(c.rows, used, tile_rows, c.query_words(), packed, [&](index_t i) {
    const std::byte* const from = address_of(i);
    if (in_place) return reinterpret_cast<const A*>(from);
    A* const row = wide + i * c.head_dim;
    c.rows.load(from, q.type, q.dim_stride, c.head_dim, row);
    if (!pairs) return static_cast<const A*>(row);
    bf16* const words = narrow + 2 * i * c.query_words();
    c.rows.scale_query(row, c.head_dim, c.scale.high, c.scale.low, row);
    c.rows.store(row, A{1}, c.head_dim, words, dtype::bf16, 1);
    return as_words<A>(words, c.head_dim);
  });
  if (!pairs) c.rows.scale_query(packed, tile_rows * c.head_dim, c.scale.high, c.scale.low, packed);
}

template <class A>
states<A> take_states(workspace& from, index_t num_rows, index_t acc_stride) {
  A* const max = from.take<A>(num_rows);
  A* const sum = from.take<A>(num_rows);
  return {max, sum, from.take<A>(num_rows * acc_stride), acc_stride};
}

/// Work memory of one worker.
template <class A>
struct attend_scratch {
  A* scores;            // [rows of a group][score_stride]
  A* added;             // [score_stride]: a row of the additive mask, or distances
  seen_keys* ranges;    // [rows of a group]
  std::uint64_t* seen;  // [rows of a group][words_per_segment]
  std::uint64_t* finite;
  query_row* block;                 // [block_rows]
  A* queries;                       // [block_rows / 12][query_words][tile rows]
  A* wide;                          // [16][head_dim], or [value_dim]
  bf16* narrow;                     // pairs: [12][2 * query_words], or [value_dim]
  states<A> segment, super, whole;  // of a group, of the block, of the block
  states<A> sink;                   // one row
  A* lanes;                         // pairs: [head_dim][16], the keys of one lane group before they are rounded
  std::byte* keys;                  // segments that are not read in place: [segment_len / 16][head_dim][16] of operand_type
  std::byte* values;                // [value_stride / 16][scratch_keys][16]
  std::byte* lone_value;            // pairs: [value_stride / 16][2][16], a value beside zeros
  index_t* positions;               // [segment_len]

  attend_scratch(workspace& from, const attend_call<A>& c, index_t block_rows)
      : scores(from.take<A>(std::min(block_rows, rows_of_group) * score_stride)),
        added(from.take<A>(score_stride)),
        ranges(from.take<seen_keys>(std::min(block_rows, rows_of_group))),
        seen(from.take<std::uint64_t>(std::min(block_rows, rows_of_group) * words_per_segment)),
        finite(from.take<std::uint64_t>(std::min(block_rows, rows_of_group) * words_per_segment)),
        block(from.take<query_row>(block_rows)),
        queries(from.take<A>(block_rows * c.query_words())),
        wide(from.take<A>(std::max(lane_group * c.head_dim, c.value_dim))),
        narrow(c.pairs ? from.take<bf16>(std::max(2 * max_tile_rows * c.query_words(), c.value_dim)) : nullptr),
        segment(take_states<A>(from, std::min(block_rows, rows_of_group), c.value_stride)),
        super(take_states<A>(from, block_rows, c.value_stride)),
        whole(take_states<A>(from, block_rows, c.value_stride)),
        sink(take_states<A>(from, 1, c.value_stride)),
        lanes(c.pairs && !c.in_place ? from.take<A>(lane_group * c.head_dim) : nullptr),
        keys(c.in_place ? nullptr : from.take<std::byte>(segment_len * c.head_dim * size_of(c.operand_type))),
        values(c.in_place ? nullptr : from.take<std::byte>(scratch_keys * c.value_stride * size_of(c.operand_type))),
        lone_value(c.pairs ? from.take<std::byte>(2 * c.value_stride * size_of(dtype::bf16)) : nullptr),
        positions(c.key_positions != nullptr ? from.take<index_t>(segment_len) : nullptr) {}
};

template <class A>
void clear(const states<A>& of, index_t num_rows) {
  std::fill_n(of.max, num_rows, minus_infinity<A>);
}

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
