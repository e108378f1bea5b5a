// Contexts: instruction sets, workspace, threads and floating-point modes.
#include <cpu/rig.hpp>

#include <xmmintrin.h>

#include <thread>

namespace rapt_test {
namespace {

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const error& e) { return e.what(); }
  return "";
}

std::vector<float> attended(cpu::context& ctx) {
  packed_cache cache(dtype::f16, 2, 40, 24, 700, 48);
  cache.append(ctx, random_values<float>(1, 700 * 2 * 40), random_values<float>(2, 700 * 2 * 24), 0, 700);
  return cached_attention<float>(ctx, cache, random_values<float>(3, 700 * 6 * 40), 6, 600, 100).out;
}

TEST(context, chooses_the_best_instruction_set_and_refuses_one_that_the_cpu_lacks) {
  const std::vector<cpu::isa> available = cpu::available_isas();
  ASSERT_FALSE(available.empty());
  EXPECT_EQ(available.back(), cpu::isa::portable);
  EXPECT_EQ(cpu::context({.num_threads = 1}).instruction_set(), available.front());
  for (const cpu::isa set : {cpu::isa::avx2, cpu::isa::avx3, cpu::isa::avx3_dl}) {
    const bool has = std::find(available.begin(), available.end(), set) != available.end();
    if (has)
      EXPECT_EQ(cpu::context({.num_threads = 1, .instruction_set = set}).instruction_set(), set);
    else
      EXPECT_THROW(cpu::context({.num_threads = 1, .instruction_set = set}), config_error);
  }
}

TEST(context, contexts_of_different_instruction_sets_live_side_by_side_with_the_same_bits) {
  std::vector<cpu::context> contexts;
  for (const cpu::isa set : cpu::available_isas()) contexts.emplace_back(cpu::context_options{.num_threads = 1, .instruction_set = set});
  std::vector<float> first;
  for (cpu::context& ctx : contexts) {
    EXPECT_EQ(ctx.numerics(), "cpu-v1");
    const std::vector<float> out = attended(ctx);
    if (first.empty()) first = out;
    EXPECT_TRUE(same_bits(out, first));
  }
}

TEST(context, that_may_not_grow_names_both_sizes) {
  cpu::context ctx({.num_threads = 1, .grow = false});
  ctx.reserve(1000);
  EXPECT_GE(ctx.workspace_capacity(), 1000u);
  ctx.begin_call(1000);
  const std::string capacity = std::to_string(ctx.workspace_capacity());
  const std::string message = message_of([&] { ctx.begin_call(12'345'678); });
  EXPECT_NE(message.find("12345678"), std::string::npos) << message;
  EXPECT_NE(message.find(capacity), std::string::npos) << message;
  EXPECT_EQ(std::to_string(ctx.workspace_capacity()), capacity);
  EXPECT_THROW(ctx.begin_call(12'345'678), capacity_error);
}

TEST(context, grows_at_a_calls_start) {
  cpu::context ctx({.num_threads = 1});
  EXPECT_EQ(ctx.workspace_capacity(), 0u);
  workspace scratch = ctx.begin_call(5'000'000);
  EXPECT_GE(ctx.workspace_capacity(), 5'000'000u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(scratch.take<float>(1)) % 64, 0u);
}

TEST(context, runs_on_the_programs_threads) {
  struct counting {
    int calls = 0;
    static void run(void* self, index_t n, void (*task)(void*, index_t), void* arg) {
      ++static_cast<counting*>(self)->calls;
      std::vector<std::thread> threads;
      for (index_t i = 0; i < n; ++i) threads.emplace_back(task, arg, n - 1 - i);
      for (std::thread& t : threads) t.join();
    }
  } pool;
  cpu::context serial({.num_threads = 1}), ctx({.pool = executor{&pool, 3, counting::run}});
  EXPECT_EQ(ctx.num_workers(), 3);
  EXPECT_TRUE(same_bits(attended(ctx), attended(serial)));
  EXPECT_GT(pool.calls, 0);
  EXPECT_THROW(cpu::context({.pool = executor{&pool, 0, counting::run}}), config_error);
  EXPECT_THROW(cpu::context({.pool = executor{&pool, 2, nullptr}}), config_error);
}

constexpr unsigned mode_bits = 0xffc0;     // of MXCSR; the rest are sticky flags
constexpr unsigned hostile_mode = 0xffc0;  // flush to zero, denormals are zero, round towards zero, exceptions masked

/// The operations of attended() in the thread's mode `callers`; the test's own arithmetic in the ordinary one.
std::vector<float> attended_in_mode(cpu::context& ctx, unsigned callers) {
  const unsigned ordinary = _mm_getcsr();
  packed_cache cache(dtype::f16, 2, 40, 24, 700, 48);
  const auto k = random_values<float>(1, 700 * 2 * 40), v = random_values<float>(2, 700 * 2 * 24), q = random_values<float>(3, 700 * 6 * 40);
  _mm_setcsr(callers);
  cache.append(ctx, k, v, 0, 700);
  EXPECT_EQ(_mm_getcsr() & mode_bits, callers & mode_bits);
  const cached_attention<float> attention(ctx, cache, q, 6, 600, 100);
  EXPECT_EQ(_mm_getcsr() & mode_bits, callers & mode_bits);
  _mm_setcsr(ordinary);
  EXPECT_EQ(attention.p.softmax_scale, 1 / std::sqrt(40.0)) << "the test's own arithmetic must not round differently";
  return attention.out;
}

TEST(context, the_callers_rounding_and_flush_modes_change_nothing_and_come_back) {
  for (const int num_threads : {1, 3}) {
    cpu::context ctx({.num_threads = num_threads});
    EXPECT_TRUE(same_bits(attended_in_mode(ctx, hostile_mode), attended(ctx)));
  }
}

TEST(context, the_modes_of_the_programs_threads_change_nothing_and_come_back) {
  struct hostile {
    static void run(void*, index_t n, void (*task)(void*, index_t), void* arg) {
      std::vector<std::thread> threads;
      for (index_t i = 0; i < n; ++i)
        threads.emplace_back([=] {
          _mm_setcsr(hostile_mode);
          task(arg, i);
          EXPECT_EQ(_mm_getcsr() & mode_bits, hostile_mode);
        });
      for (std::thread& t : threads) t.join();
    }
  };
  cpu::context ctx({.pool = executor{nullptr, 2, hostile::run}}), serial({.num_threads = 1});
  EXPECT_TRUE(same_bits(attended(ctx), attended(serial)));
}

}  // namespace
}  // namespace rapt_test
