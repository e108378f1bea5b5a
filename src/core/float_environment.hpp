// The processor's floating-point mode while the library computes.
#pragma once
#include <xmmintrin.h>

namespace rapt {
inline namespace v0 {

/// Round to nearest, subnormals kept, exceptions masked; the thread's own mode and flags come back at the end. At the entry of every operation and of
/// every task: a program's threads may flush to zero or round otherwise.
class float_environment {
 public:
  float_environment() : callers_(_mm_getcsr()) { _mm_setcsr(0x1f80); }
  ~float_environment() { _mm_setcsr(callers_); }
  float_environment(const float_environment&) = delete;
  float_environment& operator=(const float_environment&) = delete;

 private:
  unsigned callers_;
};

}  // namespace v0
}  // namespace rapt
