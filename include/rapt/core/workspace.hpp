// Scratch memory of one call: handed out piece by piece from one block, or only counted.
#pragma once
#include <rapt/core/index.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {

/// An arena over memory that somebody else owns. Past the end of that memory it measures: it returns null and counts, so that the code that lays out
/// a call's scratch is also the code that says how much it needs, and the two can not disagree. Operations take all their scratch and then do nothing
/// if it measures.
class workspace {
 public:
  /// Measures from the start.
  workspace() = default;
  workspace(std::byte* data, std::size_t bytes) : data_(data), capacity_(static_cast<index_t>(bytes)) {}

  /// True from the first piece on that did not fit.
  bool measuring() const { return peak_ > capacity_; }
  /// Bytes that are out now.
  std::size_t used_bytes() const { return static_cast<std::size_t>(used_); }
  /// The most bytes that were out at one time.
  std::size_t peak_bytes() const { return static_cast<std::size_t>(peak_); }

  /// `count` uninitialised elements, 64-byte aligned; null where it measures.
  template <class T>
  T* take(index_t count) {
    const index_t begin = used_;
    used_ += round_up(count * static_cast<index_t>(sizeof(T)), alignment);
    peak_ = std::max(peak_, used_);
    return measuring() ? nullptr : reinterpret_cast<T*>(data_ + begin);
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
    index_t used_;
  };

  static constexpr index_t alignment = 64;

 private:
  std::byte* data_ = nullptr;
  index_t capacity_ = -1, used_ = 0, peak_ = 0;  // bytes; peak_ is above capacity_ where it measures
};

/// Runs operations, `call(workspace&)`, in the workspace that the context has; where that ends too soon, from their beginning in one that is large
/// enough. The operation that did not fit and those after it have done nothing before. Throws what the context kept of an operation that failed.
template <class Context, class Call>
void run_in_workspace(Context& ctx, const Call& call) {
  workspace scratch = ctx.begin_call(0);
  call(scratch);
  if (scratch.measuring()) {
    scratch = ctx.begin_call(scratch.peak_bytes());
    call(scratch);
  }
  ctx.check();
}

}  // namespace v0
}  // namespace rapt
