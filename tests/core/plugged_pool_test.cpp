// The program's threads in place of the library's: an OpenMP team and oneTBB's workers.
#include <rapt/core/executor.hpp>

#include <core/counted_tasks.hpp>

#include <gtest/gtest.h>

#if RAPT_TEST_OPENMP
#include <omp.h>
#endif
#if RAPT_TEST_TBB
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#endif

namespace {

using rapt::executor;
using rapt::index_t;

[[maybe_unused]] void expect_an_executor(const executor& pool) {
  for (int round = 0; round < 100; ++round)
    for (index_t n = 0; n <= pool.num_workers; ++n) ASSERT_TRUE(each_runs_once(pool, n)) << n;
}

TEST(openmp_pool, is_an_executor) {
#if RAPT_TEST_OPENMP
  const executor pool{nullptr, 2, [](void*, index_t n, void (*task)(void*, index_t), void* arg) {
#pragma omp parallel for num_threads(2) schedule(static)
                        for (index_t i = 0; i < n; ++i) task(arg, i);
                      }};
  expect_an_executor(pool);
  EXPECT_TRUE(all_meet(pool, 2));
#else
  GTEST_SKIP() << "built without OpenMP";
#endif
}

TEST(onetbb_pool, is_an_executor) {
#if RAPT_TEST_TBB
  const oneapi::tbb::global_control limit(oneapi::tbb::global_control::max_allowed_parallelism, 2);
  oneapi::tbb::task_arena arena(2);
  const executor pool{
      &arena, 2, [](void* self, index_t n, void (*task)(void*, index_t), void* arg) {
        static_cast<oneapi::tbb::task_arena*>(self)->execute([=] { oneapi::tbb::parallel_for(index_t{0}, n, [=](index_t i) { task(arg, i); }); });
      }};
  expect_an_executor(pool);
#else
  GTEST_SKIP() << "built without oneTBB";
#endif
}

}  // namespace
