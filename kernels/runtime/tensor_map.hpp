// What the copy engine of sm_90 knows of a tensor: made on the host, passed to kernels by value (kernels/simt/tensor_copy.hpp).
#pragma once
#include <rapt/core/error.hpp>

#include <cstddef>
#include <cstdint>

namespace rapt {
inline namespace v0 {
namespace runtime {

/// A tensor of 16-bit elements in device memory and the tiles that are copied of it; dimensions innermost first, which is contiguous.
struct tensor_layout {
  const void* data = nullptr;     ///< aligned to 16 bytes
  int rank = 2;                   ///< 2 to 5
  std::int64_t extents[5] = {};   ///< 1 to 2^32 - 1 each
  std::int64_t strides[4] = {};   ///< elements, of the dimensions from the second on; multiples of 8, below 2^39
  int box[5] = {64, 1, 1, 1, 1};  ///< of a tile: 1 to 256 each, the innermost 64

  constexpr std::int64_t box_bytes() const {
    std::int64_t bytes = 2;
    for (int d = 0; d < rank; ++d) bytes *= box[d];
    return bytes;
  }
};

/// Opaque. Chunks of a tile are exchanged by 128 bytes, beyond the tensor there are zeros.
struct alignas(128) tensor_map {
  std::byte opaque[128];
};

/// Makes a map; says what of the layout is not possible.
[[nodiscard]] failure describe_tensor(const tensor_layout& layout, tensor_map& to);

/// What every implementation of describe_tensor refuses.
[[nodiscard]] failure check_layout(const tensor_layout& layout);

#ifndef __CUDACC__
/// Of a map of the emulated device.
tensor_layout layout_of(const tensor_map& map);
#endif

}  // namespace runtime
}  // namespace v0
}  // namespace rapt
