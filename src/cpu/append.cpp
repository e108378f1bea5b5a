// Keys and values into the packed layout: norm and rotation of keys in accumulators, then one rounding to the stored type.
//
// A unit is up to 64 keys of one sequence, cut at multiples of 64 of the key's index, so that no two workers share a lane group; all stored heads of
// a row share one set of angles. Queries are rotate's. Keys are transposed to [head_dim][16] in scratch and rounded on the way out, values gathered
// as [16 columns][keys]. One key that needs neither is stored for all heads at once. Lanes that no key owns are left as they are; columns past
// value_dim may take what scratch held. Bound: reading the rows and writing the cache, and the angles' cos and sin.
// Test: tests/cpu/rotate_test.cpp, tests/contract/append_model_test.cpp.
#include <cpu/rotary.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {
namespace {
constexpr index_t unit_keys = 64;

template <class A>
struct append_scratch {
  A* c;  // [16][rope.dim / 2], as s
  A* s;
  A* rows;            // [16][head_dim]: the keys of one lane group
  A* lanes;           // [head_dim][16]
  std::byte* narrow;  // the same, rounded
  A* value;           // [value_stride]
  A* columns;         // [value_stride / 16][16][16]: the values of one lane group
  append_scratch(workspace& from, const append_params& p)
      : c(from.take<A>(lane_group * p.rope.dim / 2)),
        s(from.take<A>(lane_group * p.rope.dim / 2)),
        rows(from.take<A>(lane_group * p.kv.head_dim)),
        lanes(from.take<A>(lane_group * p.kv.head_dim)),
        narrow(from.take<std::byte>(lane_group * p.kv.head_dim * size_of(p.kv.type))),
        value(from.take<A>(p.kv.value_stride())),
        columns(from.take<A>(lane_group * p.kv.value_stride())) {}
};

index_t units_of(const sequence_rows& s) { return s.num_rows == 0 ? 0 : ceil_div(s.kv_len + s.num_rows, unit_keys) - s.kv_len / unit_keys; }

template <class A>
class appender {
 public:
  appender(context& ctx, const append_params& p)
      : ctx_(ctx),
        p_(p),
        rows_(rows_of<A>(*ctx.internals().table)),
        keys_as_they_lie_(lies_as<A>(p.k) && p.norm.weight == nullptr && p.rope.dim == 0),
        values_as_they_lie_(lies_as<A>(p.v)) {}

  void run(workspace& scratch) const {
    index_t num_units = 0, num_rows = 0;
    for (index_t i = 0; i < p_.num_sequences; ++i) num_units += units_of(p_.sequences[i]), num_rows += p_.sequences[i].num_rows;
    const index_t num_workers =
        workers_for(ctx_, num_units, num_rows * (p_.kv.num_heads * (p_.kv.head_dim + p_.kv.value_dim) * 4 + p_.rope.dim * 100));
    const worker_scratch workers(scratch, num_workers, [&](workspace& from) { return append_scratch<A>(from, p_); });
    if (scratch.measuring()) return;
    for_each_unit(ctx_, workers, num_workers, num_units, [&](const append_scratch<A>& own, index_t unit) {
      const sequence_rows* s = p_.sequences;
      for (; unit >= units_of(*s); ++s) unit -= units_of(*s);
      const index_t begin = (s->kv_len / unit_keys + unit) * unit_keys;
      const index_t first = std::max(s->kv_len, begin), last = std::min(s->kv_len + s->num_rows, begin + unit_keys);
      for (index_t index = first; index < last;) {
        const index_t count = std::min(lane_group - index % lane_group, last - index);
        append_group(*s, index, count, own);
        index += count;
      }
    });
  }

 private:
  /// Keys [index, index + count), all in one lane group.
  void append_group(const sequence_rows& s, index_t index, index_t count, const append_scratch<A>& own) const {
    const packed_kv& kv = p_.kv;
    const index_t size = size_of(kv.type), pairs = p_.rope.dim / 2, lane = index % lane_group, first = index - s.kv_len;
    const index_t page = s.pages != nullptr ? s.pages[index / kv.page_len] : s.kv_batch, slot = s.pages != nullptr ? index % kv.page_len : index;
    if (pairs > 0)
      for (index_t i = 0; i < count; ++i) rope_angles(p_.rope, position_of(s, first + i), own.c + i * pairs, own.s + i * pairs);
    index_t first_key[lane_group], first_value[lane_group];  // of the rows' head 0, in elements
    for (index_t i = 0; i < count; ++i) {
      first_key[i] = p_.k.offset(s.first_row + first + i, 0);
      first_value[i] = p_.v.offset(s.first_row + first + i, 0);
    }
    const value_layout values = kv.values();
    std::byte* const head = kv.base + page * kv.page_bytes;
    std::byte* const to_key = head + ((slot - lane) * kv.head_dim + lane) * size;
    std::byte* const to_value = head + kv.value_offset + values.offset(slot, 0) * size;
    const index_t column_bytes = values.keys_of(values.block_of(slot)) * size;
    if (count == 1 && keys_as_they_lie_ && values_as_they_lie_ && kv.type == dtype_of<A>) {
      const index_t head_stride = kv.head_bytes / size;
      const auto from = [&](const operand& o, index_t first) { return static_cast<const A*>(o.data) + first; };
      rows_.store_lanes(from(p_.k, first_key[0]), p_.k.head_stride, kv.num_heads, kv.head_dim, reinterpret_cast<A*>(to_key) - lane, head_stride,
                        lane);
      rows_.store_panels(from(p_.v, first_value[0]), p_.v.head_stride, kv.num_heads, kv.value_dim, reinterpret_cast<A*>(to_value), head_stride,
                         lane_group * column_bytes / size);
      return;
    }
    for (index_t h = 0; h < kv.num_heads; ++h) {
      const A* keys[lane_group];
      for (index_t i = 0; i < count; ++i) {
        const std::byte* const from = byte_at(p_.k.data, first_key[i] + h * p_.k.head_stride, p_.k.type);
        keys[i] = reinterpret_cast<const A*>(from);
        if (keys_as_they_lie_) continue;
        A* const key = own.rows + i * kv.head_dim;
        rows_.load(from, p_.k.type, p_.k.dim_stride, kv.head_dim, key);
        norm_and_rotate(rows_, p_.norm, p_.rope, kv.head_dim, key, own.c + i * pairs, own.s + i * pairs);
        keys[i] = key;
      }
      std::byte* const group = to_key + h * kv.head_bytes;
      if (count == 1) {
        rows_.store(keys[0], A{1}, kv.head_dim, group, kv.type, lane_group);
      } else {
        rows_.transpose(keys, count, kv.head_dim, own.lanes, lane_group);
        if (count == lane_group) {
          rows_.store(own.lanes, A{1}, lane_group * kv.head_dim, group, kv.type, 1);
        } else {
          // Other lanes hold other keys. Lanes past count are whatever scratch held: rounded and not copied.
          rows_.store(own.lanes, A{1}, lane_group * kv.head_dim, own.narrow, kv.type, 1);
          for (index_t d = 0; d < kv.head_dim; ++d)
            std::memcpy(group + d * lane_group * size, own.narrow + d * lane_group * size, static_cast<std::size_t>(count * size));
        }
      }
      const A* value = own.value;
      for (index_t i = 0; i < count; ++i) {
        const std::byte* const from = byte_at(p_.v.data, first_value[i] + h * p_.v.head_stride, p_.v.type);
        if (values_as_they_lie_)
          value = reinterpret_cast<const A*>(from);
        else
          rows_.load(from, p_.v.type, p_.v.dim_stride, kv.value_dim, own.value);
        if (count > 1) rows_.spread(value, kv.value_dim, own.columns + i * lane_group, lane_group * lane_group);
      }
      for (index_t column = 0; column < kv.value_dim; column += lane_group) {
        const A* const from = count > 1 ? own.columns + column * lane_group : value + column;
        const index_t n = count > 1 ? count * lane_group : std::min(lane_group, kv.value_dim - column);
        rows_.store(from, A{1}, n, to_value + h * kv.head_bytes + column * column_bytes, kv.type, 1);
      }
    }
  }

  context& ctx_;
  const append_params& p_;
  const row_kernels<A>& rows_;
  bool keys_as_they_lie_, values_as_they_lie_;  // rows are read where they are, not from scratch
};
}  // namespace

void backend::append(context& ctx, const append_params& params, workspace& scratch) noexcept {
  const float_environment environment;
  if (params.q.dim > 0 && (params.q_norm.weight != nullptr || params.rope.dim > 0))
    rotate(ctx, {params.accumulator, params.q, params.q_norm, params.rope, params.sequences, params.num_sequences}, scratch);
  const workspace::scope scope(scratch);
  with_accumulator(params.accumulator, [&](auto a) { appender<decltype(a)>(ctx, params).run(scratch); });
}

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
