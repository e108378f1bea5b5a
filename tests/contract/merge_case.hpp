// Random calls of merge, a case for each seed, and what the scalar model makes of them.
#pragma once
#include <contract/params_model.hpp>
#include <contract/random_operands.hpp>

namespace rapt_test::contract {

struct merge_case {
  random_source random;
  random_tensor a, b, out, a_lse, b_lse, out_lse;
  rapt::merge_params p;

  explicit merge_case(std::uint64_t seed) : random(seed) {
    const dtype type = random.pick({dtype::f32, dtype::f32, dtype::f64, dtype::bf16, dtype::f16});
    p.accumulator = rapt::accumulator_of(type);
    const index_t batch = random.between(1, 3), len = random.between(1, 20), heads = random.between(1, 5),
                  dim = random.pick<index_t>({1, 3, 16, 17, 64, 65});
    for (random_tensor* t : {&a, &b, &out}) *t = random_tensor(random, type, batch, len, heads, dim);
    for (random_tensor* t : {&a_lse, &b_lse, &out_lse}) *t = random_tensor(random, p.accumulator, batch, len, heads, 1);
    for (random_tensor* t : {&a, &b}) t->fill(random, 2);
    for (random_tensor* t : {&a_lse, &b_lse}) {
      t->fill(random, random.pick<double>({1.0, 10.0, 300.0}));
      for (index_t row = 0; row < batch * len; ++row)
        for (index_t h = 0; h < heads; ++h)
          if (random.chance(0.15))
            store<double>(p.accumulator, t->o.data, t->o.offset(row, h), random.pick<double>({-HUGE_VAL, -HUGE_VAL, std::nan("")}));
    }
    p.a = a.o, p.a_lse = a_lse.o, p.b = b.o, p.b_lse = b_lse.o, p.out = out.o, p.out_lse = out_lse.o;
  }
};

template <class A>
void model_merge(const rapt::merge_params& p) {
  for (index_t row = 0; row < p.out.rows(); ++row)
    for (index_t h = 0; h < p.out.heads; ++h) {
      const auto side = [&](const rapt::operand& values, const rapt::operand& lse) {
        return attended_row<A>{vector_of<A>(values, row, h), element<A>(lse, row, h, 0)};
      };
      const attended_row<A> result = merged(side(p.a, p.a_lse), side(p.b, p.b_lse));
      for (index_t d = 0; d < p.out.dim; ++d) set_element<A>(p.out, row, h, d, canonical(result.out[static_cast<std::size_t>(d)]));
      set_element<A>(p.out_lse, row, h, 0, canonical(result.lse));
    }
}

}  // namespace rapt_test::contract
