// What the machine can do at most, measured at the moment of the call.
#pragma once
#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace peers {

inline double seconds_of(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
/// work(thread) on that many threads, which start together; seconds.
inline double seconds_on(int num_threads, const auto& work) {
  std::atomic<int> waiting{num_threads};
  const auto run = [&](int thread) {
    --waiting;
    while (waiting > 0) _mm_pause();
    work(thread);
  };
  std::vector<std::thread> others;
  for (int t = 1; t < num_threads; ++t) others.emplace_back(run, t);
  const double seconds = seconds_of([&] { run(0); });
  const double joined = seconds_of([&] {
    for (std::thread& other : others) other.join();
  });
  return seconds + joined;
}

/// Ten chains of 256-bit FMAs: enough for two units of latency 5. 512-bit ones do as many operations a second on the machines known so far.
__attribute__((target("avx2,fma"))) inline float fma_chains(std::int64_t rounds) {
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  __m256 c0 = a, c1 = a, c2 = a, c3 = a, c4 = a, c5 = a, c6 = a, c7 = a, c8 = a, c9 = a;
  for (std::int64_t r = 0; r < rounds; ++r) {
    // In one piece, or a compiler would keep some of them in memory.
    asm volatile(
        "vfmadd132ps %10, %11, %0\n vfmadd132ps %10, %11, %1\n vfmadd132ps %10, %11, %2\n vfmadd132ps %10, %11, %3\n vfmadd132ps %10, %11, %4\n"
        "vfmadd132ps %10, %11, %5\n vfmadd132ps %10, %11, %6\n vfmadd132ps %10, %11, %7\n vfmadd132ps %10, %11, %8\n vfmadd132ps %10, %11, %9"
        : "+x"(c0), "+x"(c1), "+x"(c2), "+x"(c3), "+x"(c4), "+x"(c5), "+x"(c6), "+x"(c7), "+x"(c8), "+x"(c9)
        : "x"(a), "x"(b));
  }
  const __m256 sum = _mm256_add_ps(_mm256_add_ps(_mm256_add_ps(c0, c1), _mm256_add_ps(c2, c3)),
                                   _mm256_add_ps(_mm256_add_ps(c4, c5), _mm256_add_ps(_mm256_add_ps(c6, c7), _mm256_add_ps(c8, c9))));
  return _mm256_cvtss_f32(sum);
}
inline double fma_peak(int num_threads) {
  constexpr std::int64_t rounds = 4'000'000;
  std::atomic<float> sink{0};
  const double seconds = seconds_on(num_threads, [&](int) { sink = sink + fma_chains(rounds); });
  return static_cast<double>(rounds) * 10 * 8 * 2 * num_threads / seconds;
}

/// Sums of 1 GiB, which no cache holds.
__attribute__((target("avx2"))) inline std::uint64_t sum_of(const std::uint64_t* from, std::size_t n) {
  __m256i sum[8] = {};
  for (std::size_t i = 0; i + 32 <= n; i += 32) {
    for (std::size_t v = 0; v < 8; ++v) sum[v] = _mm256_add_epi64(sum[v], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i + 4 * v)));
  }
  __m256i all = sum[0];
  for (int v = 1; v < 8; ++v) all = _mm256_xor_si256(all, sum[v]);
  return static_cast<std::uint64_t>(_mm256_extract_epi64(all, 0));
}
inline double read_rate(int num_threads) {
  constexpr std::size_t bytes = std::size_t{1} << 30, words = bytes / 8;
  static const std::uint64_t* const buffer = [] {
    void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(memory, bytes, MADV_HUGEPAGE);
    std::fill_n(static_cast<std::uint64_t*>(memory), words, 1);
    return static_cast<const std::uint64_t*>(memory);
  }();
  const std::size_t part = words / static_cast<std::size_t>(num_threads);
  std::atomic<std::uint64_t> sink{0};
  const double seconds = seconds_on(num_threads, [&](int t) { sink += sum_of(buffer + part * static_cast<std::size_t>(t), part); });
  return static_cast<double>(bytes) / seconds;
}

}  // namespace peers
