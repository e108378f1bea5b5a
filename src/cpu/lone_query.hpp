// Attention of sequences that bring one query each and have few keys: decoding short sequences, and small models.
#pragma once
#include <cpu/attend_call.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {

/// Whether queries of this call may go the short way if they are alone and their keys are one segment.
template <class A>
bool serves_lone_queries(const attend_call<A>& c) {
  const attend_params& p = c.p;
  const bool seen_by_index = p.mask.kind == mask_kind::none && !(c.has_window && c.key_positions != nullptr);
  return c.in_place && !c.pairs && c.group_size <= max_tile_rows && seen_by_index && !c.changes_scores && p.lse.data == nullptr &&
         p.sink_logits == nullptr && p.dropout_p == 0;
}

/// KV heads of a sequence that are taken together, step by step: what one head waits for is done for the others meanwhile. Their rows at the most.
constexpr index_t max_lone_rows = 16;
static_assert(max_lone_rows >= max_tile_rows);
template <class A>
index_t lone_heads(const attend_call<A>& c) {
  return std::min(c.stored_heads, max_lone_rows / tile_rows_for(c.group_size));
}

template <class A>
struct lone_query_scratch {
  A* queries;  // [KV heads][head_dim][tile rows]
  A* wide;     // [tile rows][head_dim]
  A* scores;   // [KV heads][tile rows][score_stride]
  A* acc;      // [KV heads][tile rows][value_stride]
  lone_query_scratch(workspace& from, const attend_call<A>& c, index_t num_kv_heads)
      : queries(from.take<A>(num_kv_heads * tile_rows_for(c.group_size) * c.head_dim)),
        wide(from.take<A>(tile_rows_for(c.group_size) * c.head_dim)),
        scores(from.take<A>(num_kv_heads * tile_rows_for(c.group_size) * score_stride)),
        acc(from.take<A>(num_kv_heads * tile_rows_for(c.group_size) * c.value_stride)) {}
};

/// The outputs of a sequence's only query for the heads of up to lone_heads KV heads. False, and nothing is written, where a score is not finite.
template <class A>
bool attend_lone_query(const attend_call<A>& call, const sequence_rows& sequence, index_t first_kv_head, index_t num_kv_heads,
                       const lone_query_scratch<A>& scratch);

extern template bool attend_lone_query(const attend_call<float>&, const sequence_rows&, index_t, index_t, const lone_query_scratch<float>&);
extern template bool attend_lone_query(const attend_call<double>&, const sequence_rows&, index_t, index_t, const lone_query_scratch<double>&);

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
