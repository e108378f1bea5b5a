#include <kernels/project.hpp>
#include <kernels/runtime/emulated.hpp>
#include <kernels/runtime/queue.hpp>
#include <kernels/simt/warp.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace {

namespace simt = rapt::simt;
namespace runtime = rapt::runtime;
using runtime::direction;
using runtime::queue;
using runtime::emulated::call;

template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const rapt::cuda_error& e) { return e.what(); }
  return "none";
}
float* floats(const rapt::buffer& b) { return reinterpret_cast<float*>(b.data()); }

RAPT_KERNEL(32, 1) add_one(float* x) { x[simt::thread_idx()] += 1; }
void launch_add_one(queue& q, float* x) {
  q.run([&](runtime::stream s) { simt::launch<simt::no_storage>(add_one, {1}, 32, s, x); });
}

TEST(runtime, what_the_host_copies_comes_back_through_a_kernel) {
  queue q;
  const rapt::buffer x = q.allocate(128), y = q.allocate(128);
  std::vector<float> in(32), out(32);
  for (std::size_t i = 0; i < 32; ++i) in[i] = static_cast<float>(i);
  q.copy(x.data(), in.data(), 128, direction::to_device);
  in.assign(32, 0);  // has been read
  launch_add_one(q, floats(x));
  q.copy(y.data(), x.data(), 128, direction::on_device);
  q.fill(x.data(), 0, 128);
  q.copy(out.data(), y.data(), 128, direction::to_host);
  q.synchronize();
  for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(out[i], static_cast<float>(i + 1));
  q.copy(out.data(), x.data(), 128, direction::to_host);
  q.synchronize();
  EXPECT_EQ(out[5], 0);
}

TEST(runtime, memory_of_the_device_begins_as_nan_and_is_given_back) {
  const std::size_t before = runtime::emulated::allocated_bytes();
  {
    queue q;
    const rapt::buffer x = q.allocate(100);
    EXPECT_EQ(runtime::emulated::allocated_bytes(), before + 100);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(x.data()) % 256, 0u);
    float out[25];
    q.copy(out, x.data(), 100, direction::to_host);
    q.synchronize();
    for (const float f : out) EXPECT_TRUE(std::isnan(f));
    EXPECT_EQ(q.allocate(0).data(), nullptr);
  }
  EXPECT_EQ(runtime::emulated::allocated_bytes(), before);
}

RAPT_KERNEL(1, 1) read_at(const float* x, float* out) { *out = *x; }
TEST(runtime_death, a_host_that_touches_the_devices_memory_faults) {
  queue q;
  const rapt::buffer x = q.allocate(4096);
  float* const data = floats(x);
  EXPECT_DEATH({ [[maybe_unused]] const volatile float read = data[3]; }, "");
  launch_add_one(q, data);
  q.synchronize();
  EXPECT_DEATH({ [[maybe_unused]] const volatile float read = data[3]; }, "");
  EXPECT_DEATH(data[3] = 1, "");
}
TEST(runtime_death, a_kernel_that_reads_behind_an_allocation_or_after_its_end_faults) {
  queue q;
  const rapt::buffer out = q.allocate(4);
  const auto read = [&](const float* from) {
    q.run([&](runtime::stream s) { simt::launch<simt::no_storage>(read_at, {1}, 1, s, from, floats(out)); });
  };
  rapt::buffer x = q.allocate(512);
  const float* const data = floats(x);
  read(data + 127);
  EXPECT_DEATH(read(data + 128), "");
  x = rapt::buffer();
  EXPECT_DEATH(read(data), "");
}

TEST(runtime, a_copy_to_the_host_is_nan_until_a_synchronisation_of_its_stream) {
  queue q, other;
  const rapt::buffer x = q.allocate(4);
  const float seven = 7;
  q.copy(x.data(), &seven, 4, direction::to_device);
  float out = 1;
  q.copy(&out, x.data(), 4, direction::to_host);
  q.fill(x.data(), 0, 4);
  EXPECT_TRUE(std::isnan(out));
  other.synchronize();
  EXPECT_TRUE(std::isnan(out));
  q.synchronize();
  EXPECT_EQ(out, 7);
}
TEST(runtime, an_event_is_waited_for_with_what_came_before_it) {
  runtime::stream s = nullptr;
  runtime::event e = nullptr;
  ASSERT_FALSE(runtime::create_stream(s));
  ASSERT_FALSE(runtime::create_event(e));
  void* x = nullptr;
  ASSERT_FALSE(runtime::allocate(4, x));
  ASSERT_FALSE(runtime::fill(x, 0, 4, s));
  float first = 1, second = 1;
  ASSERT_FALSE(runtime::copy(&first, x, 4, direction::to_host, s));
  ASSERT_FALSE(runtime::record(e, s));
  ASSERT_FALSE(runtime::copy(&second, x, 4, direction::to_host, s));
  ASSERT_FALSE(runtime::wait(nullptr, e));
  ASSERT_FALSE(runtime::synchronize(e));
  EXPECT_EQ(first, 0);
  EXPECT_TRUE(std::isnan(second));
  runtime::destroy(s);
  EXPECT_EQ(second, 0);
  runtime::destroy(e);
  runtime::free(x);
}

TEST(runtime, the_log_has_what_was_called_and_nothing_else) {
  queue q;
  const rapt::buffer x = q.allocate(128);
  runtime::emulated::forget_calls();
  for (int step = 0; step < 3; ++step) launch_add_one(q, floats(x));
  EXPECT_EQ(runtime::emulated::calls(), std::vector<call>(3, call::launch));
  float out[32];
  q.copy(out, x.data(), 128, direction::to_host);
  q.synchronize();
  EXPECT_EQ(runtime::emulated::calls(), (std::vector<call>{call::launch, call::launch, call::launch, call::copy_to_host, call::synchronize}));
}

TEST(runtime, a_projection_is_one_launch_and_reads_nothing_but_its_operands) {
  using rapt::f16;
  constexpr int rows = 65, in = 128, out = 100;  // the last row ends where the allocation does
  queue q;
  const rapt::buffer x = q.allocate(rows * in * 2), w = q.allocate(out * in * 2), y = q.allocate(rows * out * 2);
  std::vector<f16> ones(rows * in, f16(1.0f)), result(rows * out);
  q.copy(x.data(), ones.data(), x.bytes(), direction::to_device);
  ones.resize(out * in, f16(1.0f));
  q.copy(w.data(), ones.data(), w.bytes(), direction::to_device);
  rapt::kernels::projection<f16> p;
  p.x = reinterpret_cast<const f16*>(x.data()), p.w = reinterpret_cast<const f16*>(w.data()), p.y = reinterpret_cast<f16*>(y.data());
  p.x_stride = p.w_stride = in, p.y_stride = out, p.in = in, p.out = out;
  for (const int count : {1, 7, 16, rows}) {
    p.rows = count;
    p.x = reinterpret_cast<const f16*>(x.data()) + (rows - count) * in;
    runtime::emulated::forget_calls();
    q.run([&](runtime::stream s) { rapt::kernels::project(p, s); });
    EXPECT_EQ(runtime::emulated::calls(), std::vector<call>{call::launch});
    q.copy(result.data(), y.data(), y.bytes(), direction::to_host);
    q.synchronize();
    for (int i = 0; i < count * out; ++i) ASSERT_EQ(static_cast<float>(result[static_cast<std::size_t>(i)]), 128.0f);
  }
  p.rows = rows;
  q.run([&](runtime::stream s) { rapt::kernels::project_with(rapt::kernels::project_kernel::large_tiles, p, s); });
  EXPECT_NO_THROW(q.synchronize());
}

TEST(runtime, hostile_48_a_failed_allocation_changes_nothing_and_may_be_tried_again) {
  queue q;
  const std::size_t before = runtime::emulated::allocated_bytes();
  runtime::emulated::fail(call::allocate, 1);
  const rapt::buffer first = q.allocate(4);
  EXPECT_EQ(error_of([&] { q.allocate(64); }), "cudaMalloc: out of memory");
  EXPECT_EQ(runtime::emulated::allocated_bytes(), before + 4);
  EXPECT_NE(q.allocate(64).data(), nullptr);
  EXPECT_EQ(error_of([&] { q.allocate(SIZE_MAX / 2); }), "cudaMalloc: out of memory");
}

TEST(runtime, hostile_48_after_a_failure_every_call_names_it_and_does_nothing) {
  struct {
    call kind;
    const char* message;
    void (*act)(queue&, const rapt::buffer&, float*);
  } const cases[] = {
      {call::launch, "cudaLaunchKernel: unspecified failure",
       [](queue& q, const rapt::buffer& x, float*) {
         launch_add_one(q, floats(x));
         q.check();
       }},
      {call::copy_to_device, "cudaMemcpyAsync: unspecified failure",
       [](queue& q, const rapt::buffer& x, float* out) { q.copy(x.data(), out, 128, direction::to_device); }},
      {call::copy_to_host, "cudaMemcpyAsync: unspecified failure",
       [](queue& q, const rapt::buffer& x, float* out) { q.copy(out, x.data(), 128, direction::to_host); }},
      {call::copy_on_device, "cudaMemcpyAsync: unspecified failure",
       [](queue& q, const rapt::buffer& x, float*) { q.copy(x.data(), x.data(), 128, direction::on_device); }},
      {call::fill, "cudaMemsetAsync: unspecified failure", [](queue& q, const rapt::buffer& x, float*) { q.fill(x.data(), 0, 128); }},
      {call::synchronize, "cudaStreamSynchronize: unspecified failure", [](queue& q, const rapt::buffer&, float*) { q.synchronize(); }},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(static_cast<int>(c.kind));
    queue q;
    const rapt::buffer x = q.allocate(128);
    float out[32] = {3};
    const float two[32] = {2};
    q.copy(x.data(), two, 128, direction::to_device);
    runtime::emulated::fail(c.kind);
    const std::string first = error_of([&] { c.act(q, x, out); });
    EXPECT_TRUE(first == c.message || first == std::string("an earlier call has failed: ") + c.message) << first;
    EXPECT_EQ(out[0], 3);
    const std::string later = std::string("an earlier call has failed: ") + c.message;
    runtime::emulated::forget_calls();
    EXPECT_EQ(error_of([&] { q.allocate(4); }), later);
    EXPECT_EQ(error_of([&] { q.copy(out, x.data(), 128, direction::to_host); }), later);
    EXPECT_EQ(error_of([&] { q.fill(x.data(), 0, 128); }), later);
    EXPECT_EQ(error_of([&] { q.synchronize(); }), later);
    launch_add_one(q, floats(x));
    EXPECT_EQ(error_of([&] { q.check(); }), later);
    EXPECT_TRUE(runtime::emulated::calls().empty());
    queue another;
    another.copy(out, x.data(), 128, direction::to_host);
    another.synchronize();
    EXPECT_EQ(out[0], 2) << "the failed call has changed the device";
  }
}

TEST(runtime, hostile_48_a_wrong_device_and_wrong_arguments_are_refused) {
  EXPECT_EQ(error_of([] { queue q(2); }), "cudaDeviceGetAttribute: invalid device ordinal");
  runtime::emulated::fail(call::create_stream);
  EXPECT_EQ(error_of([] { queue q; }), "cudaStreamCreateWithFlags: unspecified failure");
  float host[64] = {};
  const auto with_queue = [&](auto act) {
    queue q;
    const rapt::buffer x = q.allocate(128);
    return error_of([&] { act(q, x.data()); });
  };
  EXPECT_EQ(with_queue([&](queue& q, std::byte* x) { q.copy(x, host, 132, direction::to_device); }), "cudaMemcpyAsync: invalid argument");
  EXPECT_EQ(with_queue([&](queue& q, std::byte* x) { q.copy(host, x + 64, 128, direction::to_host); }), "cudaMemcpyAsync: invalid argument");
  EXPECT_EQ(with_queue([&](queue& q, std::byte* x) { q.copy(x, host, 128, direction::on_device); }), "cudaMemcpyAsync: invalid argument");
  EXPECT_EQ(with_queue([&](queue& q, std::byte*) { q.fill(host, 0, 4); }), "cudaMemsetAsync: invalid argument");
  EXPECT_EQ(with_queue([&](queue& q, std::byte* x) { q.copy(x, host, 0, direction::to_device); }), "none");
}

TEST(runtime, an_error_of_a_kernel_reaches_the_queue_and_closes_the_memory) {
  queue q;
  const rapt::buffer x = q.allocate(128);
  q.run([&](runtime::stream s) { simt::launch<simt::no_storage>(add_one, {0}, 32, s, floats(x)); });
  EXPECT_NE(error_of([&] { q.check(); }).find("grid x is 0"), std::string::npos);
  EXPECT_DEATH({ [[maybe_unused]] const volatile float read = *floats(x); }, "");
}

TEST(runtime, queues_of_two_devices_may_take_turns) {
  queue first(0), second(1);
  const rapt::buffer x = first.allocate(128), y = second.allocate(128);
  for (int turn = 0; turn < 2; ++turn) {
    launch_add_one(first, floats(x));
    launch_add_one(second, floats(y));
  }
  EXPECT_EQ(error_of([&] { first.check(); }), "none");
  EXPECT_EQ(error_of([&] { second.check(); }), "none");
}

TEST(runtime, a_moved_queue_keeps_its_stream_and_its_failure) {
  queue first;
  runtime::emulated::fail(call::synchronize);
  EXPECT_NE(error_of([&] { first.synchronize(); }), "none");
  queue second(std::move(first));
  EXPECT_NE(error_of([&] { second.check(); }), "none");
  queue third;
  third = std::move(second);
  EXPECT_NE(error_of([&] { third.synchronize(); }), "none");
}

}  // namespace
