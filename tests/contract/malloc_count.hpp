// Counts every allocation of the process, whoever makes it and on whatever thread: malloc and its relatives are replaced (operator new calls malloc).
// Include in one file of an executable. Sanitizers own malloc; there nothing is counted and `counts_malloc` is false.
#pragma once
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#if defined(__clang__)
#include <mm_malloc.h>  // declares posix_memalign without noexcept, which clang takes only before a definition with it
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RAPT_TEST_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define RAPT_TEST_SANITIZED
#endif
#endif

namespace rapt_test {
#ifdef RAPT_TEST_SANITIZED
constexpr bool counts_malloc = false;
#else
constexpr bool counts_malloc = true;
#endif
inline std::atomic<std::size_t> malloc_calls{0};

template <class Call>
std::size_t malloc_calls_of(Call call) {
  const std::size_t before = malloc_calls;
  call();
  return malloc_calls - before;
}
}  // namespace rapt_test

#ifndef RAPT_TEST_SANITIZED
// glibc's own names for what it allocates with.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t bytes) noexcept {
  ++rapt_test::malloc_calls;
  return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) noexcept {
  ++rapt_test::malloc_calls;
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, std::size_t bytes) noexcept {
  ++rapt_test::malloc_calls;
  return __libc_realloc(memory, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
  ++rapt_test::malloc_calls;
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  ++rapt_test::malloc_calls;
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) noexcept {
  ++rapt_test::malloc_calls;
  *memory = __libc_memalign(alignment, bytes);
  return *memory != nullptr || bytes == 0 ? 0 : ENOMEM;
}
}
#endif
