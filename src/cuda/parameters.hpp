// What kernels of a call read of the host's: sent once, and not again while it stays the same, as from layer to layer of a step.
#pragma once
#include <kernels/runtime/queue.hpp>
#include <kernels/write_parameters.hpp>

#include <array>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace rapt {
inline namespace v0 {
namespace cuda {

/// Arrays in the device's memory, known by their contents. A new one takes the place of one that was not asked for longest, in the stream's order.
class parameter_store {
 public:
  /// Throws cuda_error.
  explicit parameter_store(runtime::queue& queue) : small_(queue.allocate(max_arrays * small_bytes)) {
    for (std::size_t i = 0; i < max_arrays; ++i) {
      arrays_[i].place = small_.data() + i * small_bytes, arrays_[i].room = small_bytes;
      arrays_[i].bytes.reserve(small_bytes);
    }
  }

  /// What is sent from now on stays until the next operation begins.
  void begin_operation() { first_use_ = uses_ + 1; }
  /// Where the array lies once flush() has been called. Elements are a multiple of 4 bytes. Throws cuda_error.
  template <class T>
  const T* send(std::span<const T> array, runtime::queue& queue) {
    static_assert(sizeof(T) % 4 == 0);
    return reinterpret_cast<const T*>(send_bytes(std::as_bytes(array), queue));
  }
  void flush(simt::stream stream) { writer_.flush(stream); }

 private:
  /// More than an operation sends; most are small.
  static constexpr std::size_t max_arrays = 16, small_bytes = 4096;

  struct held_array {
    std::vector<std::byte> bytes;
    std::byte* place = nullptr;
    std::size_t room = 0;
    buffer own;  ///< where `small_` has no room
    std::uint64_t last_use = 0;
  };

  const std::byte* send_bytes(std::span<const std::byte> bytes, runtime::queue& queue) {
    held_array* oldest = nullptr;
    for (held_array& held : arrays_) {
      if (held.bytes.size() == bytes.size() && held.last_use > 0 && std::memcmp(held.bytes.data(), bytes.data(), bytes.size()) == 0) {
        held.last_use = ++uses_;
        return held.place;
      }
      if (held.last_use >= first_use_) continue;
      const bool fits = held.room >= bytes.size(), oldest_fits = oldest != nullptr && oldest->room >= bytes.size();
      if (oldest == nullptr || (fits != oldest_fits ? fits : held.last_use < oldest->last_use)) oldest = &held;
    }
    if (oldest == nullptr) raise(errc::capacity, "cuda: an operation sends more than " + std::to_string(max_arrays) + " arrays");
    if (oldest->room < bytes.size()) {
      oldest->last_use = 0;  // it holds nothing, should this throw
      const std::size_t room = std::max(bytes.size(), 2 * oldest->room);
      oldest->bytes.reserve(room);
      oldest->own = queue.allocate(room);
      oldest->place = oldest->own.data(), oldest->room = room;
    }
    oldest->bytes.assign(bytes.begin(), bytes.end());
    oldest->last_use = ++uses_;
    writer_.write(oldest->place, bytes.data(), static_cast<index_t>(bytes.size()), queue.stream());
    return oldest->place;
  }

  buffer small_;
  std::array<held_array, max_arrays> arrays_;
  kernels::parameter_writer writer_;
  std::uint64_t uses_ = 0, first_use_ = 1;
};

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
