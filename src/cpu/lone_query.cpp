// The heads of a group are the rows of one tile, and all see the same keys: nothing is asked row by row, no state is kept or merged. With a few keys
// a head is a chain of short steps, each of which waits for the one before; so each step is taken for several KV heads. Kernels and order are those
// of attend_tile.cpp and give the same bits; what they can not do here (masks, scores that are changed or not finite, sinks, lse) goes the long way.
// Bound: the rate at which keys and values are read; with a few keys, what a KV head costs beside them. Test: tests/cpu/attend_test.cpp.
#include <cpu/lone_query.hpp>
#include <cpu/rotary.hpp>
#include <cpu/visibility.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {

template <class A>
bool attend_lone_query(const attend_call<A>& c, const sequence_rows& s, index_t first_kv_head, index_t num_kv_heads, const lone_query_scratch<A>& w) {
  const operand &q = c.p.q, &out = c.p.out;
  const packed_kv& kv = c.p.kv;
  const int tile_rows = tile_rows_for(c.group_size);
  const index_t first_head = first_kv_head * c.group_size, size = size_of(kv.type);
  query_row row{0, first_head, position_of(s, 0), 0, 0};
  limit_keys(c.p, c.key_positions == nullptr, s, row);
  const seen_keys seen{row.first, row.last, nullptr};

  const bool walks = seen.last > lane_group;  // fewer keys are not worth asking for ahead
  A sum[max_lone_rows];
  // Rows that pad a tile stand between those of two heads, or nowhere.
  const index_t together = tile_rows == c.group_size ? num_kv_heads : 1;
  std::memset(w.acc, 0, static_cast<std::size_t>(num_kv_heads * tile_rows * c.value_stride) * sizeof(A));
  if (seen.empty()) {
    std::fill_n(sum, max_lone_rows, A{1});
  } else {
    // Calls f(first byte of the first head in its page, slot, first key, keys).
    const auto each_piece = [&](const auto& f) {
      each_page_piece(kv, s, 0, seen.first / lane_group * lane_group, seen.last, [&](index_t page, index_t slot, index_t first, index_t count) {
        f(kv.base + page * kv.page_bytes + first_kv_head * kv.head_bytes, slot, first, count);
      });
    };
    const index_t first_query = q.offset(s.first_row, first_head);
    if (c.group_size == 1 && lies_as<A>(q) && q.head_stride == c.head_dim)  // side by side, as their tiles are
      c.rows.scale_query(reinterpret_cast<const A*>(byte_at(q.data, first_query, q.type)), num_kv_heads * c.head_dim, c.scale.high, c.scale.low,
                         w.queries);
    else
      for (index_t h = 0; h < num_kv_heads; ++h)
        pack_queries(c, c.group_size, w.queries + h * tile_rows * c.head_dim, w.wide, static_cast<bf16*>(nullptr),
                     [&](index_t i) { return byte_at(q.data, first_query + (h * c.group_size + i) * q.head_stride, q.type); });
    const index_t head_elements = kv.head_bytes / size;
    each_piece([&](const std::byte* head, index_t slot, index_t first, index_t count) {
      const std::byte* const keys = head + slot * c.head_dim * size;
      for (index_t d = 0; d < c.head_dim; d += score_block)
        c.operand.dot(tile_rows, {w.queries + d * tile_rows,
                                  keys + d * lane_group * size,
                                  c.head_dim * lane_group,
                                  std::min(score_block, c.head_dim - d),
                                  ceil_div(count, lane_group),
                                  w.scores + first,
                                  score_stride,
                                  d > 0,
                                  walks,
                                  nullptr,
                                  {num_kv_heads, tile_rows * c.head_dim, head_elements, tile_rows * score_stride}});
    });
    for (index_t h = 0; h < num_kv_heads; h += together)
      if (c.rows.softmax(w.scores + h * tile_rows * score_stride, together * c.group_size, seen, sum + h * tile_rows)) return false;
    each_piece([&](const std::byte* head, index_t slot, index_t first, index_t count) {
      const index_t hidden = std::max<index_t>(0, seen.first - first);
      c.operand.values(tile_rows, {w.scores + first + hidden,
                                   head + kv.value_offset,
                                   kv.values(),
                                   slot + hidden,
                                   count - hidden,
                                   w.acc,
                                   walks,
                                   nullptr,
                                   {num_kv_heads, tile_rows * score_stride, head_elements, tile_rows * c.value_stride}});
    });
  }
  const index_t first_out = out.offset(s.first_row, first_head);
  for (index_t h = 0; h < num_kv_heads; h += together)
    c.rows.store_rows(w.acc + h * tile_rows * c.value_stride, c.value_stride, sum + h * tile_rows, together * c.group_size, c.value_dim,
                      byte_at(out.data, first_out + h * c.group_size * out.head_stride, out.type), out.type, out.head_stride, out.dim_stride);
  return true;
}

template bool attend_lone_query(const attend_call<float>&, const sequence_rows&, index_t, index_t, const lone_query_scratch<float>&);
template bool attend_lone_query(const attend_call<double>&, const sequence_rows&, index_t, index_t, const lone_query_scratch<double>&);

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
