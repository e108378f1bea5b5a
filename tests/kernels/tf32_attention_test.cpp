// Attention of floats by tf32 in three pieces against the scalar model: every byte, for random shapes, options, layouts and types, whatever the
// schedule and the division of keys; and how far it is from float64.
#include <contract/attend_case.hpp>
#include <tests/kernels/exact_attention_rig.hpp>
#include <tests/kernels/schedules.hpp>

namespace rapt_test {
namespace {

using contract::attend_case;
using contract::attend_limits;
using rapt::kernels::exact_parts;
using rapt::kernels::exact_products;

constexpr exact_parts all_parts[] = {exact_parts::rows, exact_parts::super_segments, exact_parts::segments};

/// False for a case of double.
bool compare(std::uint64_t seed, const attend_limits& limits, bool by_all_parts) {
  attend_case c = contract::make_case(seed, limits);
  if (c.p.accumulator != rapt::dtype::f32) return false;
  c.p.tf32 = true;
  SCOPED_TRACE(describe(seed, c));
  const contract::random_tensor untouched_out = c.out.copy(), untouched_lse = c.lse.copy();
  contract::model_attend<float>(c.p);
  const auto schedules = all_schedules();
  const rapt::simt::emulator::scoped_device device(schedules[seed % schedules.size()]);
  for (const exact_parts by : all_parts) {
    if (!by_all_parts && by != all_parts[seed % 3]) continue;
    contract::random_tensor out = untouched_out.copy(), lse = untouched_lse.copy();
    rapt::attend_params p = c.p;
    p.out = out.o;
    if (p.lse.data != nullptr) p.lse = lse.o;
    exact_attention_rig<float>(p).run<exact_products::tf32>(by);
    contract::expect_same_bytes(out.bytes(), c.out.bytes(), out.o.type, "out");
    contract::expect_same_bytes(lse.bytes(), c.lse.bytes(), lse.o.type, "lse");
  }
  return true;
}
void compare_many(std::uint64_t first_seed, int count, const attend_limits& limits, bool by_all_parts = false) {
  int compared = 0;
  for (int i = 0; i < count && !testing::Test::HasFailure(); ++i)
    compared += compare(first_seed + static_cast<std::uint64_t>(i), limits, by_all_parts) ? 1 : 0;
  EXPECT_GE(compared, count / 2);
}

TEST(tf32_attention, short_sequences) { compare_many(111'000, 60, {.work = 1e5}); }
TEST(tf32_attention, many_rows) { compare_many(113'000, 7, {.lens = {17, 65, 130, 300}, .max_rows = 150, .work = 1e6}); }
TEST(tf32_attention, around_one_segment) { compare_many(114'000, 16, {.lens = {511, 512, 513, 1024, 1025}, .max_rows = 6, .work = 5e5}); }
TEST(tf32_attention, around_one_super_segment_by_every_division_of_keys) {
  compare_many(115'000, 3, {.lens = {8193, 17'500}, .max_rows = 1, .work = 1e5}, true);
}
TEST(tf32_attention, special_values_in_queries_keys_and_values) {
  compare_many(116'000, 60, {.lens = {1, 15, 17, 65, 513}, .max_rows = 8, .work = 1e5, .special_values = true});
}

TEST(tf32_attention, bits_are_the_same_under_every_schedule) {
  attend_case c = contract::make_case(117'001, {.lens = {513, 1030}, .max_rows = 3, .work = 2e5});
  ASSERT_EQ(c.p.accumulator, rapt::dtype::f32);
  c.p.tf32 = true;
  contract::model_attend<float>(c.p);
  under_every_schedule([&] {
    contract::random_tensor out = c.out.copy();
    rapt::attend_params p = c.p;
    p.out = out.o;
    exact_attention_rig<float>(p).run<exact_products::tf32>(exact_parts::segments);
    contract::expect_same_bytes(out.bytes(), c.out.bytes(), out.o.type, "out");
  });
}

}  // namespace
}  // namespace rapt_test
