// Owned memory of a backend: where it is and how it is freed, nothing else.
#pragma once
#include <rapt/core/index.hpp>

#include <utility>

namespace rapt {
inline namespace v0 {

/// Move-only bytes, at least 64-byte aligned, uninitialised. Made by a backend's allocate(), or lent: then freeing does nothing.
class buffer {
 public:
  using free_function = void (*)(std::byte* data, std::size_t bytes);

  buffer() = default;
  buffer(std::byte* data, std::size_t bytes, free_function free) : data_(data), bytes_(bytes), free_(free) {}
  buffer(buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)), free_(std::exchange(other.free_, nullptr)) {}
  buffer& operator=(buffer&& other) noexcept {
    buffer taken(std::move(other));
    std::swap(data_, taken.data_);
    std::swap(bytes_, taken.bytes_);
    std::swap(free_, taken.free_);
    return *this;
  }
  ~buffer() {
    if (free_) free_(data_, bytes_);
  }

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  free_function free_ = nullptr;
};

}  // namespace v0
}  // namespace rapt
