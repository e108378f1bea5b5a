// What a context holds, and how an operation runs its work units on the context's threads.
#pragma once
#include <core/float_environment.hpp>
#include <cpu/kernels.hpp>
#include <rapt/cpu/context.hpp>

#include <algorithm>
#include <atomic>

namespace rapt {
inline namespace v0 {
namespace cpu {

class context::impl {
 public:
  explicit impl(const context_options& options);

  isa set;
  const kernels* table;
  bool has_bf16_pairs;  ///< whether the CPU has what bf16_pairs is for; tests set it where the table does the same without
  std::optional<thread_pool> own_pool;
  executor pool;
  bool grow;
  buffer memory;
  std::vector<sequence_rows> sequences;
};

/// Work below this many multiply-adds (about 10 microseconds) is not worth waking a thread for.
constexpr index_t min_parallel_work = index_t{1} << 18;

/// How many workers share num_units units of `work` multiply-adds in all. Bits do not depend on it.
inline index_t workers_for(const context& ctx, index_t num_units, index_t work) {
  if (work < min_parallel_work) return 1;
  return std::clamp<index_t>(num_units, 1, ctx.num_workers());
}

/// One piece of scratch for each worker, laid out by `make(workspace&)`.
template <class Make>
class worker_scratch {
 public:
  worker_scratch(workspace& from, index_t num_workers, const Make& make) : make_(make), begin_(from.used_bytes()), first_(make(from)) {
    bytes_ = from.used_bytes() - begin_;
    others_ = from.take<std::byte>((num_workers - 1) * static_cast<index_t>(bytes_));
  }
  auto of(index_t worker) const {
    if (worker == 0) return first_;
    workspace own(others_ + static_cast<std::size_t>(worker - 1) * bytes_, bytes_);
    return make_(own);
  }

 private:
  const Make make_;
  std::size_t begin_, bytes_ = 0;
  const std::invoke_result_t<Make, workspace&> first_;
  std::byte* others_ = nullptr;
};
/// For units that need none.
struct no_scratch {
  no_scratch of(index_t) const { return {}; }
};

/// Calls f(scratch of the worker, unit) once for each unit, on num_workers threads; `grain` at a time are taken in ascending order.
template <class Scratch, class F>
void for_each_unit(context& ctx, const Scratch& scratch, index_t num_workers, index_t num_units, const F& f, index_t grain = 1) {
  if (num_workers <= 1) {
    const auto own = scratch.of(0);
    for (index_t unit = 0; unit < num_units; ++unit) f(own, unit);
    return;
  }
  struct job {
    const Scratch& scratch;
    const F& f;
    index_t num_units, grain;
    std::atomic<index_t> next{0};
  } work{scratch, f, num_units, grain};
  const executor& pool = ctx.internals().pool;
  pool.run(
      pool.self, num_workers,
      [](void* arg, index_t worker) {
        const float_environment environment;
        job& w = *static_cast<job*>(arg);
        const auto own = w.scratch.of(worker);
        for (;;) {
          const index_t first = w.next.fetch_add(w.grain, std::memory_order_relaxed);
          if (first >= w.num_units) break;
          for (index_t unit = first; unit < std::min(first + w.grain, w.num_units); ++unit) w.f(own, unit);
        }
      },
      &work);
}

/// Calls f with an accumulator of the type named by `accumulator`.
template <class F>
void with_accumulator(dtype accumulator, const F& f) {
  if (accumulator == dtype::f64)
    f(double{});
  else
    f(float{});
}

inline std::byte* byte_at(void* base, index_t elements, dtype type) { return static_cast<std::byte*>(base) + elements * size_of(type); }
inline const std::byte* byte_at(const void* base, index_t elements, dtype type) {
  return static_cast<const std::byte*>(base) + elements * size_of(type);
}

/// Whether each row of a head lies in memory as accumulators.
template <class A>
bool lies_as(const operand& x) {
  return x.type == dtype_of<A> && x.dim_stride == 1;
}

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
