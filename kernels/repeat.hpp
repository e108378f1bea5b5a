// Head replication as a copy: each KV head once for every query head of its group, in the order of repeat_interleave.
//
// Attention never needs it, because a query head finds its KV head by index. It is a utility for kernels that know no groups, and the yardstick of
// what such a copy costs: read once, written group_size times, by 16 bytes a thread. Bound: the device's copy rate over rows * row_bytes * (1 +
// group_size). Test: tests/kernels/repeat_test.cpp.
#pragma once
#include <kernels/copy_unit.hpp>
#include <kernels/simt/simt.hpp>
#include <rapt/core/index.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int repeat_threads = 256, repeat_thread_units = 4, repeat_block_units = repeat_threads * repeat_thread_units;

/// A thread copies four units, repeat_threads apart: so many loads are on their way at once. Row r of `from` becomes rows r * group_size ... of `to`.
template <class Unit>
RAPT_KERNEL(repeat_threads, 1)
repeat_units(const Unit* from, Unit* to, index_t num_units, index_t row_units, int group_size) {
  const index_t first = static_cast<index_t>(simt::block_idx().x) * repeat_block_units + simt::thread_idx();
  Unit units[repeat_thread_units];
  RAPT_UNROLL for (int u = 0; u < repeat_thread_units; ++u) if (const index_t i = first + u * repeat_threads; i < num_units) units[u] = from[i];
  RAPT_UNROLL for (int u = 0; u < repeat_thread_units; ++u) {
    const index_t i = first + u * repeat_threads;
    if (i >= num_units) return;
    const index_t row = i / row_units;
    Unit* copy = to + row * (group_size - 1) * row_units + i;
    for (int g = 0; g < group_size; ++g, copy += row_units) *copy = units[u];
  }
}

/// from [rows, row_bytes], where a row is one KV head of one token, to [rows, group_size, row_bytes]; any alignment, the largest common one up to 16
/// bytes decides the speed.
inline void repeat_heads(const void* from, void* to, index_t rows, index_t row_bytes, int group_size, simt::stream stream) {
  if (rows == 0 || row_bytes == 0 || group_size == 0) return;
  const auto common = reinterpret_cast<std::uintptr_t>(from) | reinterpret_cast<std::uintptr_t>(to) | static_cast<std::uintptr_t>(row_bytes);
  with_copy_unit(common, [&](auto unit) {
    using unit_type = decltype(unit);
    constexpr index_t bytes = sizeof(unit_type);
    const index_t num_units = rows * row_bytes / bytes;
    simt::launch<simt::no_storage>(repeat_units<unit_type>, {static_cast<unsigned>(ceil_div(num_units, repeat_block_units))}, repeat_threads, stream,
                                   static_cast<const unit_type*>(from), static_cast<unit_type*>(to), num_units, row_bytes / bytes, group_size);
  });
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
