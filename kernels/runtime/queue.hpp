// A stream of a device that knows whether it still works: what a context of the CUDA backend holds.
#pragma once
#include <kernels/runtime/runtime.hpp>
#include <rapt/core/buffer.hpp>

#include <exception>
#include <string>
#include <utility>

namespace rapt {
inline namespace v0 {
namespace runtime {

/// Any host thread may use it, one at a time: every call selects its device. A call that fails throws cuda_error and has changed nothing that the
/// host can see. A failed allocation may be tried again; after any other failure what the device holds is unknown, so that every later call throws
/// too, naming the first. One that was moved from may only be destroyed or assigned to.
class queue {
 public:
  /// `given`: a stream of the caller's, which outlives the queue; null: an own one.
  explicit queue(int device = 0, runtime::stream given = nullptr) : device_(device), stream_(given), owns_stream_(given == nullptr) {
    raise_if(describe_device(device, properties_));
    raise_if(select_device(device));
    if (owns_stream_) raise_if(create_stream(stream_));
  }
  queue(queue&& other) noexcept
      : device_(other.device_),
        properties_(other.properties_),
        stream_(std::exchange(other.stream_, nullptr)),
        owns_stream_(other.owns_stream_),
        failed_(std::move(other.failed_)) {}
  queue& operator=(queue&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(properties_, other.properties_);
    std::swap(stream_, other.stream_);
    std::swap(owns_stream_, other.owns_stream_);
    std::swap(failed_, other.failed_);
    return *this;
  }
  ~queue() {
    if (owns_stream_ && stream_ != nullptr) destroy(stream_);
  }

  const device_properties& properties() const { return properties_; }
  runtime::stream stream() const { return stream_; }

  /// Uninitialised memory of the device.
  buffer allocate(std::size_t bytes) {
    check();
    void* data = nullptr;
    raise_if(runtime::allocate(bytes, data));
    return {static_cast<std::byte*>(data), bytes, [](std::byte* p, std::size_t) { runtime::free(p); }};
  }
  void copy(void* to, const void* from, std::size_t bytes, direction way) {
    check();
    keep(runtime::copy(to, from, bytes, way, stream_));
  }
  void fill(void* to, int byte, std::size_t bytes) {
    check();
    keep(runtime::fill(to, byte, bytes, stream_));
  }
  void synchronize() {
    check();
    keep(runtime::synchronize(stream_));
  }

  /// f(stream) launches kernels. What it throws is kept, for the next call to throw; after a failure f is not called.
  template <class F>
  void run(F f) noexcept {
    if (failed_) return;
    try {
      check();
      f(stream_);
    } catch (const std::exception& e) { failed_ = {errc::cuda, e.what()}; }
  }

  /// Throws where a call has failed before; else the device is selected.
  void check() const {
    if (failed_) raise(errc::cuda, "an earlier call has failed: " + failed_.message);
    raise_if(select_device(device_));
  }

 private:
  void keep(failure found) {
    if (!found) return;
    failed_ = std::move(found);
    raise_if(failed_);
  }

  int device_;
  device_properties properties_;
  runtime::stream stream_ = nullptr;
  bool owns_stream_ = true;
  failure failed_;
};

}  // namespace runtime
}  // namespace v0
}  // namespace rapt
