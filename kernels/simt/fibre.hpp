// A stack of its own to run on, and the switch between two of them: what an emulated thread is.
#pragma once
#include <cstddef>
#include <memory>

namespace rapt {
inline namespace v0 {
namespace simt {
namespace emulator {

/// Where execution goes on after a switch: a fibre, or the stack of the operating system's thread that began it all (default constructed).
class fibre {
 public:
  fibre() = default;
  fibre(const fibre&) = delete;
  fibre& operator=(const fibre&) = delete;
  ~fibre();

  /// The next switch to this fibre calls `entry`, which must not return, on a fresh stack. What was on the stack before is forgotten, not destroyed.
  void start(void (*entry)());
  /// Goes on in `to`; returns when somebody switches back to this fibre, which is the running one.
  void switch_to(fibre& to);
  /// The first thing that `entry` does.
  static void entered();

 private:
  void forget();  // to ThreadSanitizer
  std::unique_ptr<std::byte[]> stack_;
  void* stack_pointer_ = nullptr;
  // AddressSanitizer's view of the stack. The thread's own is learned when a fibre is first entered from it.
  void* shadow_ = nullptr;
  const void* bottom_ = nullptr;
  std::size_t size_ = 0;
  [[maybe_unused]] void* tsan_fibre_ = nullptr;  // what ThreadSanitizer knows it by; only those that were started own theirs
};

// For ThreadSanitizer; without it these do nothing.

/// What a fibre does before `release` has happened before what another one does after `acquire` of the same address.
void release(const void* address);
void acquire(const void* address);

/// While it lives, what this fibre reads and writes is not looked at; `looked_at` is the exception within it.
class unseen {
 public:
  unseen();
  unseen(const unseen&) = delete;
  unseen& operator=(const unseen&) = delete;
  ~unseen();
};
class looked_at {
 public:
  looked_at();
  looked_at(const looked_at&) = delete;
  looked_at& operator=(const looked_at&) = delete;
  ~looked_at();
};

}  // namespace emulator
}  // namespace simt
}  // namespace v0
}  // namespace rapt
