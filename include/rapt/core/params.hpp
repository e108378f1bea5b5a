// One trivially copyable parameter block for each operation of a backend. ops/ fills and validates them; a backend trusts them.
// Pointers are in the backend's memory space unless a comment says host. Where nothing is said, null means: not used.
#pragma once
#include <rapt/core/dtype.hpp>

#include <algorithm>
#include <span>

namespace rapt {
inline namespace v0 {

/// [batch, len, heads, dim]; strides in elements, any non-negative value. Row r of a call is (r / len, r % len).
struct operand {
  void* data = nullptr;
  dtype type = dtype::f32;
  index_t batch = 1, len = 0, heads = 1, dim = 0;
  index_t batch_stride = 0, len_stride = 0, head_stride = 0, dim_stride = 1;

  constexpr index_t rows() const { return batch * len; }
  /// Elements from data to (row, head, 0).
  constexpr index_t offset(index_t row, index_t head) const { return row / len * batch_stride + row % len * len_stride + head * head_stride; }
};

/// Keys in a block of packed values: sums stay in registers for so many, and 4 KiB of float columns are read in one piece.
constexpr index_t value_block = 64;

/// Values in blocks of up to `block` keys, [columns / 16][keys of the block][16]: a column group of a block is read in the order of addresses, and
/// the next one follows it. The last block holds what is left of `len` keys.
struct value_layout {
  index_t block, len, columns;  ///< columns: a multiple of 16

  index_t block_of(index_t key) const { return key / block; }
  index_t keys_of(index_t block_idx) const { return std::min(block, len - block_idx * block); }
  /// Elements from the first value to column `column`, a multiple of 16, of a key; the other columns of its group follow.
  index_t offset(index_t key, index_t column) const {
    const index_t b = block_of(key);
    return b * block * columns + column * keys_of(b) + key % block * lane_group;
  }
};

/// Keys and values as kernels read them. A page holds, for each head, its keys, then, value_offset bytes further, its values; what lies past the end
/// may be anything. On the CPU: keys [page_len / 16][head_dim][16], and values as value_layout says. On a device: rows, keys [page_len][head_dim] and
/// values [page_len][value_dim].
struct packed_kv {
  std::byte* base = nullptr;
  dtype type = dtype::f32;
  index_t num_heads = 0;  ///< stored heads: num_kv_heads, or 1 that serves all
  index_t head_dim = 0, value_dim = 0;
  index_t page_len = 0;  ///< tokens, a multiple of 16
  index_t page_bytes = 0, head_bytes = 0, value_offset = 0;
  /// Position of slot i of page p: positions[p * position_stride + i], written by the cache before the call; null: every position is the key's index.
  /// Host memory.
  const index_t* positions = nullptr;
  index_t position_stride = 0;

  /// A layout without base is present too: what measures needs no memory.
  bool present() const { return page_len != 0; }
  index_t value_stride() const { return round_up(value_dim, lane_group); }
  value_layout values() const { return {value_block, page_len, value_stride()}; }
};

/// Rows of one sequence in a call: `num_rows` rows from row `first_row` of the operands.
struct sequence_rows {
  index_t first_row = 0, num_rows = 0;
  const std::int32_t* pages = nullptr;  ///< packed keys: the page of each page_len tokens; null: page kv_batch holds all. Host memory.
  index_t kv_batch = 0;                 ///< strided keys: their batch row; packed keys without a table: their page
  index_t kv_len = 0;                   ///< keys that exist (attend), or exist before the append
  index_t visible_len = 0;              ///< keys at or past it are hidden (kv_lens)
  index_t first_position = 0;           ///< position of the first row where `positions` is null
  const index_t* positions = nullptr;   ///< [num_rows]. Host memory.
  index_t mask_batch = 0;               ///< this sequence's row of the mask's batch dimension
  index_t mask_row = 0;                 ///< the mask's row of its first row
  index_t mask_key = 0;                 ///< the mask's key column that belongs to key `mask_first_key`
  index_t mask_first_key = 0;           ///< keys before it are not masked by the mask (an append masks only its own rows)
  index_t dropout_sequence = 0;         ///< number of the sequence in the dropout counter
};

enum class mask_kind : std::uint8_t { none, boolean, additive };
/// [batch, heads, rows, keys]; a stride of 0 broadcasts. boolean: true = visible. additive: f32, or f64 with double accumulation.
struct mask_operand {
  mask_kind kind = mask_kind::none;
  const void* data = nullptr;
  index_t batch_stride = 0, head_stride = 0, row_stride = 0, key_stride = 1;
};

constexpr index_t no_window = -1;
/// The largest explicit position: the distance of two positions, and window sides beside them, never overflow.
constexpr index_t max_position = index_t{1} << 62;

struct attend_params {
  dtype accumulator = dtype::f32;            ///< f64 or f32
  operand q;                                 ///< [.., num_heads, head_dim], rotated, not scaled; any floating type
  operand out;                               ///< [.., num_heads, value_dim]; rounded once to its type
  operand lse;                               ///< heads and dim swapped in: offset(row, head) addresses one accumulator; data null: not wanted
  const sequence_rows* sequences = nullptr;  ///< [num_sequences]. Host memory.
  index_t num_sequences = 0;
  packed_kv kv;                          ///< used where present(),
  operand k = {}, v = {};                ///< else these: [kv_batch, kv_len, stored heads, dim] strided
  const index_t* k_positions = nullptr;  ///< strided keys: [kv_len], one for all sequences; null: index. Host memory.
  index_t num_kv_heads = 1;              ///< query head h reads kv head h / (num_heads / num_kv_heads), or the only stored one
  double softmax_scale = 1;
  double softcap = 0;                                         ///< 0: none
  const double* alibi_slopes = nullptr;                       ///< [num_heads]. Host memory.
  const double* sink_logits = nullptr;                        ///< [num_heads], exact in the accumulator's type. Host memory.
  index_t window_left = no_window, window_right = no_window;  ///< causal: window_right = 0
  mask_operand mask;
  double dropout_p = 0;  ///< acts where > 0
  std::uint64_t dropout_seed = 0, dropout_offset = 0;
  bool bf16_pairs = false;    ///< cpu-bf16dot-v1: scaled queries and probabilities are rounded to bf16; q, keys and values are bf16 or come from it
  bool tensor_cores = false;  ///< uses_tensor_cores: q, keys, values and out are f16, or bf16
  bool wgmma = false;         ///< uses_wgmma
  bool tf32 = false;          ///< uses_tf32: accumulators are float
};

/// A matrix [depth, columns] as kernels read it: [ceil(columns / 16)][depth][16]. type is f32, f16 or bf16 with float accumulation, f64 with double.
struct packed_matrix {
  const void* data = nullptr;
  dtype type = dtype::f32;
  index_t depth = 0, columns = 0;
  const void* bias = nullptr;  ///< accumulators, [round_up(columns, 16)]

  index_t elements() const { return round_up(columns, lane_group) * depth; }
};

/// out[r, c] = sum over k of x[r, k] * weights[k, c] (+ bias[c]) (+ residual[r, c]), rounded once to out's type. Several outputs share one x.
struct project_params {
  struct target {
    packed_matrix weights;
    operand out;  ///< columns = heads * dim, column c is (c / dim, c % dim)
  };
  dtype accumulator = dtype::f32;
  operand x;                        ///< depth = heads * dim; any floating type
  std::span<const target> targets;  ///< up to 3. Host memory.
  operand residual;                 ///< like targets[0].out; data null: none
  bool bf16_pairs = false;          ///< cpu-bf16dot-v1: x and weights are bf16
  bool tensor_cores = false;        ///< uses_tensor_cores: x and weights are f16, or bf16; out is float or that
  bool wgmma = false;               ///< uses_wgmma
  bool cublaslt = false;            ///< uses_cublaslt
};

struct norm_params {
  const void* weight = nullptr;  ///< accumulators, [head_dim]; null: no norm
  double eps = 0;
};
struct rope_params {
  index_t dim = 0;                              ///< the first `dim` entries of each head are rotated; 0: none
  bool interleaved = false;                     ///< pairs (2i, 2i + 1) instead of (i, i + dim / 2)
  const double* inverse_frequencies = nullptr;  ///< [dim / 2]. Host memory.
  double attention_factor = 1;                  ///< multiplies cos and sin (YaRN)
};

/// x = rope(norm(x)); x holds accumulators.
struct rotate_params {
  dtype accumulator = dtype::f32;
  operand x;
  norm_params norm;
  rope_params rope;
  const sequence_rows* sequences = nullptr;  ///< first_row, num_rows, first_position, positions are read. Host memory.
  index_t num_sequences = 0;
  operand out = {};  ///< where the result goes, rounded once to its type; dim 0: to x. On a device only
};

/// Writes rows at index kv_len.. of each sequence, rounded once to kv.type, keys after norm and rope; k and v stay as they are. Queries of the same
/// rows, where there are some, become rope(norm(q)).
struct append_params {
  dtype accumulator = dtype::f32;
  operand k, v;  ///< [.., stored heads, dim]; any floating type; rope and norm need accumulators
  norm_params norm;
  rope_params rope;
  packed_kv kv;
  const sequence_rows* sequences = nullptr;  ///< Host memory.
  index_t num_sequences = 0;
  operand q = {}, q_out = {};  ///< as x and out of rotate_params; q dim 0: no queries
  norm_params q_norm = {};
};

/// Keys and values of one sequence between the packed layout and canonical rows k [count, stored heads, head_dim], v [count, stored heads, value_dim]
/// in the same type: bits move, nothing is rounded.
struct transfer_params {
  packed_kv kv;
  const std::int32_t* pages = nullptr;  ///< null: page kv_batch holds all. Host memory.
  index_t kv_batch = 0;
  index_t first = 0, count = 0;
  void* k = nullptr;  ///< null: keys are not moved
  void* v = nullptr;  ///< null: values are not moved
};

/// Weights between any strided [depth, heads, dim] of any floating type and a packed matrix; columns = heads * dim.
struct pack_params {
  operand source;    ///< rows() = depth; (unpack writes it)
  packed_matrix to;  ///< data is written
  index_t first_column = 0;
};

/// Two partial results of one query over disjoint keys become one: out [.., heads, dim], lse one accumulator per (row, head).
struct merge_params {
  dtype accumulator = dtype::f32;
  operand a, a_lse, b, b_lse, out, out_lse;
};

}  // namespace v0
}  // namespace rapt
