// The processor's floating-point mode while the library computes.
#pragma once
#include <xmmintrin.h>

namespace rapt {
inline namespace v0 {

/// Round to nearest, subnormals kept, exceptions masked; the thread's own mode and flags come back at the end. At the entry of every operation and of
/// every task: a program's threads may flush to zero or round otherwise.
class float_environment {
 public:
  float_environment() : callers_(_mm_getcsr()) {
    if ((callers_ | sticky_flags) != (wanted | sticky_flags)) _mm_setcsr(wanted);  // writing takes as long as thirty other instructions
  }
  ~float_environment() { _mm_setcsr(callers_); }
  float_environment(const float_environment&) = delete;
  float_environment& operator=(const float_environment&) = delete;

 private:
  static constexpr unsigned wanted = 0x1f80, sticky_flags = 0x3f;
  unsigned callers_;
};

}  // namespace v0
}  // namespace rapt
