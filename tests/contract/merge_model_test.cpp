// cpu::backend::merge against the scalar model, and against one attend over all keys within rounding.
#include <contract/merge_case.hpp>
#include <rapt/ops/attend.hpp>
#include <rapt/ops/merge.hpp>

namespace rapt_test::contract {
namespace {

void compare(std::uint64_t seed) {
  SCOPED_TRACE("case " + std::to_string(seed));
  merge_case c(seed);
  rapt::merge_params p = c.p;
  random_tensor expected = c.out.copy(), expected_lse = c.out_lse.copy();
  p.out = expected.o, p.out_lse = expected_lse.o;
  with_accumulator(p.accumulator, [&](auto a) { model_merge<decltype(a)>(p); });
  on_every_context(c.random, [&](rapt::cpu::context& ctx) {
    random_tensor got = c.out.copy(), got_lse = c.out_lse.copy();
    p.out = got.o, p.out_lse = got_lse.o;
    run_measured(ctx, [&](rapt::workspace& scratch) { rapt::cpu::backend::merge(ctx, p, scratch); });
    expect_same_bytes(got.bytes(), expected.bytes(), p.out.type, "out");
    expect_same_bytes(got_lse.bytes(), expected_lse.bytes(), p.accumulator, "lse");
  });
}

TEST(merge_contract, random_partial_results) {
  for (std::uint64_t seed = 0; seed < 600 && !HasFailure(); ++seed) compare(70'000 + seed);
}

TEST(merge_contract, parts_of_the_keys_become_the_whole_within_rounding) {
  random_source random(71);
  rapt::cpu::context& ctx = context_for(rapt::cpu::isa::automatic, 1);
  const index_t rows = 6, keys = 90, heads = 2, dim = 8;
  const std::vector<double> q = [&] {
    std::vector<double> x;
    for (index_t i = 0; i < rows * heads * dim; ++i) x.push_back(2 * random.symmetric());
    return x;
  }();
  std::vector<double> k, v;
  for (index_t i = 0; i < keys * heads * dim; ++i) k.push_back(2 * random.symmetric()), v.push_back(random.symmetric());
  const auto attend = [&](index_t first, index_t count, std::vector<double>& out, std::vector<double>& lse) {
    out.resize(q.size()), lse.resize(static_cast<std::size_t>(heads * rows));
    rapt::attend(ctx, rapt::view(q.data(), 1, rows, heads, dim), rapt::view(k.data() + first * heads * dim, 1, count, heads, dim),
                 rapt::view(v.data() + first * heads * dim, 1, count, heads, dim), rapt::view(out.data(), 1, rows, heads, dim),
                 rapt::view(lse.data(), 1, heads, rows));
  };
  std::vector<double> whole, whole_lse;
  attend(0, keys, whole, whole_lse);
  for (const index_t cut : {0, 1, 17, 64, 90}) {
    std::vector<double> a, a_lse, b, b_lse;
    attend(0, cut, a, a_lse);
    attend(cut, keys - cut, b, b_lse);
    const auto values = [&](std::vector<double>& x) { return rapt::view(x.data(), 1, rows, heads, dim); };
    const auto lses = [&](std::vector<double>& x) { return rapt::view(x.data(), 1, heads, rows); };
    rapt::merge(ctx, {values(a), lses(a_lse)}, {values(b), lses(b_lse)}, values(a), lses(a_lse));
    for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_NEAR(a[i], whole[i], 1e-14) << "cut at " << cut;
    for (std::size_t i = 0; i < whole_lse.size(); ++i)
      EXPECT_NEAR(a_lse[i], whole_lse[i], 1e-14 * std::max(1.0, std::abs(whole_lse[i]))) << "cut at " << cut;
  }
}

}  // namespace
}  // namespace rapt_test::contract
