// What the tests of executors ask of any of them: each task once, all before run() returns, several at one time.
#pragma once
#include <rapt/core/executor.hpp>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

/// Whether tasks 0..n-1 each ran once, and had when run() returned.
inline bool each_runs_once(const rapt::executor& pool, rapt::index_t n) {
  std::vector<std::atomic<int>> runs(static_cast<std::size_t>(n));
  pool.run(
      pool.self, n,
      [](void* arg, rapt::index_t i) {
        (*static_cast<std::vector<std::atomic<int>>*>(arg))[static_cast<std::size_t>(i)].fetch_add(1, std::memory_order_relaxed);
      },
      &runs);
  for (const auto& count : runs)
    if (count.load(std::memory_order_relaxed) != 1) return false;
  return true;
}

/// Tasks that wait for each other; gives up after 20 s.
class meeting {
 public:
  explicit meeting(int expected) : expected_(expected) {}
  bool arrive() {
    ++arrived_;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (arrived_ < expected_ && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    return arrived_ >= expected_;
  }

 private:
  const int expected_;
  std::atomic<int> arrived_{0};
};

/// Whether n tasks run at one time.
inline bool all_meet(const rapt::executor& pool, int n) {
  struct job {
    meeting meet;
    std::atomic<int> met{0};
  } work{meeting(n)};
  pool.run(
      pool.self, n, [](void* arg, rapt::index_t) { static_cast<job*>(arg)->met += static_cast<job*>(arg)->meet.arrive(); }, &work);
  return work.met == n;
}
