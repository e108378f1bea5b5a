// Memory that a kernel reads and writes: a device's under nvcc, the host's under the emulator.
#pragma once
#include <kernels/simt/simt.hpp>

#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace rapt_bench {

#ifdef __CUDACC__

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

template <class T>
class device_array {
 public:
  explicit device_array(std::size_t size) : size_(size) {
    check(cudaMalloc(&data_, size * sizeof(T)), "cudaMalloc");
    check(cudaMemset(data_, 0xff, size * sizeof(T)), "cudaMemset");
  }
  explicit device_array(const std::vector<T>& from) : device_array(from.size()) {
    check(cudaMemcpy(data_, from.data(), size_ * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  device_array(const device_array&) = delete;
  device_array& operator=(const device_array&) = delete;
  ~device_array() { cudaFree(data_); }

  T* data() { return data_; }
  std::vector<T> download() const {
    std::vector<T> to(size_);
    check(cudaMemcpy(to.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return to;
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

#else

template <class T>
class device_array {
 public:
  explicit device_array(std::size_t size) : elements_(size) { std::memset(static_cast<void*>(elements_.data()), 0xff, size * sizeof(T)); }
  explicit device_array(std::vector<T> from) : elements_(std::move(from)) {}
  device_array(const device_array&) = delete;
  device_array& operator=(const device_array&) = delete;

  T* data() { return elements_.data(); }
  std::vector<T> download() const { return elements_; }

 private:
  std::vector<T> elements_;
};

#endif

}  // namespace rapt_bench
