// Processes that are killed while they save, at every call and at random instants, and processes that save and load the same file at once.
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "state_rig.hpp"
#include "system_rig.hpp"

namespace {

using namespace rapt_test;

/// States of one sequence whose every element says which of them it is.
class kill_test : public testing::TestWithParam<way_of_moving> {
 protected:
  const moving way{GetParam()};
  static constexpr index_t num_tokens = 90;
  static rapt::cache_limits limits() { return small_limits; }

  void save(unsigned version) {
    bits_cache cache(ctx, small_config(), limits());
    const bits_sequence s = cache.add_sequence();
    append_bits(ctx, cache, s, num_tokens - static_cast<index_t>(version), version, some_fingerprint(version));
    rapt::save_state(ctx, path, cache, s);
  }
  /// Which of the versions below `end` the file is, bit for bit; -1 for none of them.
  int version(unsigned end) {
    const std::string bytes = read_file(path);
    bits_cache cache(ctx, small_config(), limits());
    bits_sequence s;
    rapt::load_state(ctx, path, cache, s);
    for (unsigned v = 0; v < end; ++v) {
      if (states.size() <= v) {
        bits_cache original(ctx, small_config(), limits());
        const bits_sequence o = original.add_sequence();
        append_bits(ctx, original, o, num_tokens - static_cast<index_t>(v), v, some_fingerprint(v));
        states.push_back(visible(original) + visible(ctx, original, o));
      }
      if (visible(cache) + visible(ctx, cache, s) == states[v]) return static_cast<int>(v);
    }
    return -1;
  }
  std::size_t num_strays() const { return contents_of(directory.path()).size() - 1; }

  bits_context ctx;
  temporary_directory directory;
  const std::string path = directory / "state";
  std::vector<std::string> states;
};

/// Ends of `child` that were waited for.
int status_of(pid_t child) {
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}
bool was_killed(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; }

TEST_P(kill_test, hostile_30_killed_before_every_call) {
  const std::size_t num_calls = calls_of([&] { save(1); }).size();
  ASSERT_GT(num_calls, 10u);
  int old_ones = 0, new_ones = 0;
  for (std::size_t k = 1; k <= num_calls; ++k) {
    save(0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const scripted_system system([&](call_kind, int number) -> std::optional<fault> {
        if (number == static_cast<int>(k)) raise(SIGKILL);
        return std::nullopt;
      });
      save(1);
      _exit(1);
    }
    ASSERT_TRUE(was_killed(status_of(child))) << "call " << k;
    const int found = version(2);
    ASSERT_TRUE(found == 0 || found == 1) << "call " << k;
    ASSERT_EQ(new_ones > 0 && found == 0, false) << "the new one stands from the renaming on";
    ++(found == 0 ? old_ones : new_ones);
    ASSERT_LE(num_strays(), 1u);
    for (const auto& [name, unused] : contents_of(directory.path()))
      if (name.starts_with(".rapt-")) std::filesystem::remove(directory / name);
  }
  EXPECT_GT(old_ones, 10);
  EXPECT_GT(new_ones, 0);
}

/// RAPT_KILLS says how many; a release's figure is 10,000.
TEST_P(kill_test, hostile_30_killed_at_random_instants) {
  const char* asked = std::getenv("RAPT_KILLS");
  const int num_kills = asked != nullptr ? std::atoi(asked) : 200;
  ASSERT_GT(num_kills, 0) << "RAPT_KILLS is " << asked;
  std::mt19937 random(30);
  save(0);
  int seen[2] = {}, strays = 0;
  for (int round = 0; round < num_kills; ++round) {
    int saving[2];
    ASSERT_EQ(pipe(saving), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(saving[0]);
      for (unsigned v = 1;; v = 1 - v) {
        save(v);
        const char byte = 0;
        if (write(saving[1], &byte, 1) != 1) _exit(1);
      }
    }
    close(saving[1]);
    // The child is at work before the clock starts, however busy the machine is.
    char first = 0;
    ASSERT_EQ(read(saving[0], &first, 1), 1);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 5'000));
    kill(child, SIGKILL);
    ASSERT_TRUE(was_killed(status_of(child)));
    close(saving[0]);
    const int found = version(2);
    ASSERT_TRUE(found == 0 || found == 1) << "round " << round;
    ++seen[found];
    ASSERT_LE(num_strays(), 1u);
    for (const auto& [name, unused] : contents_of(directory.path()))
      if (name.starts_with(".rapt-")) strays += std::filesystem::remove(directory / name);
  }
  std::printf("%d kills: %d old, %d new, %d temporary files left behind\n", num_kills, seen[0], seen[1], strays);
}

TEST_P(kill_test, hostile_32_processes_that_save_and_load_at_once) {
  save(0);
  std::vector<pid_t> children;
  for (unsigned saver = 0; saver < 3; ++saver) {
    children.push_back(fork());
    ASSERT_GE(children.back(), 0);
    if (children.back() == 0) {
      for (unsigned i = 0; i < 40; ++i) save(saver + 1);
      _exit(0);
    }
  }
  for (int loader = 0; loader < 2; ++loader) {
    children.push_back(fork());
    ASSERT_GE(children.back(), 0);
    if (children.back() == 0) {
      for (int i = 0; i < 60; ++i)
        if (version(4) < 0) _exit(1);
      _exit(0);
    }
  }
  for (int i = 0; i < 60; ++i) ASSERT_GE(version(4), 0);
  for (const pid_t child : children) EXPECT_EQ(status_of(child), 0);
  EXPECT_EQ(num_strays(), 0u);
}

TEST_P(kill_test, hostile_32_threads_that_save_and_load_at_once) {
  save(0);
  std::vector<std::thread> savers;
  for (unsigned saver = 0; saver < 3; ++saver)
    savers.emplace_back([&, saver] {
      bits_context own;
      bits_cache cache(own, small_config(), limits());
      const bits_sequence s = cache.add_sequence();
      append_bits(own, cache, s, num_tokens - static_cast<index_t>(saver), saver, some_fingerprint(saver));
      for (int i = 0; i < 40; ++i) rapt::save_state(own, path, cache, s);
    });
  std::thread loader([&] {
    bits_context own;
    for (int i = 0; i < 60; ++i) {
      bits_cache cache(own, small_config(), limits());
      bits_sequence s;
      EXPECT_NO_THROW(rapt::load_state(own, path, cache, s));
      EXPECT_GE(s.kv_len(), num_tokens - 2);
    }
  });
  for (int i = 0; i < 60; ++i) EXPECT_GE(version(3), 0);
  for (std::thread& t : savers) t.join();
  loader.join();
  EXPECT_EQ(num_strays(), 0u);
}

INSTANTIATE_TEST_SUITE_P(moved, kill_test, testing::Values(ways_of_moving[0], ways_of_moving[1]), name_of_way);

}  // namespace
