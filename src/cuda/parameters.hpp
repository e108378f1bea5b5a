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

/// Arrays in the device's memory, known by their contents. A new one takes the smallest place that has room, of these the one that was not asked for
/// longest, in the stream's order.
class parameter_store {
 public:
  /// Throws cuda_error.
  explicit parameter_store(runtime::queue& queue) : memory_(queue.allocate((max_arrays - large_arrays) * small_bytes + large_arrays * large_bytes)) {
    std::byte* place = memory_.data();
    for (std::size_t i = 0; i < max_arrays; ++i) {
      arrays_[i].place = place, arrays_[i].room = i < large_arrays ? large_bytes : small_bytes;
      arrays_[i].bytes.reserve(arrays_[i].room);
      place += arrays_[i].room;
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
  /// More than an operation sends; most are small. A large one has the page tables of sequences of 16,384 pages together.
  static constexpr std::size_t max_arrays = 16, large_arrays = 4, small_bytes = 4096, large_bytes = 64 << 10;

  struct held_array {
    std::vector<std::byte> bytes;
    std::byte* place = nullptr;
    std::size_t room = 0;
    buffer own;  ///< where `memory_` has no room
    std::uint64_t last_use = 0;
  };

  const std::byte* send_bytes(std::span<const std::byte> bytes, runtime::queue& queue) {
    const auto serves_better = [&](const held_array& a, const held_array& b) {
      const bool a_fits = a.room >= bytes.size(), b_fits = b.room >= bytes.size();
      if (a_fits != b_fits) return a_fits;
      return a_fits && a.room != b.room ? a.room < b.room : a.last_use < b.last_use;
    };
    held_array* to = nullptr;
    for (held_array& held : arrays_) {
      if (held.bytes.size() == bytes.size() && held.last_use > 0 && std::memcmp(held.bytes.data(), bytes.data(), bytes.size()) == 0) {
        held.last_use = ++uses_;
        return held.place;
      }
      if (held.last_use < first_use_ && (to == nullptr || serves_better(held, *to))) to = &held;
    }
    if (to == nullptr) raise(errc::capacity, "cuda: an operation sends more than " + std::to_string(max_arrays) + " arrays");
    if (to->room < bytes.size()) {
      to->last_use = 0;  // it holds nothing, should this throw
      const std::size_t room = std::max(bytes.size(), 2 * to->room);
      to->bytes.reserve(room);
      to->own = queue.allocate(room);
      to->place = to->own.data(), to->room = room;
    }
    to->bytes.assign(bytes.begin(), bytes.end());
    to->last_use = ++uses_;
    writer_.write(to->place, bytes.data(), static_cast<index_t>(bytes.size()), queue.stream());
    return to->place;
  }

  buffer memory_;
  std::array<held_array, max_arrays> arrays_;
  kernels::parameter_writer writer_;
  std::uint64_t uses_ = 0, first_use_ = 1;
};

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
