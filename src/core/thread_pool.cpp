// The library's own threads: one fork and join per run(), meant for jobs of a few microseconds. Nothing but the hand-over happens here;
// floating-point modes are the backend's matter.
#include <core/library_thread.hpp>
#include <rapt/core/error.hpp>
#include <rapt/core/executor.hpp>

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

namespace rapt {
inline namespace v0 {
namespace {

int usable_processors() {
  std::vector<cpu_set_t> sets(1);
  // A kernel with more processors than one set holds answers EINVAL until the sets are long enough.
  while (sets.size() <= 64) {
    const std::size_t bytes = sets.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, sets.data()) == 0) return std::max(1, CPU_COUNT_S(bytes, sets.data()));
    sets.resize(2 * sets.size());
  }
  return 1;
}

}  // namespace

class thread_pool::impl {
 public:
  explicit impl(int num_threads) : num_threads_(num_threads), processors_(usable_processors()) {
    if (num_threads < 0) raise(errc::config, "thread_pool: num_threads is " + std::to_string(num_threads) + "; 0 (all processors) or more is needed");
    if (num_threads_ == 0) num_threads_ = processors_;
    start();
  }
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;
  ~impl() {
    if (getpid() != process_) return;  // a forked child: the threads are the parent's
    stop_.store(true, std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
    for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
  }

  int num_workers() const { return static_cast<int>(threads_.size()) + 1; }

  void run(index_t n, void (*task)(void*, index_t), void* arg) {
    if (getpid() != process_) restart_after_fork();
    if (n <= 1 || threads_.empty()) {
      for (index_t i = 0; i < n; ++i) task(arg, i);
      return;
    }
    task_ = task;
    arg_ = arg;
    num_tasks_ = n;
    unfinished_.store(static_cast<std::uint32_t>(n), std::memory_order_relaxed);
    unclaimed_.store(n, std::memory_order_release);
    epoch_.fetch_add(1, std::memory_order_release);
    if (n > static_cast<index_t>(threads_.size()))
      epoch_.notify_all();
    else
      for (index_t i = 1; i < n; ++i) epoch_.notify_one();

    work();
    // Nobody waits for a thread that was too late to claim anything: only claimed tasks count.
    for (int spins = 0;;) {
      const std::uint32_t left = unfinished_.load(std::memory_order_acquire);
      if (left == 0) return;
      if (++spins < spin_limit())
        _mm_pause();
      else
        unfinished_.wait(left, std::memory_order_acquire);
    }
  }

 private:
  // pthreads instead of std::thread: creation that fails is an ordinary result, and a forked child can forget handles whose threads it does not have.
  void start() {
    process_ = getpid();
    threads_.reserve(static_cast<std::size_t>(num_threads_ - 1));
    for (int i = 1; i < num_threads_; ++i) {
      pthread_t thread;
      if (detail::start_library_thread(&thread, &thread_main, this) != 0) break;  // fewer workers, at worst the caller alone, do the same work
      threads_.push_back(thread);
    }
  }

  void restart_after_fork() {
    threads_.clear();
    unclaimed_.store(0, std::memory_order_relaxed);
    start();
  }

  static void* thread_main(void* self) {
    pthread_setname_np(pthread_self(), "rapt");
    auto& pool = *static_cast<impl*>(self);
    for (;;) {
      const std::uint32_t seen = pool.epoch_.load(std::memory_order_acquire);
      if (pool.stop_.load(std::memory_order_relaxed)) return nullptr;
      pool.work();
      for (int spins = 0; spins < pool.spin_limit() && pool.epoch_.load(std::memory_order_acquire) == seen; ++spins) _mm_pause();
      pool.epoch_.wait(seen, std::memory_order_acquire);
    }
  }

  // A claim taken from a job that began meanwhile is as good as any: task and argument are read after it, and run() can not return before it is done.
  void work() {
    for (;;) {
      const index_t claim = unclaimed_.fetch_sub(1, std::memory_order_acq_rel);
      if (claim <= 0) return;
      task_(arg_, num_tasks_ - claim);
      if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
    }
  }

  // A few tens of microseconds: longer than the gaps between the jobs of one layer. Threads that share a processor only take time from each other by
  // it.
  int spin_limit() const { return num_threads_ <= processors_ ? 2000 : 0; }

  int num_threads_;
  const int processors_;
  pid_t process_ = 0;
  std::vector<pthread_t> threads_;
  void (*task_)(void*, index_t) = nullptr;
  void* arg_ = nullptr;
  index_t num_tasks_ = 0;
  std::atomic<bool> stop_{false};
  // Each on its own cache line: waiting threads read one while others write the next. 32 bits are what a futex compares.
  alignas(64) std::atomic<std::uint32_t> epoch_{0};
  alignas(64) std::atomic<index_t> unclaimed_{0};
  alignas(64) std::atomic<std::uint32_t> unfinished_{0};
};

thread_pool::thread_pool(int num_threads) : impl_(std::make_unique<impl>(num_threads)) {}
thread_pool::~thread_pool() = default;
thread_pool::thread_pool(thread_pool&&) noexcept = default;
thread_pool& thread_pool::operator=(thread_pool&&) noexcept = default;

executor thread_pool::get() const {
  return {impl_.get(), impl_->num_workers(),
          [](void* self, index_t n, void (*task)(void* arg, index_t i), void* arg) { static_cast<impl*>(self)->run(n, task, arg); }};
}

}  // namespace v0
}  // namespace rapt
