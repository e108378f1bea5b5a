// How the library runs work on threads: a pool of its own, or the program's.
#pragma once
#include <rapt/core/index.hpp>

#include <memory>

namespace rapt {
inline namespace v0 {

/// Somebody's threads, type-erased. run(self, n, task, arg) calls task(arg, i) once for each i in [0, n), on any threads, in any order, and returns
/// when all have returned. The library calls it with n <= num_workers, never from inside a task. `self` must outlive every context that uses it.
struct executor {
  void* self = nullptr;
  int num_workers = 1;
  void (*run)(void* self, index_t n, void (*task)(void* arg, index_t i), void* arg) = nullptr;
};

/// Threads that wait for work with low latency. Where threads can not be created the work runs serially; after fork() the child makes its own.
class RAPT_API thread_pool {
 public:
  /// num_threads counts the calling thread; 0 means all processors that this process may use.
  explicit thread_pool(int num_threads);
  ~thread_pool();
  thread_pool(thread_pool&&) noexcept;
  thread_pool& operator=(thread_pool&&) noexcept;
  executor get() const;

 private:
  class impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace v0
}  // namespace rapt
