#include <cpu/key_segment.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {
namespace {

/// Keys of bf16 that lie as words, [16][head_dim], to [head_dim][16].
template <class A>
void pack_words(const attend_call<A>& c, const A* const* rows, index_t count, index_t lane, const attend_scratch<A>& scratch, std::byte* to) {
  c.rows.transpose(rows, count, c.query_words(), scratch.lanes + lane, lane_group);
  if constexpr (sizeof(A) == 4) c.pair.split_words(scratch.lanes, c.query_words(), to);
}

template <class A>
void pack_strided_keys(const attend_call<A>& c, const sequence_rows& s, index_t kv_head, index_t start, index_t first, index_t last,
                       const attend_scratch<A>& scratch) {
  const operand& k = c.p.k;
  const bool words = c.pairs && lies_as_words(k), in_place = words || lies_as<A>(k);
  const std::byte* const base = byte_at(k.data, s.kv_batch * k.batch_stride + kv_head * k.head_stride + start * k.len_stride, k.type);
  for (index_t j = first; j < last;) {
    const index_t lane = j % lane_group, count = std::min(lane_group - lane, last - j);
    const A* rows[lane_group];
    for (index_t i = 0; i < count; ++i) {
      const std::byte* const from = byte_at(base, (j + i) * k.len_stride, k.type);
      A* const wide = scratch.wide + i * c.head_dim;
      if (!in_place) c.rows.load(from, k.type, k.dim_stride, c.head_dim, wide);
      rows[i] = in_place ? reinterpret_cast<const A*>(from) : wide;
    }
    std::byte* const group = byte_at(scratch.keys, (j - lane) * c.head_dim, c.operand_type);
    j += count;
    if (words) {
      pack_words(c, rows, count, lane, scratch, group);
      continue;
    }
    A* const lanes = c.pairs ? scratch.lanes : reinterpret_cast<A*>(group);
    c.rows.transpose(rows, count, c.head_dim, lanes + lane, lane_group);
    if (c.pairs) c.rows.store(lanes, A{1}, lane_group * c.head_dim, group, c.operand_type, 1);
  }
}

/// As row_kernels::spread, to scratch_keys.
void spread_bf16(const std::byte* row, index_t n, std::byte* to) {
  constexpr index_t group_bytes = lane_group * size_of(dtype::bf16);
  for (index_t left = n * size_of(dtype::bf16); left > 0; left -= group_bytes, row += group_bytes, to += scratch_keys * group_bytes)
    std::memcpy(to, row, static_cast<std::size_t>(std::min(left, group_bytes)));
}

template <class A>
void load_strided(const attend_call<A>& c, const sequence_rows& s, index_t kv_head, index_t first, index_t last, const attend_scratch<A>& scratch,
                  key_segment& segment) {
  const operand& v = c.p.v;
  pack_strided_keys(c, s, kv_head, segment.start, first, last, scratch);
  segment.runs[0] = {scratch.keys, scratch.values, 0, 0, last};
  segment.num_runs = 1;
  const bool in_place = v.type == c.operand_type && v.dim_stride == 1;
  const std::byte* const base = byte_at(v.data, s.kv_batch * v.batch_stride + kv_head * v.head_stride + segment.start * v.len_stride, v.type);
  for (index_t j = first; j < last; ++j) {
    const std::byte* from = byte_at(base, j * v.len_stride, v.type);
    if (!in_place) {
      c.rows.load(from, v.type, v.dim_stride, c.value_dim, scratch.wide);
      from = reinterpret_cast<const std::byte*>(scratch.wide);
      if (c.pairs) {
        c.rows.store(scratch.wide, A{1}, c.value_dim, scratch.narrow, c.operand_type, 1);
        from = reinterpret_cast<const std::byte*>(scratch.narrow);
      }
    }
    std::byte* const to = byte_at(scratch.values, segment.layout.offset(j, 0), c.operand_type);
    if (c.pairs)
      spread_bf16(from, c.value_dim, to);
    else
      c.rows.spread(reinterpret_cast<const A*>(from), c.value_dim, reinterpret_cast<A*>(to), scratch_keys * lane_group);
  }
}

template <class A>
void load_packed(const attend_call<A>& c, const sequence_rows& s, index_t kv_head, index_t first, index_t last, const attend_scratch<A>& scratch,
                 key_segment& segment) {
  const packed_kv& kv = c.p.kv;
  const index_t size = size_of(kv.type);
  segment.num_runs = 0;
  segment.next_keys = nullptr;
  if (const index_t next = segment.start + segment_len; c.in_place && next < s.kv_len)
    each_page_piece(kv, s, next, 0, lane_group, [&](index_t page, index_t slot, index_t, index_t) {
      segment.next_keys = kv.base + page * kv.page_bytes + kv_head * kv.head_bytes + slot * c.head_dim * size;
    });
  each_page_piece(kv, s, segment.start, first / lane_group * lane_group, last, [&](index_t page, index_t slot, index_t begin, index_t count) {
    const std::byte* const head = kv.base + page * kv.page_bytes + kv_head * kv.head_bytes;
    const std::byte* const keys = head + slot * c.head_dim * size;
    const std::byte* const values = head + kv.value_offset;
    key_run& run = segment.runs[segment.num_runs++];
    if (c.in_place) {
      run = {keys, values, slot, begin, count};
      return;
    }
    std::byte* const wide_keys = byte_at(scratch.keys, begin * c.head_dim, c.operand_type);
    c.rows.load(keys, kv.type, 1, round_up(count, lane_group) * c.head_dim, reinterpret_cast<A*>(wide_keys));
    const value_layout from = kv.values();
    for (index_t done = 0, n; done < count; done += n) {
      n = std::min(count - done, from.keys_of(from.block_of(slot + done)) - (slot + done) % from.block);
      for (index_t column = 0; column < c.value_stride; column += lane_group)
        c.rows.load(values + from.offset(slot + done, column) * size, kv.type, 1, n * lane_group,
                    reinterpret_cast<A*>(scratch.values) + segment.layout.offset(begin + done, column));
    }
    run = {wide_keys, scratch.values, begin, begin, count};
  });
}

template <class A>
void load_positions(const attend_call<A>& c, const sequence_rows& s, index_t first, index_t last, index_t* scratch, key_segment& segment) {
  segment.positions = nullptr;
  if (c.key_positions == nullptr || !(c.has_window || c.p.alibi_slopes != nullptr)) return;
  if (!c.p.kv.present()) {
    segment.positions = c.key_positions + segment.start;
  } else {
    each_page_piece(c.p.kv, s, segment.start, first / lane_group * lane_group, last, [&](index_t page, index_t slot, index_t begin, index_t count) {
      std::copy_n(c.key_positions + page * c.p.kv.position_stride + slot, count, scratch + begin);
    });
    segment.positions = scratch;
  }
  const auto [low, high] = std::minmax_element(segment.positions + first, segment.positions + last);
  segment.min_position = *low, segment.max_position = *high;
}

}  // namespace

template <class A>
void load_segment(const attend_call<A>& call, const sequence_rows& sequence, index_t kv_head, index_t segment_idx, index_t first, index_t last,
                  const attend_scratch<A>& scratch, key_segment& segment) {
  segment.start = segment_idx * segment_len;
  segment.layout = call.in_place ? call.p.kv.values() : value_layout{scratch_keys, scratch_keys, call.value_stride};
  if (call.p.kv.present())
    load_packed(call, sequence, kv_head, first, last, scratch, segment);
  else
    load_strided(call, sequence, kv_head, first, last, scratch, segment);
  load_positions(call, sequence, first, last, scratch.positions, segment);
}

template void load_segment(const attend_call<float>&, const sequence_rows&, index_t, index_t, index_t, index_t, const attend_scratch<float>&,
                           key_segment&);
template void load_segment(const attend_call<double>&, const sequence_rows&, index_t, index_t, index_t, index_t, const attend_scratch<double>&,
                           key_segment&);

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
