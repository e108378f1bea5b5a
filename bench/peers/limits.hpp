// What the machine can do at most, measured at the moment of the call.
#pragma once
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
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
/// Where threads have started on one processor, a limit of several would be that of one.
inline void keep_from_this_processor(std::thread& other) {
  cpu_set_t set;
  if (pthread_getaffinity_np(other.native_handle(), sizeof set, &set) != 0 || CPU_COUNT(&set) < 2) return;
  CPU_CLR(sched_getcpu(), &set);
  pthread_setaffinity_np(other.native_handle(), sizeof set, &set);
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
  for (int t = 1; t < num_threads; ++t) {
    others.emplace_back(run, t);
    keep_from_this_processor(others.back());
  }
  const double seconds = seconds_of([&] { run(0); });
  const double joined = seconds_of([&] {
    for (std::thread& other : others) other.join();
  });
  return seconds + joined;
}

/// Ten chains, enough for two units of latency 5, of one instruction; in one piece, or a compiler would keep some of them in memory.
#define PEERS_CHAINS(name, target_name, vector, set, instruction)                                                                        \
  __attribute__((target(target_name))) inline void name(std::int64_t rounds) {                                                           \
    const vector a = set(0.999f), b = set(0.001f);                                                                                       \
    vector c0 = a, c1 = a, c2 = a, c3 = a, c4 = a, c5 = a, c6 = a, c7 = a, c8 = a, c9 = a;                                               \
    for (std::int64_t r = 0; r < rounds; ++r) {                                                                                          \
      asm volatile(instruction " %10, %11, %0\n" instruction " %10, %11, %1\n" instruction " %10, %11, %2\n" instruction                 \
                               " %10, %11, %3\n" instruction " %10, %11, %4\n" instruction " %10, %11, %5\n" instruction                 \
                               " %10, %11, %6\n" instruction " %10, %11, %7\n" instruction " %10, %11, %8\n" instruction " %10, %11, %9" \
                   : "+v"(c0), "+v"(c1), "+v"(c2), "+v"(c3), "+v"(c4), "+v"(c5), "+v"(c6), "+v"(c7), "+v"(c8), "+v"(c9)                  \
                   : "v"(a), "v"(b));                                                                                                    \
    }                                                                                                                                    \
  }
PEERS_CHAINS(fma_chains_256, "avx2,fma", __m256, _mm256_set1_ps, "vfmadd132ps")
PEERS_CHAINS(fma_chains_512, "avx512f", __m512, _mm512_set1_ps, "vfmadd132ps")
PEERS_CHAINS(bf16_pair_chains, "avx512f", __m512, _mm512_set1_ps, "vdpbf16ps")
#undef PEERS_CHAINS

/// Operations a second of `chains`, which does `operations` of them in each lane and round.
inline double operations_a_second(int num_threads, void (*chains)(std::int64_t), int lanes, int operations) {
  constexpr std::int64_t rounds = 4'000'000;
  const double seconds = seconds_on(num_threads, [&](int) { chains(rounds); });
  return static_cast<double>(rounds) * 10 * lanes * operations * num_threads / seconds;
}
inline double fma_peak(int num_threads) {
  return __builtin_cpu_supports("avx512f") ? operations_a_second(num_threads, fma_chains_512, 16, 2)
                                           : operations_a_second(num_threads, fma_chains_256, 8, 2);
}
inline double bf16_pair_peak(int num_threads) { return operations_a_second(num_threads, bf16_pair_chains, 16, 4); }

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
