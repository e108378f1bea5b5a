// Host memory where a backend's calls find it.
#pragma once
#include <rapt/core/backend.hpp>

#include <span>
#include <vector>

namespace rapt_test {

/// A copy of host memory in a backend's, for the CPU that memory itself: specialised in cpu_placement.hpp and cuda_placement.hpp. `put` returns its
/// address, `fetch` brings back what is there once the backend has done all that it was given.
template <class Backend>
class placement;

/// Elements for a call, or of one.
template <class T, class Backend>
class placed_vector {
 public:
  placed_vector(typename Backend::context& ctx, std::vector<T> values) : values_(std::move(values)), place_(ctx) {}
  T* data() { return reinterpret_cast<T*>(place_.put(bytes())); }
  std::vector<T>& fetch() {
    place_.fetch(bytes());
    return values_;
  }

 private:
  std::span<std::byte> bytes() { return std::as_writable_bytes(std::span(values_)); }
  std::vector<T> values_;
  placement<Backend> place_;
};

}  // namespace rapt_test
