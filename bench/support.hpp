// What every bench shares: the run's options and context, random data, a check of the answer before timing, counters with units.
#pragma once
#include <rapt/rapt.hpp>
#include <shapes.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

namespace bench {

struct run_options {
  int num_threads = 0;  ///< 0: all processors
  bool small = false;   ///< only the shapes marked small
};
inline run_options& options() {
  static run_options given;
  return given;
}
inline bool wanted(bool shape_is_small) { return shape_is_small || !options().small; }
/// The context of all benches but those that measure one.
inline rapt::cpu::context& context() {
  static rapt::cpu::context ctx({.num_threads = options().num_threads});
  return ctx;
}

/// Element i of stream `seed`, uniform in [-1, 1): SplitMix64, so that no order of generation matters.
inline double random_value(std::uint64_t seed, index_t i) {
  std::uint64_t z = (seed << 40) + (static_cast<std::uint64_t>(i) + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1;
}
template <class T>
std::vector<T> random_values(std::uint64_t seed, index_t count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (index_t i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = static_cast<T>(static_cast<float>(random_value(seed, i)));
  return values;
}
template <class T>
double to_double(T x) {
  if constexpr (sizeof(T) == 2)
    return static_cast<double>(static_cast<float>(x));
  else
    return static_cast<double>(x);
}

/// The worst row's |got - want| / |want| in the 2-norm. A row that lacks one of n keys is off by about 1 / sqrt(n), 4e-3 for the longest kv_len here;
/// a sum of floats by 1e-6 to 1e-5. So 1e-4 tells them apart.
class comparison {
 public:
  /// One row, or several of about the same size.
  template <class T>
  void add(std::span<const T> got, std::span<const double> want) {
    double error = 0, size = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      const double difference = to_double(got[i]) - want[i];
      error += difference * difference, size += want[i] * want[i];
    }
    const double relative = std::sqrt(error / size);
    worst_ = std::isnan(relative) ? HUGE_VAL : std::max(worst_, relative);  // a NaN among later rows' numbers would be lost
  }
  /// Empty where the answer is right.
  std::string complaint(const std::string& what) const {
    if (worst_ <= tolerance) return {};
    return what + " differs from the reference by " + std::to_string(worst_) + " of a row's norm; " + std::to_string(tolerance) + " is allowed";
  }

 private:
  static constexpr double tolerance = 1e-4;
  double worst_ = 0;
};

/// Benches that could not be timed because their answer was wrong or a call failed; main returns 1 for any.
inline int& num_failed() {
  static int count = 0;
  return count;
}
struct prepared_fixture {
  std::string name, complaint;
  std::shared_ptr<void> fixture;
};
inline prepared_fixture& last_prepared() {
  static prepared_fixture last;
  return last;
}

/// The fixture of a bench, set up and verified once although Google Benchmark calls the bench anew for each repetition. Null where the bench can not
/// be timed; `state` then says why. Only the last fixture is kept: the large ones would not fit side by side.
/// A Fixture is made from `args` and has `std::string verify()`, empty where the answer is right.
template <class Fixture, class... Args>
Fixture* prepared(benchmark::State& state, const std::string& name, const Args&... args) {
  prepared_fixture& last = last_prepared();
  if (last.name != name) {
    last = {};
    last.name = name;
    try {
      auto fixture = std::make_shared<Fixture>(args...);
      last.complaint = fixture->verify();
      if (last.complaint.empty()) last.fixture = std::move(fixture);
    } catch (const rapt::error& e) { last.complaint = e.what(); }
  }
  if (last.fixture) return static_cast<Fixture*>(last.fixture.get());
  ++num_failed();
  state.SkipWithError(last.complaint.c_str());
  return nullptr;
}

/// body(state, fixture) times one operation in a loop over `state`; the fixture is made from `args`.
template <class Fixture, class Body, class... Args>
benchmark::internal::Benchmark* add(const std::string& name, Body body, const Args&... args) {
  const auto run = [=](benchmark::State& state) {
    if (Fixture* fixture = prepared<Fixture>(state, name, args...)) body(state, *fixture);
  };
  return benchmark::RegisterBenchmark(name.c_str(), run)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

/// A counter per second of `amount` for each iteration: "GFLOP/s", "GB/s" (1e9 bytes), "tokens/s".
inline void set_rate(benchmark::State& state, const char* unit, double amount) {
  state.counters[unit] = benchmark::Counter(amount, benchmark::Counter::kIsIterationInvariantRate);
}
inline void set_value(benchmark::State& state, const char* unit, double value) { state.counters[unit] = value; }

/// Calls f with std::type_identity of the element type of f32, f16 or bf16.
template <class F>
void with_type(rapt::dtype type, F f) {
  if (type == rapt::dtype::f16) return f(std::type_identity<rapt::f16>{});
  if (type == rapt::dtype::bf16) return f(std::type_identity<rapt::bf16>{});
  f(std::type_identity<float>{});
}
constexpr rapt::dtype stored_types[] = {rapt::dtype::f32, rapt::dtype::f16, rapt::dtype::bf16};
inline std::string label(rapt::dtype type) { return std::string(name_of(type)); }

void add_attend_benches();
void add_forward_benches();
void add_cache_benches();
void add_state_benches();
void add_memory_benches();
void add_heads_benches();
void add_decode_benches();
void add_cost_benches();

}  // namespace bench
