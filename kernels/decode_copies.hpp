// What a block of decode works on: its rows and segment, and the copies of its keys and values.
#pragma once
#include <kernels/decode_tile.hpp>
#include <kernels/scores.hpp>
#include <kernels/simt/cp_async.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Blocks that share a multiprocessor of Hopper: what one does between its copies hides behind those of others. Deep: one has it to itself.
template <int Dim, bool Deep>
constexpr int decode_blocks = Deep         ? 1
                              : Dim == 64  ? 4
                              : Dim <= 128 ? 3
                                           : 2;
/// Stages of 64 rows each, as many as their shared memory holds.
template <int Dim, bool Deep>
constexpr int decode_stages = (Deep         ? 128
                               : Dim == 64  ? 32
                               : Dim <= 128 ? 48
                                            : 80) *
                              1024 / (decode_keys * Dim * 2);

template <class T, int Dim, bool Deep>
struct decode_stages_of {
  alignas(256) T rows[decode_stages<Dim, Deep>][decode_keys * Dim];
};

/// A block's rows, and which keys they see.
struct decode_work {
  int sequence_idx, kv_head, first_row, num_rows;  // rows of the sequence and KV head: query * group_size + head of the group
  int group_size;
  key_range keys;  ///< those that some row sees
  int first_segment, num_segments, segment;

  /// A row beyond the last one is that one again, and is not written.
  RAPT_DEVICE int row(int i) const { return first_row + (i < num_rows ? i : num_rows - 1); }
  RAPT_DEVICE int query(int i) const { return row(i) / group_size; }
  RAPT_DEVICE int head(int i) const { return kv_head * group_size + row(i) % group_size; }
  RAPT_DEVICE bool has_tile(int tile) const { return tile * decode_keys < keys.last && (tile + 1) * decode_keys > keys.first; }
};

/// Keys that a row sees at most.
template <class T>
RAPT_DEVICE key_range keys_of_row(const attention_problem<T>& p, const sequence& s, const decode_work& w, int i) {
  return ranges_of(p, s, w.query(i)).of(0);
}

/// num_segments is 0 where there is nothing to do. A tile of rows that see no key has one segment, which is empty.
template <class T>
RAPT_DEVICE decode_work decode_work_of(const attention_problem<T>& p, const sequence& s, int sequence_idx, int head_and_tile, int split) {
  decode_work w{};
  w.sequence_idx = sequence_idx, w.group_size = p.num_heads / p.num_kv_heads;
  w.kv_head = head_and_tile % p.num_kv_heads, w.first_row = head_and_tile / p.num_kv_heads * decode_rows;
  w.num_rows = s.q_len * w.group_size - w.first_row;
  if (w.num_rows <= 0) return w;
  if (w.num_rows > decode_rows) w.num_rows = decode_rows;
  w.keys = keys_of_row(p, s, w, static_cast<int>(simt::lane_idx() % decode_rows));
  for (unsigned lanes = 1; lanes < decode_rows; lanes *= 2) {
    const int first = simt::shuffle_xor(w.keys.first, lanes), last = simt::shuffle_xor(w.keys.last, lanes);
    w.keys = {first < w.keys.first ? first : w.keys.first, last > w.keys.last ? last : w.keys.last};
  }
  if (w.keys.first >= w.keys.last) w.keys = {0, 0};
  w.first_segment = w.keys.first / static_cast<int>(segment_len);
  const int end = (w.keys.last + static_cast<int>(segment_len) - 1) / static_cast<int>(segment_len);
  w.num_segments = end > w.first_segment ? end - w.first_segment : 1;
  w.segment = w.first_segment + split;
  return w;
}

/// Of a launch; what lies by whole chunks of 16 bytes, or pairs of elements, and is copied so. Without General all of it does.
struct decode_options {
  score_constants scores;
  bool q_by_chunks, k_by_chunks, v_by_chunks, out_by_pairs;
};

/// 8 elements, of which those from `count` on are zeros.
template <bool General, class T>
RAPT_DEVICE void copy_chunk(T* to, const T* from, int count, bool by_chunks) {
  if (!General || by_chunks)
    simt::copy_async_16(simt::shared_address(to), from, count > 0);
  else
    *reinterpret_cast<eight_elements*>(to) = gather(from, count);
}
/// The 16 queries: one share of every thread.
template <bool General, class T, int Dim>
RAPT_DEVICE void start_queries(T* q, const attention_problem<T>& p, const decode_options& o, const sequence& s, const decode_work& w) {
  constexpr int chunks = Dim / 8;
  for (int i = static_cast<int>(simt::thread_idx()); i < decode_rows * chunks; i += decode_threads) {
    const int row = i / chunks, chunk = i % chunks;
    copy_chunk<General>(q + chunk_offset<Dim>(static_cast<unsigned>(row), static_cast<unsigned>(chunk)) / 2,
                        p.q.at(w.sequence_idx, s.first_row + w.query(row), w.head(row)) + chunk * 8, p.head_dim - chunk * 8, o.q_by_chunks);
  }
}

/// The copies of a block: in what order, and from where. Lanes of a warp hold the segment's part of the page table: at most 32 entries, because pages
/// have at least 16 tokens.
template <bool General, class T, int Dim, bool Deep>
class decode_copies {
 public:
  static constexpr int score_steps = 2 * 4, steps = score_steps + decode_segment_tiles, stages = decode_stages<Dim, Deep>;

  RAPT_DEVICE decode_copies(decode_stages_of<T, Dim, Deep>& to, const attention_problem<T>& p, const decode_options& o, const sequence& s,
                            const decode_work& w)
      : to_(to), p_(p), o_(o), s_(s), w_(w), first_tile_(w.segment * decode_segment_tiles) {
    if (p.page_table == nullptr) return;
    first_page_ = w.segment * static_cast<int>(segment_len) / p.page_len;
    const int page = first_page_ + static_cast<int>(simt::lane_idx());
    page_ = page * p.page_len < s.kv_len ? p.page_table[s.first_key + page] : 0;
  }

  /// What a warp copies at a step: 16 keys of a tile of its own, or 16 values of one that all warps share.
  RAPT_DEVICE void start(int step) const {
    if (step < score_steps)
      copy(p_.k, p_.head_dim, o_.k_by_chunks, own_tile(step), step % 4, step);
    else if (step < steps)
      copy(p_.v, p_.value_dim, o_.v_by_chunks, step - score_steps, static_cast<int>(simt::warp_idx()), step);
    simt::commit_copies();
  }
  /// Waits for this thread's copies of a step, given that `start` has come as far as step + stages - 2.
  RAPT_DEVICE void wait() const { simt::wait_for_copies<stages - 2>(); }

  /// The tile of the segment whose scores the warp computes at this step.
  RAPT_DEVICE int own_tile(int step) const { return static_cast<int>(simt::warp_idx()) + step / 4 * decode_warps; }
  RAPT_DEVICE T* keys(int step) const { return to_.rows[step % stages] + simt::warp_idx() * decode_copied_rows * Dim; }
  RAPT_DEVICE const T* values(int step) const { return to_.rows[step % stages]; }

 private:
  static constexpr int chunks = Dim / 8;

  RAPT_DEVICE void copy(const heads_view<const T>& view, int dim, bool by_chunks, int tile, int sixteenth, int step) const {
    // Lanes take `side` chunks of several rows at once.
    constexpr int side = chunks % 32 == 0 ? 32 : chunks % 16 == 0 ? 16 : chunks % 8 == 0 ? 8 : 4, rows_at_once = 32 / side;
    if (!w_.has_tile(first_tile_ + tile)) return;
    const int lane = static_cast<int>(simt::recomputed(simt::lane_idx())), row = lane / side, column = lane % side * 8;
    const int first = (first_tile_ + tile) * decode_keys + sixteenth * decode_copied_rows;
    const T* from = at(view, first) + row * view.row_stride + column;
    T* const to = keys(step);
    RAPT_UNROLL for (int r = 0; r < decode_copied_rows; r += rows_at_once) {
      RAPT_UNROLL for (int c = 0; c < chunks; c += side)
          copy_chunk<General>(to + chunk_offset<Dim>(static_cast<unsigned>(row + r), static_cast<unsigned>(lane % side + c)) / 2, from + c * 8,
                              first + row + r < s_.kv_len ? dim - column - c * 8 : 0, by_chunks);
      from += rows_at_once * view.row_stride;
    }
  }
  /// Key `key`, a multiple of 16, and with it the 15 that follow, which are in the same page.
  RAPT_DEVICE const T* at(const heads_view<const T>& view, int key) const {
    if (p_.page_table == nullptr) return view.at(w_.sequence_idx, s_.first_key + key, w_.kv_head);
    const int page = key / p_.page_len;
    return view.at(simt::shuffle(page_, static_cast<unsigned>(page - first_page_)), key - page * p_.page_len, w_.kv_head);
  }

  decode_stages_of<T, Dim, Deep>& to_;
  const attention_problem<T>& p_;
  const decode_options& o_;
  const sequence& s_;
  const decode_work& w_;
  int first_tile_, first_page_ = 0;
  std::int32_t page_ = 0;
};

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
