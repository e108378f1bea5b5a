// A tile of rows against one segment: steps 1 to 3 of the contract's order.
#pragma once
#include <cpu/visibility.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {

/// Up to max_tile_rows rows; queries are packed and scaled, [head_dim][tile_rows].
template <class A>
struct query_tile {
  const query_row* rows;
  index_t used;
  int tile_rows;
  const A* queries;
};

/// The states of the tile's rows over one segment. walks: the segment is met for the first time.
template <class A>
void attend_tile(const attend_call<A>& call, const sequence_rows& sequence, const key_segment& segment, const query_tile<A>& tile,
                 const attend_scratch<A>& scratch, const states<A>& out, bool walks);

extern template void attend_tile(const attend_call<float>&, const sequence_rows&, const key_segment&, const query_tile<float>&,
                                 const attend_scratch<float>&, const states<float>&, bool);
extern template void attend_tile(const attend_call<double>&, const sequence_rows&, const key_segment&, const query_tile<double>&,
                                 const attend_scratch<double>&, const states<double>&, bool);

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
