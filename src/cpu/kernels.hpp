// The SIMD kernels as drivers see them: plain functions of one instruction set behind a table. A context holds one table, so contexts of different
// instruction sets live side by side. Kernels know tiles and rows; which rows, which keys and which threads is the drivers' matter.
#pragma once
#include <rapt/core/params.hpp>

#include <cstring>

namespace rapt {
inline namespace v0 {
namespace cpu {

enum class isa : std::uint8_t;

/// The most rows that one register tile holds, and the row counts that kernels exist for: 1, 2, 4, 8 and 12.
constexpr int max_tile_rows = 12;
constexpr int tile_rows_for(index_t rows) { return rows <= 2 ? static_cast<int>(rows) : rows <= 4 ? 4 : rows <= 8 ? 8 : max_tile_rows; }
/// Rows that the tiles of `rows` rows write.
constexpr index_t tiled_rows(index_t rows) { return rows / max_tile_rows * max_tile_rows + tile_rows_for(rows % max_tile_rows); }

/// Distance of two score rows. Not 512: rows would lie 2 KiB apart and 12 of them would compete for two sets of a first-level cache.
constexpr index_t score_stride = segment_len + lane_group;

/// Chains of an output stop and are added up at multiples of these. Part of the numeric contract.
constexpr index_t score_block = 128, project_block = 256;

constexpr index_t words_per_segment = segment_len / 64;

/// Two neighbours of a chain of cpu-bf16dot-v1, which are added by one instruction; in memory, as a word.
struct bf16_pair {
  bf16 first, second;
};

/// The same product of other operands, one after the other: of the first, and then of what lies so many elements further on each time.
struct repetition {
  index_t times = 1, factors = 0, operands = 0, results = 0;
};

/// out[r][c] (+)= chain over k ascending, from +0, of x[k][r] * columns[c / 16][k][c % 16].
template <class A>
struct dot_args {
  const A* x;           ///< [depth][rows], 64-byte aligned; of pairs [ceil(depth / 2)][rows] words, the last one's second +0 where depth is odd
  const void* columns;  ///< groups of 16 columns, group_stride elements apart, each [depth][16]
  index_t group_stride, depth, num_groups;
  A* out;  ///< [rows][out_stride]
  index_t out_stride;
  bool adding;       ///< the chain's sum is added to out (block 1, 2, ... of a long chain); false: it is stored
  bool walks;        ///< columns are met for the first time: ask for the memory ahead
  const void* next;  ///< what is read after the last group, or null
  repetition heads = {};
};

/// acc[r][d] = chain over j ascending, from acc, of p[r][j] * values[j][d].
template <class A>
struct value_args {
  const A* p;          ///< [rows][score_stride]; of pairs, words from that of key `first` on
  const void* values;  ///< as `layout` says
  value_layout layout;
  index_t first, count;  ///< keys of `values`; of pairs, even
  A* acc;                ///< [rows][layout.columns]
  bool walks;            ///< as in dot_args
  const void* next;      ///< what is read after the last key, or null
  repetition heads = {};
};

/// Products with operands of one stored type. rows is one of the counts above.
template <class A>
struct operand_kernels {
  void (*dot)(int rows, const dot_args<A>&);
  void (*values)(int rows, const value_args<A>&);
};

/// Products that add two neighbours of a chain at a time, both factors bf16. `columns` and `values` lie in memory as for one at a time.
struct pair_kernels {
  operand_kernels<float> products;
  /// p[first .. last), in whole lane groups, rounded to bf16 in place: key j then is bf16 j of the row.
  void (*narrow)(float* p, index_t first, index_t last);
  /// Words [n][16], a pair each, to bf16 [n][2][16]: the first of the pairs, then the second.
  void (*split_words)(const float* words, index_t n, std::byte* to);
};

/// Keys that one row sees of one segment: [first, last), relative to the segment; with bits, those of them whose bit is set.
struct seen_keys {
  index_t first, last;
  const std::uint64_t* bits;  ///< [words_per_segment], or null
  bool empty() const { return first >= last; }
};

/// What the largest score of a row says. odd: among the visible ones is a NaN or -inf.
template <class A>
struct row_max {
  A max;
  bool odd;
};

/// Softmax states of rows: max[rows], sum[rows], acc[rows][acc_stride]. max = -inf: nothing seen; sum and acc then mean nothing.
template <class A>
struct states {
  A* max = nullptr;
  A* sum = nullptr;
  A* acc = nullptr;
  index_t acc_stride = 0;
  states at(index_t row) const { return {max + row, sum + row, acc + row * acc_stride, acc_stride}; }
};

/// Passes over rows of accumulators. Score rows are [score_stride]; passes run over whole lane groups.
template <class A>
struct row_kernels {
  /// to[i] = from[i * stride], widened (f64 to float: rounded once).
  void (*load)(const void* from, dtype type, index_t stride, index_t n, A* to);
  /// to[i * stride] = from[i] * by, rounded to `type` to nearest even; a NaN becomes the canonical one.
  void (*store)(const A* from, A by, index_t n, void* to, dtype type, index_t stride);
  /// to[r * to_stride + i * 16 + lane] = from[r * from_stride + i], a NaN canonical; the other lanes are written as they are.
  void (*store_lanes)(const A* from, index_t from_stride, index_t rows, index_t n, A* to, index_t to_stride, index_t lane);
  /// to[r * to_stride + i / 16 * panel_stride + i % 16] = from[r * from_stride + i], a NaN canonical.
  void (*store_panels)(const A* from, index_t from_stride, index_t rows, index_t n, A* to, index_t to_stride, index_t panel_stride);
  /// The same as store for `rows` rows, from_stride and to_stride elements apart, each by 1 / sums[row].
  void (*store_rows)(const A* from, index_t from_stride, const A* sums, index_t rows, index_t n, void* to, dtype type, index_t to_stride,
                     index_t stride);
  /// to[c * to_stride + r] = rows[r][c].
  void (*transpose)(const A* const* rows, index_t num_rows, index_t num_columns, A* to, index_t to_stride);
  /// to[c / 16 * panel_stride + c % 16] = row[c].
  void (*spread)(const A* row, index_t n, A* to, index_t panel_stride);
  /// to = x * (high + low), maybe in place; an infinite x becomes NaN.
  void (*scale_query)(const A* x, index_t n, A high, A low, A* to);
  /// x += y.
  void (*add)(A* x, const A* y, index_t n);

  /// u = outer * tanh(u * inner).
  void (*softcap)(A* u, index_t first, index_t last, A inner, A outer);
  /// u[j] = fma(minus_slope, A(|distance + step * j|), u[j]), for distances below 2^31.
  void (*alibi)(A* u, index_t first, index_t last, A minus_slope, std::int32_t distance, std::int32_t step);
  /// u[j] = fma(factor, y[j], u[j]); with y[j] = -inf: -inf.
  void (*add_scaled)(A* u, index_t first, index_t last, A factor, const A* y);
  /// Scores that the row does not see become -inf; the largest of the others.
  row_max<A> (*mask_and_max)(A* u, const seen_keys& seen);
  /// bits = the seen keys whose score is not -inf; true where one of them is NaN.
  bool (*finite_bits)(const A* u, const seen_keys& seen, std::uint64_t* bits);
  /// u becomes p = exp2(u - max); the sum in 16 lanes and a tree.
  A (*exp_and_sum)(A* u, const seen_keys& seen, A max);
  /// mask_and_max, then exp_and_sum, of `rows` rows that see the same keys. True, and nothing else means anything, where a seen score is not finite.
  bool (*softmax)(A* u, index_t rows, const seen_keys& seen, A* sums);
  /// into = merge of into and from, row by row.
  void (*merge)(index_t rows, const states<A>& into, const states<A>& from);

  /// x * (1 / sqrt(mean of squares + eps)) * weight.
  void (*norm)(A* x, index_t n, A eps, const A* weight);
  /// Rotates pairs (a[i], b[i]) by (c[i], s[i]); pairs lie `half` apart, or side by side where half is 0.
  void (*rotate)(A* x, index_t pairs, index_t half, const A* c, const A* s);
};

struct kernels {
  operand_kernels<float> f32, f16, bf16;
  operand_kernels<double> f64;
  pair_kernels bf16_pairs;
  row_kernels<float> rows_f32;
  row_kernels<double> rows_f64;
};

/// The table of one instruction set (not isa::automatic), which the CPU must have to run them.
const kernels& kernels_of(isa set);

// Each is one source; kernels_of joins them.
operand_kernels<float> tiles_f32(isa set);
operand_kernels<float> tiles_f16(isa set);
operand_kernels<float> tiles_bf16(isa set);
operand_kernels<double> tiles_f64(isa set);
pair_kernels tiles_bf16_pairs(isa set);
row_kernels<float> row_kernels_f32(isa set);
row_kernels<double> row_kernels_f64(isa set);

/// The accumulator type's part of a table.
template <class A>
const row_kernels<A>& rows_of(const kernels& table) {
  if constexpr (sizeof(A) == 4)
    return table.rows_f32;
  else
    return table.rows_f64;
}
/// Products with operands of `type` (f64 with double accumulators, another with float), or of bf16 in pairs.
template <class A>
const operand_kernels<A>& products_of(const kernels& table, dtype type, bool bf16_pairs) {
  if constexpr (sizeof(A) == 8)
    return table.f64;
  else
    return bf16_pairs ? table.bf16_pairs.products : type == dtype::f16 ? table.f16 : type == dtype::bf16 ? table.bf16 : table.f32;
}

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
