// Bytes that operator new has handed out, counted in the executables that define it (a test file includes allocations_main.hpp once).
#pragma once
#include <cstddef>

#ifdef __SANITIZE_THREAD__
#define RAPT_TEST_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RAPT_TEST_THREAD_SANITIZER
#endif
#endif

namespace rapt_test {
#ifdef RAPT_TEST_THREAD_SANITIZER
constexpr bool counts_new = false;  // ThreadSanitizer brings operator new itself
#else
constexpr bool counts_new = true;
#endif

struct allocation_counts {
  std::size_t live = 0, peak = 0, calls = 0;
  std::size_t fail_at = 0;  ///< the call, counted from 1, that throws std::bad_alloc; 0: none
};
inline thread_local allocation_counts allocations;

/// The most bytes that were live at once while `call` ran, beyond those before it.
template <class Call>
std::size_t peak_bytes_of(Call call) {
  const std::size_t before = allocations.live;
  allocations.peak = before;
  call();
  return allocations.peak - before;
}

}  // namespace rapt_test
