// cpu::backend::merge against the scalar model, and against one attend over all keys within rounding.
#include <contract/params_model.hpp>
#include <contract/random_operands.hpp>
#include <rapt/ops/attend.hpp>
#include <rapt/ops/merge.hpp>

namespace rapt_test::contract {
namespace {

void compare(std::uint64_t seed) {
  SCOPED_TRACE("case " + std::to_string(seed));
  random_source random(seed);
  rapt::merge_params p;
  const dtype type = random.pick({dtype::f32, dtype::f32, dtype::f64, dtype::bf16, dtype::f16});
  p.accumulator = rapt::accumulator_of(type);
  const index_t batch = random.between(1, 3), len = random.between(1, 20), heads = random.between(1, 5),
                dim = random.pick<index_t>({1, 3, 16, 17, 64, 65});
  random_tensor a(random, type, batch, len, heads, dim), b(random, type, batch, len, heads, dim), out(random, type, batch, len, heads, dim);
  random_tensor a_lse(random, p.accumulator, batch, len, heads, 1), b_lse(random, p.accumulator, batch, len, heads, 1),
      out_lse(random, p.accumulator, batch, len, heads, 1);
  for (random_tensor* t : {&a, &b}) t->fill(random, 2);
  for (random_tensor* t : {&a_lse, &b_lse}) {
    t->fill(random, random.pick<double>({1.0, 10.0, 300.0}));
    for (index_t row = 0; row < batch * len; ++row)
      for (index_t h = 0; h < heads; ++h)
        if (random.chance(0.15))
          store<double>(p.accumulator, t->o.data, t->o.offset(row, h), random.pick<double>({-HUGE_VAL, -HUGE_VAL, std::nan("")}));
  }
  p.a = a.o, p.a_lse = a_lse.o, p.b = b.o, p.b_lse = b_lse.o;
  random_tensor expected = out.copy(), expected_lse = out_lse.copy();
  with_accumulator(p.accumulator, [&](auto accumulator) {
    using A = decltype(accumulator);
    for (index_t row = 0; row < batch * len; ++row)
      for (index_t h = 0; h < heads; ++h) {
        const auto side = [&](const rapt::operand& values, const rapt::operand& lse) {
          return attended_row<A>{vector_of<A>(values, row, h), element<A>(lse, row, h, 0)};
        };
        const attended_row<A> result = merged(side(p.a, p.a_lse), side(p.b, p.b_lse));
        for (index_t d = 0; d < dim; ++d) set_element<A>(expected.o, row, h, d, canonical(result.out[static_cast<std::size_t>(d)]));
        set_element<A>(expected_lse.o, row, h, 0, canonical(result.lse));
      }
  });
  on_every_context(random, [&](rapt::cpu::context& ctx) {
    random_tensor got = out.copy(), got_lse = out_lse.copy();
    p.out = got.o, p.out_lse = got_lse.o;
    run_measured(ctx, [&](rapt::workspace& scratch) { rapt::cpu::backend::merge(ctx, p, scratch); });
    expect_same_bytes(got.bytes(), expected.bytes(), type, "out");
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
