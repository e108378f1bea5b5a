// Exact attention against the CPU's attend and the scalar model: every byte, for random shapes, options, layouts and types, whatever the schedule and
// the division of keys.
#include <contract/attend_case.hpp>
#include <tests/kernels/exact_attention_rig.hpp>
#include <tests/kernels/schedules.hpp>

namespace rapt_test {
namespace {

using contract::attend_case;
using contract::attend_limits;
using rapt::kernels::exact_parts;

constexpr exact_parts all_parts[] = {exact_parts::rows, exact_parts::super_segments, exact_parts::segments};

void compare(std::uint64_t seed, const attend_limits& limits) {
  attend_case c = make_case(seed, limits);
  SCOPED_TRACE(describe(seed, c));
  const contract::random_tensor untouched_out = c.out.copy(), untouched_lse = c.lse.copy();
  const auto with_outputs = [&](contract::random_tensor& out, contract::random_tensor& lse) {
    rapt::attend_params p = c.p;
    p.out = out.o;
    if (p.lse.data != nullptr) p.lse = lse.o;
    return p;
  };
  contract::random_tensor of_cpu = untouched_out.copy(), lse_of_cpu = untouched_lse.copy();
  rapt::cpu::context& ctx = contract::context_for(rapt::cpu::isa::automatic, 1);
  const rapt::attend_params for_cpu = with_outputs(of_cpu, lse_of_cpu);
  contract::run_measured(ctx, [&](rapt::workspace& scratch) { rapt::cpu::backend::attend(ctx, for_cpu, scratch); });

  contract::with_accumulator(c.p.accumulator, [&](auto a) {
    using A = decltype(a);
    contract::model_attend<A>(c.p);
    const auto schedules = all_schedules();
    const rapt::simt::emulator::scoped_device device(schedules[seed % schedules.size()]);
    contract::random_tensor out = untouched_out.copy(), lse = untouched_lse.copy();
    const rapt::attend_params p = with_outputs(out, lse);
    exact_attention_rig<A>(p).run(all_parts[seed % 3]);
    contract::expect_same_bytes(out.bytes(), c.out.bytes(), out.o.type, "out, model");
    contract::expect_same_bytes(lse.bytes(), c.lse.bytes(), lse.o.type, "lse, model");
    contract::expect_same_bytes(out.bytes(), of_cpu.bytes(), out.o.type, "out, CPU");
    contract::expect_same_bytes(lse.bytes(), lse_of_cpu.bytes(), lse.o.type, "lse, CPU");
  });
}

void compare_many(std::uint64_t first_seed, int count, const attend_limits& limits) {
  for (int i = 0; i < count && !testing::Test::HasFailure(); ++i) compare(first_seed + static_cast<std::uint64_t>(i), limits);
}

TEST(exact_attention, short_sequences) { compare_many(101'000, 150, {.work = 1e5}); }
TEST(exact_attention, many_rows) { compare_many(103'000, 10, {.lens = {17, 65, 130, 300}, .max_rows = 150, .work = 2e6}); }
TEST(exact_attention, around_one_segment) { compare_many(104'000, 20, {.lens = {511, 512, 513, 1024, 1025}, .max_rows = 6, .work = 5e5}); }
TEST(exact_attention, around_one_super_segment) { compare_many(105'000, 6, {.lens = {8191, 8192, 8193, 16385}, .max_rows = 3, .work = 1e6}); }
TEST(exact_attention, special_values_in_queries_keys_and_values) {
  compare_many(106'000, 60, {.lens = {1, 15, 17, 65, 513}, .max_rows = 8, .work = 1e5, .special_values = true});
}

}  // namespace
}  // namespace rapt_test
