// CUDA's calls take memory of the device.
#pragma once
#include <cuda/context_impl.hpp>
#include <support/placement.hpp>

namespace rapt_test {

template <>
class placement<rapt::cuda::backend> {
 public:
  explicit placement(rapt::cuda::context& ctx) : ctx_(&ctx) {}
  /// Copies once.
  std::byte* put(std::span<std::byte> bytes) {
    if (memory_.bytes() == 0 && !bytes.empty()) {
      memory_ = rapt::cuda::backend::allocate(*ctx_, bytes.size());
      ctx_->internals().queue.copy(memory_.data(), bytes.data(), bytes.size(), rapt::runtime::direction::to_device);
    }
    return memory_.data();
  }
  void fetch(std::span<std::byte> bytes) {
    if (memory_.bytes() == 0) return;
    ctx_->internals().queue.copy(bytes.data(), memory_.data(), bytes.size(), rapt::runtime::direction::to_host);
    ctx_->synchronize();
  }

 private:
  rapt::cuda::context* ctx_;
  rapt::buffer memory_;
};

}  // namespace rapt_test
