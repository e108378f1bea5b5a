// Rows picked by an index list: to[i] = from[index[i]], as for the last rows of a ragged step's sequences, whose logits are wanted.
//
// A thread copies four units of up to 16 bytes, a block's width apart, so that as many loads are on their way. Bound: the device's copy rate over
// 2 * rows * row_bytes. Test: tests/kernels/gather_test.cpp.
#pragma once
#include <kernels/copy_unit.hpp>
#include <kernels/simt/simt.hpp>
#include <rapt/core/error.hpp>
#include <rapt/core/index.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int gather_threads = 256, gather_thread_units = 4, gather_block_units = gather_threads * gather_thread_units;

template <class Unit>
RAPT_KERNEL(gather_threads, 1)
gather_units(const Unit* from, Unit* to, const index_t* indices, index_t num_units, index_t row_units) {
  const index_t first = static_cast<index_t>(simt::block_idx().x) * gather_block_units + simt::thread_idx();
  // Each loop's loads do not wait for one another; beyond the last unit it is that one again.
  index_t places[gather_thread_units];
  RAPT_UNROLL for (int u = 0; u < gather_thread_units; ++u) {
    const index_t i = first + u * gather_threads < num_units ? first + u * gather_threads : num_units - 1, row = i / row_units;
    places[u] = indices[row] * row_units + i - row * row_units;
  }
  Unit units[gather_thread_units];
  RAPT_UNROLL for (int u = 0; u < gather_thread_units; ++u) units[u] = from[places[u]];
  RAPT_UNROLL for (int u = 0; u < gather_thread_units; ++u) if (const index_t i = first + u * gather_threads; i < num_units) to[i] = units[u];
}

/// from [.., row_bytes], to [rows, row_bytes], indices [rows] of rows of `from`, in device memory. Any alignment; the largest common one up to 16
/// bytes decides the speed. Throws shape_error before anything is launched.
inline void gather_rows(const void* from, void* to, const index_t* indices, index_t rows, index_t row_bytes, simt::stream stream) {
  if (rows < 0 || row_bytes < 0) raise(errc::shape, "gather_rows: rows or row_bytes is negative");
  if (rows == 0 || row_bytes == 0) return;
  if (from == nullptr || to == nullptr || indices == nullptr) raise(errc::shape, "gather_rows: a pointer is null");
  const auto common = reinterpret_cast<std::uintptr_t>(from) | reinterpret_cast<std::uintptr_t>(to) | static_cast<std::uintptr_t>(row_bytes);
  with_copy_unit(common, [&](auto unit) {
    using unit_type = decltype(unit);
    constexpr index_t bytes = sizeof(unit_type);
    const index_t num_units = rows * row_bytes / bytes;
    simt::launch<simt::no_storage>(gather_units<unit_type>, {static_cast<unsigned>(ceil_div(num_units, gather_block_units))}, gather_threads, stream,
                                   static_cast<const unit_type*>(from), static_cast<unit_type*>(to), indices, num_units, row_bytes / bytes);
  });
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
