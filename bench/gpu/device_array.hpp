// Memory of the device that kernels read and write; the emulated one where the emulator runs them.
#pragma once
#include <kernels/runtime/runtime.hpp>

#include <vector>

namespace rapt_bench {

/// On the default stream.
template <class T>
class device_array {
 public:
  /// Every byte is 0xff.
  explicit device_array(std::size_t size) : size_(size) {
    void* data = nullptr;
    rapt::raise_if(rapt::runtime::allocate(bytes(), data));
    data_ = static_cast<T*>(data);
    rapt::raise_if(rapt::runtime::fill(data_, 0xff, bytes(), nullptr));
  }
  explicit device_array(const std::vector<T>& from) : device_array(from.size()) {
    rapt::raise_if(rapt::runtime::copy(data_, from.data(), bytes(), rapt::runtime::direction::to_device, nullptr));
  }
  device_array(const device_array&) = delete;
  device_array& operator=(const device_array&) = delete;
  ~device_array() { rapt::runtime::free(data_); }

  T* data() { return data_; }
  /// After all launches so far.
  std::vector<T> download() const {
    std::vector<T> to(size_);
    rapt::raise_if(rapt::runtime::copy(to.data(), data_, bytes(), rapt::runtime::direction::to_host, nullptr));
    rapt::raise_if(rapt::runtime::synchronize(rapt::runtime::stream{}));
    return to;
  }

 private:
  std::size_t bytes() const { return size_ * sizeof(T); }

  T* data_ = nullptr;
  std::size_t size_;
};

}  // namespace rapt_bench
