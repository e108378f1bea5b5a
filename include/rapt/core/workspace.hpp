// Scratch memory of one call: handed out piece by piece from one block, or only counted.
#pragma once
#include <rapt/core/index.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {

/// An arena over memory that somebody else owns. In measuring mode it owns nothing, returns null and counts: the code that lays out a call's
/// scratch is also the code that says how much it needs, so the two can not disagree.
class workspace {
 public:
  /// Measures.
  workspace() = default;
  workspace(std::byte* data, std::size_t bytes) : data_(data), capacity_(bytes), measuring_(false) {}

  bool measuring() const { return measuring_; }
  /// The most bytes that were out at one time.
  std::size_t peak_bytes() const { return peak_; }

  /// `count` uninitialised elements, 64-byte aligned. Past the end of the block is a defect of the library: nullptr, caught by the caller's tests.
  template <class T>
  T* take(index_t count) {
    const std::size_t bytes = static_cast<std::size_t>(round_up(count * static_cast<index_t>(sizeof(T)), alignment));
    const std::size_t begin = used_;
    used_ += bytes;
    peak_ = std::max(peak_, used_);
    if (measuring_ || used_ > capacity_) return nullptr;
    return reinterpret_cast<T*>(data_ + begin);
  }

  /// Gives back, at its end, all that was taken since its start.
  class scope {
   public:
    explicit scope(workspace& of) : of_(of), used_(of.used_) {}
    ~scope() { of_.used_ = used_; }
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;

   private:
    workspace& of_;
    std::size_t used_;
  };

  static constexpr index_t alignment = 64;

 private:
  std::byte* data_ = nullptr;
  std::size_t capacity_ = 0, used_ = 0, peak_ = 0;
  bool measuring_ = true;
};

}  // namespace v0
}  // namespace rapt
