// Between begin and end of a step the device is given launches only, and its memory is read by nobody else: the emulated device logs every call and
// faults on a host that reads its memory.
#include <cuda/rig.hpp>
#include <kernels/runtime/emulated.hpp>

#include <algorithm>

namespace rapt_test::cuda {
namespace {
namespace emulated = rapt::runtime::emulated;

/// Calls to the device while f runs.
template <class F>
std::vector<emulated::call> calls_of(F f) {
  emulated::forget_calls();
  f();
  return emulated::calls();
}
void expect_launches_only(const std::vector<emulated::call>& calls, std::size_t at_most) {
  EXPECT_TRUE(std::all_of(calls.begin(), calls.end(), [](emulated::call c) { return c == emulated::call::launch; }));
  EXPECT_LE(calls.size(), at_most);
  EXPECT_FALSE(calls.empty());
}

TEST(cuda_hot_path, a_step_gives_the_stream_launches_only) {
  rig r;
  auto cache = r.cache(3);
  const auto sequence = cache.add_sequence();
  r.step(cache, sequence, 0, 40);  // grows the workspace
  for (index_t i = 40; i < 60; ++i) {
    auto open = cache.begin_step({{sequence, 1}});
    // A projection to queries, keys and values, rows to their places, attention, projection. What these read of the host's goes along in one launch
    // for each of two, and one finds the angles: in the first layer only, since they stay the same.
    expect_launches_only(calls_of([&] { r.forward(open, 0, i, 1); }), 7);
    expect_launches_only(calls_of([&] { r.forward(open, 1, i, 1); }), 4);
    expect_launches_only(calls_of([&] { r.forward(open, 2, i, 1); }), 4);
    open.commit();
  }
}

TEST(cuda_hot_path, forks_truncation_and_rollback_touch_no_device_memory_and_shared_pages_are_copied_by_launches) {
  rig r;
  auto cache = r.cache(2, 2);
  auto first = cache.add_sequence();
  r.step(cache, first, 0, 40);
  std::optional<rapt::basic_sequence<rapt::cuda::backend>> second;
  EXPECT_TRUE(calls_of([&] {
                second.emplace(first.fork());
                first.truncate(39);
                const auto dropped = cache.begin_step({{*second, 3}});
              }).empty());
  auto open = cache.begin_step({{*second, 1}});  // page 2 is shared: copied before it is written
  EXPECT_EQ(cache.num_free_pages(), cache.capacity() / 16 - 4);
  expect_launches_only(calls_of([&] { r.forward(open, 0, 40, 1); }), 10);
}

TEST(cuda_hot_path, a_batch_is_one_launch_of_each_kernel_however_many_sequences_it_has) {
  rig r;
  auto cache = r.cache(1, 6);
  std::vector<rapt::basic_sequence<rapt::cuda::backend>> sequences;
  std::vector<rapt::cuda::kv_cache::entry> entries;
  for (int i = 0; i < 6; ++i) sequences.push_back(cache.add_sequence());
  for (index_t i = 0; i < 6; ++i) entries.push_back({sequences[static_cast<std::size_t>(i)], 2 + i % 3});
  const auto step = [&] {
    auto open = cache.begin_step(entries);
    const index_t rows = open.num_rows();
    const auto calls = calls_of([&] { r.forward(open, 0, 0, rows); });
    open.commit();
    return calls;
  };
  step();
  expect_launches_only(step(), 9);
}

TEST(cuda_hot_path, long_page_tables_are_launches_too) {
  rig r;
  constexpr index_t forks = 300, shared_tokens = 64;
  rapt::cuda::kv_cache cache(r.ctx, r.on_device.config(), {.max_tokens = 16 * (forks + 5), .max_sequences = forks + 1, .page_len = 16});
  std::vector<rapt::basic_sequence<rapt::cuda::backend>> sequences;
  sequences.push_back(cache.add_sequence());
  r.step(cache, sequences[0], 0, shared_tokens);
  std::vector<rapt::cuda::kv_cache::entry> entries;
  while (sequences.size() <= forks) sequences.push_back(sequences[0].fork());
  for (const auto& s : sequences) entries.push_back({s, 1});
  r.rows = rows_of<rapt::cuda::backend>(r.ctx, contract::random_values<bf16>(r.random, (forks + 1) * rig::dim, 2));
  r.on_device.forward(r.ctx, r.rows.in(0, forks + 1, rig::dim), rapt::self_kv{}, r.rows.out(0, forks + 1, rig::dim));  // makes room for angles
  r.ctx.reserve(16 << 20);
  auto open = cache.begin_step(entries);  // 5 pages of each sequence, over 1,500
  expect_launches_only(calls_of([&] { r.forward(open, 0, 0, forks + 1); }), 9);
}

TEST(cuda_hot_path, memory_is_used_again) {
  rig r;
  auto cache = r.cache();
  auto sequence = cache.add_sequence();
  const auto life = [&] {
    r.step(cache, sequence, 0, 40);
    for (index_t i = 40; i < 44; ++i) r.step(cache, sequence, i, 1);
    sequence.truncate(0);
  };
  life();
  const std::size_t before = emulated::allocated_bytes();
  const auto calls = calls_of(life);
  EXPECT_EQ(emulated::allocated_bytes(), before);
  EXPECT_EQ(std::count(calls.begin(), calls.end(), emulated::call::allocate), 0);
}

TEST(cuda_hot_path, query_heads_share_a_kv_head_without_a_copy) {
  rig r;
  // One row of 4 query heads after 32,768 tokens of 2 KV heads: a copy of keys and values for each query head would be 12 MiB of scratch.
  constexpr index_t kv_len = 32'768, copied = kv_len * 4 * 2 * 24 * 2;
  const std::size_t scratch =
      rapt::workspace_bytes<bf16>(r.ctx, r.on_device.config(), {.q_len = 1, .kv_len = kv_len, .source = rapt::source_kind::step});
  EXPECT_LT(scratch, static_cast<std::size_t>(copied / 50));
  EXPECT_GT(scratch, 0u);
}

}  // namespace
}  // namespace rapt_test::cuda
