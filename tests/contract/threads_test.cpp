// One const module serves several threads, each with a context (and a cache) of its own. ThreadSanitizer looks on.
#include <contract/cache_rig.hpp>
#include <rapt/core/executor.hpp>

#include <thread>

namespace rapt_test::contract {
namespace {

/// Prefill, decode and a call without a cache, in a context and a cache of one's own.
std::vector<std::byte> session(const cache_rig& rig, int num_threads) {
  rapt::cpu::context ctx({.num_threads = num_threads});
  rapt::kv_cache cache(ctx, rig.config, rig.limits(100));
  const rapt::sequence sequence = cache.add_sequence();
  std::vector<std::byte> all;
  const index_t width = rig.config.model_dim;
  for (index_t done = 0; const index_t count : {40, 1, 1, 13}) {
    rapt::step step = cache.begin_step({{sequence, count}});
    for (index_t l = 0; l < cache_rig::num_layers; ++l) {
      std::vector<float> y(static_cast<std::size_t>(count * width));
      rig.layers[static_cast<std::size_t>(l)].forward(ctx, rapt::view(rig.x.data() + done * width, count, width), step.layer(l),
                                                      rapt::view(y.data(), count, width));
      const std::vector<std::byte> bytes = bytes_of(y);
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    step.commit();
    done += count;
  }
  std::vector<float> y(static_cast<std::size_t>(60 * width));
  rig.layers[0].forward(ctx, rapt::view(rig.x.data(), 4, 15, width), rapt::self_kv{}, rapt::view(y.data(), 4, 15, width));
  const std::vector<std::byte> bytes = bytes_of(y);
  all.insert(all.end(), bytes.begin(), bytes.end());
  return all;
}

TEST(threads, one_module_serves_several_threads) {
  const cache_rig rig(60);
  const std::vector<std::byte> expected = session(rig, 1);
  std::vector<std::vector<std::byte>> results(4);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < results.size(); ++i) threads.emplace_back([&, i] { results[i] = session(rig, 1 + static_cast<int>(i % 3)); });
  for (std::thread& t : threads) t.join();
  for (const std::vector<std::byte>& result : results) EXPECT_EQ(result, expected);
}

TEST(threads, modules_may_be_made_while_others_run) {
  const cache_rig rig(60);
  const std::vector<std::byte> expected = session(rig, 1);
  std::vector<std::byte> during, other;
  std::thread running([&] { during = session(rig, 2); }), making([&] { other = session(cache_rig(60), 2); });
  running.join();
  making.join();
  EXPECT_EQ(during, expected);
  EXPECT_EQ(other, expected);
}

/// Runs tasks backwards, some of them on threads made for the call: an executor may do as it likes.
void run_backwards(void*, index_t n, void (*task)(void*, index_t), void* arg) {
  std::vector<std::thread> threads;
  for (index_t i = n; i-- > 0;)
    if (i % 2 == 0)
      task(arg, i);
    else
      threads.emplace_back(task, arg, i);
  for (std::thread& t : threads) t.join();
}

TEST(threads, a_program_may_bring_its_own) {
  const cache_rig rig(60);
  rapt::cpu::context own({.num_threads = 1}), foreign({.pool = rapt::executor{nullptr, 3, run_backwards}});
  std::vector<float> y(60 * 12), expected(60 * 12);
  rig.layers[1].forward(own, rapt::view(rig.x.data(), 60, 12), rapt::self_kv{}, rapt::view(expected.data(), 60, 12));
  rig.layers[1].forward(foreign, rapt::view(rig.x.data(), 60, 12), rapt::self_kv{}, rapt::view(y.data(), 60, 12));
  EXPECT_EQ(bytes_of(y), bytes_of(expected));
}

}  // namespace
}  // namespace rapt_test::contract
