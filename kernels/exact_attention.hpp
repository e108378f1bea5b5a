// Attention in the CPU's order, with the CPU's bits (docs/numerics.md, cpu-v1): for float and double, any mixture of element types, any head_dim and
// every option, where tensor cores do not serve. Plain arithmetic.
//
// A block takes a tile of 8 rows that share a KV head, and a part of the keys: one segment of 512, a super-segment of 8192, or all, as there are rows
// enough to keep a device busy. It walks the segments of its part, merges each into a state that lies in the workspace, and a second kernel merges
// the parts, which are whole segments or whole super-segments, in the contract's order. So bits do not depend on how keys are divided. What a tile
// does with a segment: exact_tile.hpp, also by tf32 on tensor cores, in the order of the ids ..-mma1688-3xtf32-v1. Bound: FMA. Test:
// tests/kernels/exact_attention_test.cpp, tf32_attention_test.cpp.
#pragma once
#include <kernels/exact_tile.hpp>

#include <algorithm>
#include <cstddef>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// grid: tiles of rows, parts, KV heads, sequences, the first one fastest, all in x.
template <exact_products Products, class A>
RAPT_KERNEL(exact_threads, (sizeof(A) == 4 && Products == exact_products::fma ? 3 : 2))
exact_attend(exact_attention_problem<A> p, exact_constants<A> c, exact_split split, exact_workspace<A> workspace, int num_tiles) {
  unsigned block = simt::block_idx().x;
  const auto next = [&](int count) {
    const int index = static_cast<int>(block % static_cast<unsigned>(count));
    block /= static_cast<unsigned>(count);
    return index;
  };
  const int tile_idx = next(num_tiles), part = next(split.parts), kv_head = next(p.num_kv_heads), sequence_idx = static_cast<int>(block);
  exact_tile<A, Products> tile(simt::shared<exact_storage<A, Products>>(), p, c, sequence_idx, kv_head, tile_idx * exact_rows);
  const int first_segment = part * split.part_segments;
  if (tile.num_rows() == 0 || first_segment * exact_segment >= tile.kv_len()) return;
  tile.find_rows();

  auto& rows = tile.m.rows;
  const bool two_states = split.part_segments > segments_of_exact_super;
  const int thread = static_cast<int>(simt::thread_idx());
  const auto state_of = [&](int r, int state) { return (index_t{tile.row_of_operands(r)} * p.num_heads + rows[r].head) * split.states() + state; };
  const auto values_of = [&](int r, int state) { return workspace.values + state_of(r, state) * p.value_dim; };
  const int own = two_states ? 1 : part;
  if (thread < exact_rows) rows[thread].state = rows[thread].whole = no_sums<A>();

  int segment = std::max(first_segment, tile.first_key / exact_segment);
  const int end = std::min(first_segment + split.part_segments, (tile.last_key + exact_segment - 1) / exact_segment);
  for (; segment < end; ++segment) {
    tile.find_weights(segment);
    tile.merge_values([&](int r) { return values_of(r, own); });
    simt::sync_threads();
    if (two_states && (segment + 1 == end || (segment + 1) % segments_of_exact_super == 0)) {
      if (thread < exact_rows) {
        rows[thread].merge = merge_sums(rows[thread].whole, rows[thread].state);
        rows[thread].state = no_sums<A>();
      }
      simt::sync_threads();
      for (int column = 0; column < p.value_dim; column += exact_columns)
        tile.for_own_values(column, [&](int r, int column_idx, int) {
          A& into = values_of(r, 0)[column_idx];
          into = rows[r].merge.of(into, values_of(r, 1)[column_idx]);
        });
      simt::sync_threads();
    }
  }
  if (thread < tile.num_rows()) workspace.sums[state_of(thread, two_states ? 0 : part)] = two_states ? rows[thread].whole : rows[thread].state;
}

constexpr int exact_finish_warps = 4, exact_finish_loads = 4;

/// Merges the parts of each row and head and writes it. grid: heads of rows by exact_finish_warps, sequences, all in x. A warp has one of them.
template <class A>
RAPT_KERNEL(exact_finish_warps * 32, 4)
exact_finish(exact_attention_problem<A> p, exact_split split, exact_workspace<A> workspace, int num_blocks) {
  const int sequence_idx = static_cast<int>(simt::block_idx().x / static_cast<unsigned>(num_blocks));
  const int unit =
      static_cast<int>(simt::block_idx().x % static_cast<unsigned>(num_blocks)) * exact_finish_warps + static_cast<int>(simt::warp_idx());
  const sequence s = p.sequences[sequence_idx];
  const int query = unit / p.num_heads, head = unit % p.num_heads, row = s.first_row + query, lane = static_cast<int>(simt::lane_idx());
  if (query >= s.q_len) return;
  const index_t first = (index_t{row} * p.num_heads + head) * split.states();
  const int num_parts = std::min(split.parts, (s.kv_len - 1) / exact_segment / split.part_segments + 1);
  const int parts_of_super = split.part_segments < segments_of_exact_super ? segments_of_exact_super / split.part_segments : 1;

  for (int column = lane; column < p.value_dim; column += 32) {
    exact_sums<A> sums = no_sums<A>();
    A value = A{0};
    for (int super_part = 0; s.kv_len > 0 && super_part < num_parts; super_part += parts_of_super) {
      exact_sums<A> super = no_sums<A>();
      A super_value = A{0};
      const int end = std::min(super_part + parts_of_super, num_parts);
      for (int part = super_part; part < end; part += exact_finish_loads) {
        // Some loads at once, because each takes as long as many sums.
        A values[exact_finish_loads];
        exact_sums<A> next[exact_finish_loads];
        RAPT_UNROLL for (int i = 0; i < exact_finish_loads; ++i) {
          next[i] = part + i < end ? workspace.sums[first + part + i] : no_sums<A>();
          values[i] = part + i < end ? workspace.values[(first + part + i) * p.value_dim + column] : A{0};
        }
        RAPT_UNROLL for (int i = 0; i < exact_finish_loads; ++i) super_value = merge_sums(super, next[i]).of(super_value, values[i]);
      }
      value = merge_sums(sums, super).of(value, super_value);
    }
    const bool empty = sums.empty();
    if (column == 0 && p.lse.data != nullptr) {
      const double lse = static_cast<double>(sums.max) * math::coefficients::ln_2 + log(static_cast<double>(sums.sum));
      static_cast<A*>(p.lse.data)[p.lse.offset(row, head)] = empty ? sums.max : canonical(static_cast<A>(lse));
    }
    if (!empty && p.sink_logits_log2 != nullptr) value = merge_sums(sums, {p.sink_logits_log2[head], A{1}}).of(value, A{0});
    const A result = empty ? A{0} : value * simt::divide(A{1}, sums.sum);
    store_any(p.out.data, p.out.type, p.out.offset(row, head) + column * p.out.dim_stride, result);
  }
}

/// Blocks that keep a device busy.
constexpr index_t exact_enough_blocks = 264;

template <class A>
index_t exact_tiles(const exact_attention_problem<A>& p, const exact_limits& limits) {
  return ceil_div(index_t{limits.max_q_len} * (p.num_heads / p.num_kv_heads), exact_rows);
}
inline index_t exact_segments(const exact_limits& limits) { return std::max<index_t>(ceil_div(limits.max_kv_len, segment_len), 1); }

enum class exact_parts { rows, super_segments, segments };
inline exact_split exact_split_by(exact_parts by, const exact_limits& limits) {
  const int segments = static_cast<int>(exact_segments(limits)), supers = static_cast<int>(ceil_div(segments, segments_of_exact_super));
  if (by == exact_parts::rows) return {supers * segments_of_exact_super, 1};
  if (by == exact_parts::super_segments) return {segments_of_exact_super, supers};
  return {1, segments};
}
/// As few parts as keep a device busy.
template <class A>
exact_parts exact_parts_of(const exact_attention_problem<A>& p, const exact_limits& limits) {
  const index_t blocks = exact_tiles(p, limits) * p.num_kv_heads * p.num_sequences;
  if (blocks >= exact_enough_blocks) return exact_parts::rows;
  return blocks * ceil_div(exact_segments(limits), segments_of_exact_super) >= exact_enough_blocks ? exact_parts::super_segments
                                                                                                   : exact_parts::segments;
}

template <class A>
index_t exact_num_states(const exact_attention_problem<A>& p, const exact_split& split) {
  return p.q.rows() * p.num_heads * split.states();
}
/// Bytes of workspace that attend_exact needs; a function of shapes.
template <class A>
std::size_t exact_attention_bytes(const exact_attention_problem<A>& p, const exact_limits& limits, exact_parts by) {
  return static_cast<std::size_t>(exact_num_states(p, exact_split_by(by, limits)) * (p.value_dim + 2)) * sizeof(A);
}
template <class A>
std::size_t exact_attention_bytes(const exact_attention_problem<A>& p, const exact_limits& limits) {
  return exact_attention_bytes(p, limits, exact_parts_of(p, limits));
}

/// attend_exact with keys divided like this, which no bit depends on.
template <exact_products Products = exact_products::fma, class A>
void attend_exact_by(exact_parts by, exact_attention_problem<A> p, const exact_limits& limits, void* workspace, simt::stream stream) {
  raise_if(check_exact_problem(p, limits));
  if (p.num_sequences == 0 || limits.max_q_len == 0) return;
  if (workspace == nullptr) raise(errc::shape, "attend_exact: workspace is null");
  // No position is larger, and none is negative: such a side hides nothing, and its sum with a position might overflow.
  if (p.window_left >= max_position) p.window_left = no_window;
  if (p.window_right >= max_position) p.window_right = no_window;
  const exact_split split = exact_split_by(by, limits);
  const index_t num_tiles = exact_tiles(p, limits), attend_blocks = num_tiles * split.parts * p.num_kv_heads * p.num_sequences;
  const index_t row_blocks = ceil_div(index_t{limits.max_q_len} * p.num_heads, exact_finish_warps), finish_blocks = row_blocks * p.num_sequences;
  constexpr index_t max_blocks = 2147483647;
  if (attend_blocks > max_blocks || finish_blocks > max_blocks)
    raise(errc::shape,
          "attend_exact: " + std::to_string(std::max(attend_blocks, finish_blocks)) + " blocks; " + std::to_string(max_blocks) + " is possible");
  auto* const sums = static_cast<exact_sums<A>*>(workspace);
  const exact_workspace<A> states{reinterpret_cast<A*>(sums + exact_num_states(p, split)), sums};
  simt::launch<exact_storage<A, Products>>(exact_attend<Products, A>, {static_cast<unsigned>(attend_blocks)}, exact_threads, stream, p,
                                           exact_constants_of(p), split, states, static_cast<int>(num_tiles));
  simt::launch<simt::no_storage>(exact_finish<A>, {static_cast<unsigned>(finish_blocks)}, exact_finish_warps * 32, stream, p, split, states,
                                 static_cast<int>(row_blocks));
}

/// Attends every query of every sequence. workspace: exact_attention_bytes(p, limits) bytes of device memory, at a multiple of 16; its contents do
/// not matter. Rows that no sequence has are left alone. Throws config_error or shape_error before anything is launched.
template <exact_products Products = exact_products::fma, class A>
void attend_exact(const exact_attention_problem<A>& p, const exact_limits& limits, void* workspace, simt::stream stream) {
  attend_exact_by<Products>(exact_parts_of(p, limits), p, limits, workspace, stream);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
