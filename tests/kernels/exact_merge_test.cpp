// Exact merging against the CPU's merge and the scalar model: every byte, for random partial results, under every schedule.
#include <contract/merge_case.hpp>
#include <kernels/exact_merge.hpp>
#include <tests/kernels/schedules.hpp>

namespace rapt_test {
namespace {

using contract::merge_case;
using contract::random_tensor;

void compare(std::uint64_t seed) {
  SCOPED_TRACE("case " + std::to_string(seed));
  merge_case c(seed);
  struct result {
    random_tensor out, lse;
  };
  const auto by = [&](auto merge) {
    result r{c.out.copy(), c.out_lse.copy()};
    rapt::merge_params p = c.p;
    p.out = r.out.o, p.out_lse = r.lse.o;
    merge(p);
    return r;
  };
  const auto schedules = all_schedules();
  const rapt::simt::emulator::scoped_device device(schedules[seed % schedules.size()]);
  const result got = by([](const auto& p) { rapt::kernels::merge_exact(p, nullptr); });
  const result of_model =
      by([](const auto& p) { contract::with_accumulator(p.accumulator, [&](auto a) { contract::model_merge<decltype(a)>(p); }); });
  const result of_cpu = by([](const auto& p) {
    rapt::cpu::context& ctx = contract::context_for(rapt::cpu::isa::automatic, 1);
    contract::run_measured(ctx, [&](rapt::workspace& scratch) { rapt::cpu::backend::merge(ctx, p, scratch); });
  });
  for (const result* expected : {&of_model, &of_cpu}) {
    contract::expect_same_bytes(got.out.bytes(), expected->out.bytes(), got.out.o.type, "out");
    contract::expect_same_bytes(got.lse.bytes(), expected->lse.bytes(), got.lse.o.type, "lse");
  }
  // In place.
  rapt::merge_params p = c.p;
  random_tensor into = c.b.copy(), lse_into = c.b_lse.copy();
  p.b = p.out = into.o, p.b_lse = p.out_lse = lse_into.o;
  rapt::kernels::merge_exact(p, nullptr);
  for (rapt::index_t row = 0; row < p.out.rows(); ++row)
    for (rapt::index_t h = 0; h < p.out.heads; ++h) {
      const auto expect_same = [&](const rapt::operand& in_place, const rapt::operand& apart, rapt::index_t d) {
        const auto x = contract::element<double>(in_place, row, h, d), y = contract::element<double>(apart, row, h, d);
        EXPECT_TRUE(x == y || (x != x && y != y)) << x << " in place, " << y << " apart";
      };
      for (rapt::index_t d = 0; d < p.out.dim; ++d) expect_same(p.out, got.out.o, d);
      expect_same(p.out_lse, got.lse.o, 0);
    }
}

TEST(exact_merge, random_partial_results) {
  for (std::uint64_t seed = 0; seed < 60 && !HasFailure(); ++seed) compare(170'000 + seed);
}

TEST(exact_merge, errors_are_found_before_anything_is_written) {
  const auto code_of = [](auto change) {
    merge_case c(170'000);
    const random_tensor before = c.out.copy();
    change(c.p);
    try {
      rapt::kernels::merge_exact(c.p, nullptr);
    } catch (const rapt::error& e) {
      EXPECT_EQ(c.out.bytes(), before.bytes());
      return e.code();
    }
    return rapt::errc::none;
  };
  using params = rapt::merge_params;
  EXPECT_EQ(code_of([](params&) {}), rapt::errc::none);
  EXPECT_EQ(code_of([](params& p) { p.out.len = 0; }), rapt::errc::none);
  EXPECT_EQ(code_of([](params& p) { p.a.data = nullptr; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](params& p) { p.b.type = rapt::dtype::i64; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](params& p) { p.a_lse.type = rapt::dtype::bf16; }), rapt::errc::shape);
}

}  // namespace
}  // namespace rapt_test
