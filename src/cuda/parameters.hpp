// What kernels of a call read of the host's: sent once, and not again while it stays the same, as from layer to layer of a step.
#pragma once
#include <kernels/runtime/queue.hpp>
#include <kernels/write_parameters.hpp>

#include <cstring>
#include <span>
#include <vector>

namespace rapt {
inline namespace v0 {
namespace cuda {

/// Arrays in the device's memory by their contents. Those least recently asked for are written over, in the stream's order.
class parameter_store {
 public:
  /// Where the array lies once flush() has been called; valid until max_arrays others were sent. Elements are a multiple of 4 bytes.
  /// Throws cuda_error.
  template <class T>
  const T* send(std::span<const T> array, runtime::queue& queue, simt::stream stream) {
    static_assert(sizeof(T) % 4 == 0);
    return reinterpret_cast<const T*>(send_bytes(std::as_bytes(array), queue, stream));
  }
  void flush(simt::stream stream) { writer_.flush(stream); }

 private:
  static constexpr std::size_t max_arrays = 32, min_bytes = 1024;

  struct held_array {
    std::vector<std::byte> bytes;
    buffer memory;
    std::uint64_t last_use = 0;
  };

  const std::byte* send_bytes(std::span<const std::byte> bytes, runtime::queue& queue, simt::stream stream) {
    held_array* oldest = nullptr;
    for (held_array& held : arrays_) {
      if (held.bytes.size() == bytes.size() && std::memcmp(held.bytes.data(), bytes.data(), bytes.size()) == 0) {
        held.last_use = ++uses_;
        return held.memory.data();
      }
      if (oldest == nullptr || held.last_use < oldest->last_use) oldest = &held;
    }
    if (arrays_.size() < max_arrays) oldest = &arrays_.emplace_back();
    if (oldest->memory.bytes() < bytes.size()) {
      std::size_t room = std::max(oldest->memory.bytes(), min_bytes);
      while (room < bytes.size()) room *= 2;
      oldest->bytes.clear();  // it holds nothing, should this throw
      oldest->memory = queue.allocate(room);
      oldest->bytes.reserve(room);
    }
    oldest->bytes.assign(bytes.begin(), bytes.end());
    oldest->last_use = ++uses_;
    writer_.write(oldest->memory.data(), bytes.data(), static_cast<index_t>(bytes.size()), stream);
    return oldest->memory.data();
  }

  std::vector<held_array> arrays_;
  kernels::parameter_writer writer_;
  std::uint64_t uses_ = 0;
};

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
