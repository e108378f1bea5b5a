// cpu::backend::attend against the scalar model: every bit, for random shapes, options, layouts, instruction sets and threads.
#include <contract/attend_case.hpp>

namespace rapt_test::contract {
namespace {

void compare(std::uint64_t seed, const attend_limits& limits) {
  attend_case c = make_case(seed, limits);
  SCOPED_TRACE(describe(seed, c));
  const random_tensor untouched_out = c.out.copy(), untouched_lse = c.lse.copy();
  rapt::attend_params p = c.p;
  with_accumulator(p.accumulator, [&](auto a) { model_attend<decltype(a)>(p); });
  random_source random(seed ^ 0xabcd);
  on_every_context(
      random,
      [&](rapt::cpu::context& ctx) {
        random_tensor out = untouched_out.copy(), lse = untouched_lse.copy();
        p.out = out.o;
        if (p.lse.data != nullptr) p.lse = lse.o;
        run_measured(ctx, [&](rapt::workspace& scratch) { rapt::cpu::backend::attend(ctx, p, scratch); });
        expect_same_bytes(out.bytes(), c.out.bytes(), out.o.type, "out");
        expect_same_bytes(lse.bytes(), c.lse.bytes(), lse.o.type, "lse");
      },
      p.bf16_pairs);
}

void compare_many(std::uint64_t first_seed, int count, const attend_limits& limits) {
  for (int i = 0; i < count && !testing::Test::HasFailure(); ++i) compare(first_seed + static_cast<std::uint64_t>(i), limits);
}

TEST(attend_contract, short_sequences) { compare_many(1'000, 1'500, {}); }
TEST(attend_contract, many_rows) { compare_many(3'000, 150, {.lens = {17, 65, 130, 300}, .max_rows = 150, .work = 5e6}); }
TEST(attend_contract, around_one_segment) { compare_many(4'000, 150, {.lens = {511, 512, 513, 1024, 1025}, .max_rows = 6, .work = 2e6}); }
TEST(attend_contract, around_one_super_segment) { compare_many(5'000, 24, {.lens = {8191, 8192, 8193, 16385}, .max_rows = 3, .work = 4e6}); }
TEST(attend_contract, special_values_in_queries_keys_and_values) {
  compare_many(6'000, 600, {.lens = {1, 15, 17, 65, 513}, .max_rows = 8, .special_values = true});
}

TEST(attend_contract, pairs_of_bf16) {
  compare_many(7'000, 1'000, {.bf16_pairs = true});
  compare_many(8'000, 60, {.lens = {17, 65, 130, 300}, .max_rows = 150, .work = 5e6, .bf16_pairs = true});
  compare_many(8'100, 60, {.lens = {511, 512, 513, 1024, 1025}, .max_rows = 6, .work = 2e6, .bf16_pairs = true});
  compare_many(8'200, 12, {.lens = {8191, 8193, 16385}, .max_rows = 3, .work = 4e6, .bf16_pairs = true});
}
TEST(attend_contract, special_values_in_pairs_of_bf16) {
  compare_many(9'000, 600, {.lens = {1, 15, 17, 65, 513}, .max_rows = 8, .special_values = true, .bf16_pairs = true});
}

}  // namespace
}  // namespace rapt_test::contract
