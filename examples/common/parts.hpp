// Work on rows, cut into one part for each thread.
#pragma once
#include <algorithm>
#include <rapt/core/executor.hpp>

namespace common {

/// f(first, count) for parts of num_rows rows, at the same time. f may not throw.
template <class F>
void for_each_part(const rapt::executor& threads, rapt::index_t num_rows, const F& f) {
  struct {
    const F& f;
    rapt::index_t num_rows, part;
  } work{f, num_rows, (num_rows + threads.num_workers - 1) / threads.num_workers};
  if (work.part == num_rows) return f(rapt::index_t{0}, num_rows);
  threads.run(
      threads.self, (num_rows + work.part - 1) / work.part,
      [](void* arg, rapt::index_t i) {
        const auto& w = *static_cast<decltype(work)*>(arg);
        w.f(i * w.part, std::min(w.part, w.num_rows - i * w.part));
      },
      &work);
}

}  // namespace common
