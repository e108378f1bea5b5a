// Tiles of rows against one segment: steps 1 to 3 of the contract's order.
#pragma once
#include <cpu/visibility.hpp>

#include <span>

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
  index_t first, last;  // keys of the segment that any of its rows sees: attend_tiles finds them
};

/// The states of all rows over one segment: tile t's at row t * max_tile_rows of `out`. Up to tiles_of_group tiles.
template <class A>
void attend_tiles(const attend_call<A>& call, const sequence_rows& sequence, const key_segment& segment, std::span<query_tile<A>> tiles,
                  const attend_scratch<A>& scratch, const states<A>& out);

extern template void attend_tiles(const attend_call<float>&, const sequence_rows&, const key_segment&, std::span<query_tile<float>>,
                                  const attend_scratch<float>&, const states<float>&);
extern template void attend_tiles(const attend_call<double>&, const sequence_rows&, const key_segment&, std::span<query_tile<double>>,
                                  const attend_scratch<double>&, const states<double>&);

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
