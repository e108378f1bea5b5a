// The library's own threads, in this process, in a forked child, and where none can be had.
#include <rapt/core/error.hpp>
#include <rapt/core/executor.hpp>

#include <core/counted_tasks.hpp>

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

namespace {

using rapt::executor;
using rapt::index_t;
using rapt::thread_pool;

TEST(thread_pool, runs_each_task_once_for_any_number_of_threads_and_tasks) {
  for (const int threads : {1, 2, 3, 5}) {
    const thread_pool pool(threads);
    EXPECT_EQ(pool.get().num_workers, threads);
    for (index_t round = 0; round < 200; ++round)
      for (index_t n = 0; n <= threads; ++n) ASSERT_TRUE(each_runs_once(pool.get(), n)) << n << " tasks on " << threads << " threads";
    EXPECT_TRUE(each_runs_once(pool.get(), 1000)) << "more tasks than the contract asks for";
  }
}

TEST(thread_pool, runs_as_many_tasks_at_one_time_as_it_has_threads) {
  const thread_pool pool(3);
  for (int round = 0; round < 20; ++round) ASSERT_TRUE(all_meet(pool.get(), 3));
}

TEST(thread_pool, wakes_threads_that_have_gone_to_sleep) {
  const thread_pool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ASSERT_TRUE(all_meet(pool.get(), 2));
  }
}

TEST(thread_pool, the_caller_sees_what_tasks_wrote) {
  const thread_pool pool(2);
  std::int64_t plain[2] = {};
  for (std::int64_t round = 1; round <= 20000; ++round) {
    pool.get().run(
        pool.get().self, 2, [](void* arg, index_t i) { ++static_cast<std::int64_t*>(arg)[i]; }, plain);
    ASSERT_EQ(plain[0] + plain[1], 2 * round);
  }
}

TEST(thread_pool, zero_threads_means_the_processors_that_the_process_may_use) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  EXPECT_EQ(thread_pool(0).get().num_workers, CPU_COUNT(&before));
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(thread_pool(0).get().num_workers, 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

TEST(thread_pool, a_negative_number_of_threads_is_a_config_error) {
  try {
    const thread_pool pool(-1);
    FAIL() << "accepted";
  } catch (const rapt::config_error& e) { EXPECT_NE(std::string(e.what()).find("num_threads is -1"), std::string::npos) << e.what(); }
}

TEST(thread_pool, moving_keeps_what_an_executor_points_to) {
  thread_pool first(2);
  const executor pool = first.get();
  thread_pool second(std::move(first));
  EXPECT_TRUE(all_meet(pool, 2));
  second = thread_pool(3);
  EXPECT_TRUE(all_meet(second.get(), 3));
}

TEST(thread_pool, pools_of_several_callers_work_side_by_side) {
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int caller = 0; caller < 3; ++caller)
    callers.emplace_back([&wrong] {
      for (int made = 0; made < 20; ++made) {
        const thread_pool pool(2);
        for (int round = 0; round < 50; ++round) wrong += !each_runs_once(pool.get(), 2);
      }
    });
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST(thread_pool, its_threads_leave_the_programs_signals_alone) {
  const thread_pool pool(2);
  bool blocked[2] = {};
  struct job {
    bool* blocked;
    pthread_t caller;
    meeting meet{2};
  } work{blocked, pthread_self()};
  pool.get().run(
      pool.get().self, 2,
      [](void* arg, index_t i) {
        auto& job_of = *static_cast<job*>(arg);
        job_of.meet.arrive();
        sigset_t mask;
        pthread_sigmask(SIG_BLOCK, nullptr, &mask);
        const bool caller = pthread_equal(pthread_self(), job_of.caller) != 0;
        job_of.blocked[i] = caller ? sigismember(&mask, SIGTERM) == 0 : sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGSEGV) == 0;
      },
      &work);
  EXPECT_TRUE(blocked[0] && blocked[1]);
}

// Runs `body` in a forked child; true where it returned true there. Threads should have met before: a fork while one of them starts may leave the
// child with a lock that nobody releases.
template <class Body>
testing::AssertionResult in_a_child(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(body() ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  if (status == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << (WIFSIGNALED(status) ? "killed by signal " : "wrong, status ")
                                     << (WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

TEST(thread_pool, a_forked_child_makes_threads_of_its_own) {
  thread_pool pool(3);
  const executor threads = pool.get();
  ASSERT_TRUE(all_meet(threads, 3));
  EXPECT_TRUE(in_a_child([&] { return each_runs_once(threads, 3) && all_meet(threads, 3); }));
  EXPECT_TRUE(all_meet(threads, 3)) << "the parent's are still there";
}

TEST(thread_pool, a_forked_child_can_end_a_pool_that_it_used_or_did_not_use) {
  for (const bool used : {false, true}) {
    auto pool = std::make_unique<thread_pool>(2);
    ASSERT_TRUE(all_meet(pool->get(), 2));
    EXPECT_TRUE(in_a_child([&] {
      if (used && !all_meet(pool->get(), 2)) return false;
      pool.reset();
      return true;
    }));
  }
}

TEST(thread_pool, a_child_of_a_child_works_too) {
  thread_pool pool(2);
  ASSERT_TRUE(all_meet(pool.get(), 2));
  EXPECT_TRUE(in_a_child([&] { return all_meet(pool.get(), 2) && in_a_child([&] { return all_meet(pool.get(), 2); }); }));
}

TEST(thread_pool, works_alone_where_no_thread_can_be_created) {
  pthread_attr_t before, huge;
  ASSERT_EQ(pthread_getattr_default_np(&before), 0);
  pthread_attr_init(&huge);
  // A stack as large as the address space: creation fails as it does where the system has no room for another thread.
  ASSERT_EQ(pthread_attr_setstacksize(&huge, std::size_t{1} << 47), 0);
  ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
  {
    const thread_pool pool(4);
    EXPECT_EQ(pool.get().num_workers, 1);
    EXPECT_TRUE(each_runs_once(pool.get(), 4));
  }
  ASSERT_EQ(pthread_setattr_default_np(&before), 0);
  pthread_attr_destroy(&huge);
  pthread_attr_destroy(&before);
}

}  // namespace
