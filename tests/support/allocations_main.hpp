// Replaces operator new and delete of the executable: include in exactly one of its files.
#pragma once
#include <support/allocations.hpp>

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#ifndef RAPT_TEST_THREAD_SANITIZER
namespace rapt_test {

inline void* counted(void* memory) {
  if (!memory) throw std::bad_alloc();
  allocations.live += malloc_usable_size(memory);
  allocations.peak = std::max(allocations.peak, allocations.live);
  return memory;
}
inline void count_call() {
  if (++allocations.calls == allocations.fail_at) throw std::bad_alloc();
}
inline void release(void* memory) noexcept {
  // Memory of another thread lowers this one's count: differences are only read around single-threaded calls.
  if (memory) allocations.live -= malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace rapt_test

void* operator new(std::size_t bytes) {
  rapt_test::count_call();
  return rapt_test::counted(std::malloc(bytes));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  rapt_test::count_call();
  const auto unit = static_cast<std::size_t>(alignment);
  return rapt_test::counted(std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit));
}
// Sanitizers have array forms of their own, which would not come here.
__attribute__((noinline)) void* operator new[](std::size_t bytes) { return operator new(bytes); }
__attribute__((noinline)) void* operator new[](std::size_t bytes, std::align_val_t alignment) { return operator new(bytes, alignment); }
void operator delete[](void* memory) noexcept { rapt_test::release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { rapt_test::release(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { rapt_test::release(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { rapt_test::release(memory); }
void operator delete(void* memory) noexcept { rapt_test::release(memory); }
void operator delete(void* memory, std::size_t) noexcept { rapt_test::release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { rapt_test::release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { rapt_test::release(memory); }
#endif
