// Elements between two tensors of any strides: what makes operands contiguous for kernels that need them so.
//
// A thread copies one element, its neighbour the next of the last dimension. Bound: the device's copy rate where that dimension is contiguous.
// Test: tests/kernels/copy_elements_test.cpp.
#pragma once
#include <kernels/copy_unit.hpp>
#include <kernels/simt/simt.hpp>
#include <rapt/core/index.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int copy_elements_threads = 256;

/// [batch, len, heads, dim], strides in elements.
struct strided_elements {
  void* data = nullptr;
  index_t batch_stride = 0, len_stride = 0, head_stride = 0, dim_stride = 1;
};
struct element_extents {
  index_t batch = 1, len = 1, heads = 1, dim = 1;
  index_t count() const { return batch * len * heads * dim; }
};

template <class Unit>
RAPT_KERNEL(copy_elements_threads, 1)
copy_units(strided_elements from, strided_elements to, element_extents extents, index_t count) {
  const index_t i = static_cast<index_t>(simt::block_idx().x) * copy_elements_threads + simt::thread_idx();
  if (i >= count) return;
  const index_t d = i % extents.dim, h = i / extents.dim % extents.heads, row = i / (extents.dim * extents.heads);
  const index_t l = row % extents.len, b = row / extents.len;
  const auto offset = [&](const strided_elements& x) { return b * x.batch_stride + l * x.len_stride + h * x.head_stride + d * x.dim_stride; };
  static_cast<Unit*>(to.data)[offset(to)] = static_cast<const Unit*>(from.data)[offset(from)];
}

/// Elements of `size` bytes, 2, 4 or 8.
inline void copy_elements(const strided_elements& from, const strided_elements& to, const element_extents& extents, index_t size,
                          simt::stream stream) {
  if (extents.count() == 0) return;
  with_copy_unit(static_cast<std::uint64_t>(size), [&](auto unit) {
    simt::launch<simt::no_storage>(copy_units<decltype(unit)>, {static_cast<unsigned>(ceil_div(extents.count(), copy_elements_threads))},
                                   copy_elements_threads, stream, from, to, extents, extents.count());
  });
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
