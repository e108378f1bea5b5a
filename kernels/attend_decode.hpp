// The launch of decode: its grid and workspace are functions of shapes, so that a captured graph serves sequences as they grow.
#pragma once
#include <kernels/attention_check.hpp>
#include <kernels/decode.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// What sizes grid and workspace of a launch. No sequence may have more queries or keys.
struct decode_limits {
  int max_q_len = 1, max_kv_len = 0;
};

/// Elements of decode_workspace's arrays.
struct decode_sizes {
  int row_tiles, tile_rows, max_segments, max_super_segments, column_parts;
  index_t acc, max_and_sum, counters;
};

/// Blocks of a grid in its second and third dimension.
constexpr int max_grid_yz = 65535;

/// So many blocks have a multiprocessor each, on all devices but small ones.
constexpr int few_blocks = 128;
/// Segments of a launch, each counted for every KV head and tile of rows, up to which a cluster may share each.
constexpr int most_shared_segments = 64;
/// Rows of the segments and super-segments of such a launch, where a tile has one super-segment more than its segments fill.
constexpr int most_shared_states = 3 * most_shared_segments * decode_rows;

/// The width that a head is padded to.
constexpr int decode_dim(int dim) { return dim <= 64 ? 64 : dim <= 96 ? 96 : dim <= 128 ? 128 : dim <= 192 ? 192 : 256; }

template <class T>
decode_sizes decode_sizes_of(const attention_problem<T>& p, const decode_limits& limits) {
  const int rows = limits.max_q_len * (p.num_heads / p.num_kv_heads);
  index_t segments = std::max<index_t>(ceil_div(limits.max_kv_len, segment_len), 1);
  if (p.q_positions.data == nullptr && p.k_positions.data == nullptr && p.window_left != no_window && p.window_right != no_window) {
    // Seen by some of decode_rows consecutive queries: so many keys, which begin anywhere in a segment.
    const index_t limit = limits.max_kv_len,
                  seen = std::min(p.window_left, limit) + std::min(p.window_right, limit) + std::min(limits.max_q_len, decode_rows);
    segments = std::min(segments, ceil_div(seen, segment_len) + 1);
  }
  decode_sizes sizes{};
  sizes.row_tiles = static_cast<int>(ceil_div(rows, decode_rows)), sizes.tile_rows = std::min(rows, decode_rows);
  sizes.max_segments = static_cast<int>(segments), sizes.max_super_segments = static_cast<int>(ceil_div(segments, segments_of_super)) + 1;
  const index_t tiles = index_t{p.num_sequences} * p.num_kv_heads * sizes.row_tiles;
  const index_t states = tiles * (sizes.max_segments + sizes.max_super_segments) * sizes.tile_rows;
  sizes.column_parts = tiles * sizes.max_segments <= most_shared_segments ? decode_segment_tiles : 1;
  sizes.acc = states * decode_dim(std::max(p.head_dim, p.value_dim));
  // Enough for any smaller launch, too, whose segments are shared.
  sizes.max_and_sum = 2 * std::max(states, decode_segment_tiles * std::min<index_t>(states, most_shared_states));
  sizes.counters = tiles * (1 + sizes.max_super_segments) * sizes.column_parts;
  return sizes;
}

/// Whether the plain kernel does not do: scores change or are hidden one by one, or rows are no whole 16 bytes.
template <class T>
bool needs_general_decode(const attention_problem<T>& p, const decode_options& o) {
  return changes_scores(p) || !ranges_decide(p) || p.sink_logits_log2 != nullptr || !o.q_by_chunks || !o.k_by_chunks || !o.v_by_chunks ||
         !o.out_by_pairs;
}

template <class T>
decode_options decode_options_of(const attention_problem<T>& p) {
  const auto pairs = [](auto&&... strides) { return ((strides % 2 == 0) && ...); };
  return {score_constants_of(p), is_by_chunks(p.q, p.head_dim), is_by_chunks(p.k, p.head_dim), is_by_chunks(p.v, p.value_dim),
          is_aligned(p.out.data, 4) && pairs(p.out.outer_stride, p.out.row_stride, p.out.head_stride, p.value_dim)};
}

/// The arrays of a launch's workspace, as many elements as decode_sizes_of says; counters are 0, and are again when the launch has ended.
struct decode_memory {
  float *acc, *max_and_sum;
  unsigned* counters;
};

/// A launch as kernels take it. Throws config_error or shape_error where it can not be.
struct decode_launch {
  decode_workspace workspace;
  simt::index3 grid;  ///< a block for each segment

  template <class T>
  decode_launch(const attention_problem<T>& p, const decode_limits& limits, const decode_memory& memory) {
    raise_if(check_problem("attend_decode", p));
    if (limits.max_q_len < 0 || limits.max_kv_len < 0) raise(errc::shape, "attend_decode: a limit is negative");
    grid = {0, 0, 0};
    if (p.num_sequences == 0 || limits.max_q_len == 0) return;
    if (memory.acc == nullptr || memory.max_and_sum == nullptr || memory.counters == nullptr)
      raise(errc::shape, "attend_decode: a part of the workspace is null");
    const decode_sizes sizes = decode_sizes_of(p, limits);
    if (p.num_sequences > max_grid_yz || sizes.max_segments > max_grid_yz)
      raise(errc::shape, "attend_decode: " + std::to_string(p.num_sequences) + " sequences of " + std::to_string(sizes.max_segments) + " segments; " +
                             std::to_string(max_grid_yz) + " of each is possible");
    workspace = {memory.acc, memory.max_and_sum, memory.counters, sizes.tile_rows, sizes.max_segments, sizes.max_super_segments};
    grid = {static_cast<unsigned>(p.num_kv_heads * sizes.row_tiles), static_cast<unsigned>(sizes.max_segments),
            static_cast<unsigned>(p.num_sequences)};
  }
  bool is_empty() const { return grid.x == 0; }
};

/// Calls f with the width to which heads are padded, as a type.
template <class T, class F>
void with_decode_dim(const attention_problem<T>& p, const F& f) {
  switch (decode_dim(std::max(p.head_dim, p.value_dim))) {
    case 64:
      return f(std::integral_constant<int, 64>{});
    case 96:
      return f(std::integral_constant<int, 96>{});
    case 128:
      return f(std::integral_constant<int, 128>{});
    case 192:
      return f(std::integral_constant<int, 192>{});
    default:
      return f(std::integral_constant<int, 256>{});
  }
}

/// Attends every query of every sequence. Throws config_error or shape_error before anything is launched.
template <class T>
void attend_decode(const attention_problem<T>& p, const decode_limits& limits, const decode_memory& memory, simt::stream stream) {
  const decode_launch l(p, limits, memory);
  if (l.is_empty()) return;
  const decode_options options = decode_options_of(p);
  const bool general = needs_general_decode(p, options), deep = !general && index_t{l.grid.x} * l.grid.y * l.grid.z <= few_blocks;
  with_decode_dim(p, [&](auto dim) {
    constexpr int width = decltype(dim)::value;
    if (deep)
      return simt::launch<decode_storage<T, width, true>>(decode<false, T, width, true>, l.grid, decode_threads, stream, p, options, l.workspace);
    const auto kernel = general ? decode<true, T, width, false> : decode<false, T, width, false>;
    simt::launch<decode_storage<T, width, false>>(kernel, l.grid, decode_threads, stream, p, options, l.workspace);
  });
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
