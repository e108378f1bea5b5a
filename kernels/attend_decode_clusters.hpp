// The launch of decode by clusters: for devices that have them.
#pragma once
#include <kernels/attend_decode.hpp>
#include <kernels/decode_clusters.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Whether attend_decode_by_clusters does: there are few segments, and decode's plain instantiation would do. A function of shapes, addresses and
/// strides.
template <class T>
bool serves_clusters(const attention_problem<T>& p, const decode_limits& limits) {
  return decode_sizes_of(p, limits).column_parts > 1 && !needs_general_decode(p, decode_options_of(p));
}

/// attend_decode, with its bits, where serves_clusters.
template <class T>
void attend_decode_by_clusters(const attention_problem<T>& p, const decode_limits& limits, const decode_memory& memory, simt::stream stream) {
  decode_launch l(p, limits, memory);
  if (l.is_empty()) return;
  l.workspace.column_parts = cluster_blocks;
  l.grid.x *= cluster_blocks;
  with_decode_dim(p, [&](auto dim) {
    constexpr int width = decltype(dim)::value;
    simt::launch_clusters<cluster_storage<T, width>>(decode_by_clusters<T, width>, cluster_blocks, l.grid, decode_threads, stream, p,
                                                     decode_options_of(p), l.workspace);
  });
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
