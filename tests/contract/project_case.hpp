// Random calls of project: extents, dtypes, biases, residuals and targets, a case for each seed.
#pragma once
#include <contract/params_model.hpp>
#include <contract/random_operands.hpp>

namespace rapt_test::contract {

struct project_limits {
  std::vector<index_t> depths = {1, 3, 16, 17, 63, 65, 128, 255, 256, 257, 511, 513, 769};
  std::vector<index_t> columns = {1, 3, 15, 16, 17, 33, 63, 64, 65, 97};
  index_t max_rows = 14;
  bool special_values = false;
  bool bf16_pairs = false;
};

/// A packed matrix filled by hand: [ceil(columns / 16)][depth][16], lanes past the last column NaN.
struct hand_packed {
  nan_memory data, bias;
  rapt::packed_matrix matrix;

  hand_packed(random_source& random, dtype type, dtype accumulator, index_t depth, index_t columns, bool special_values) {
    matrix.type = type, matrix.depth = depth, matrix.columns = columns;
    const index_t groups = (columns + 15) / 16;
    data = nan_memory(groups * 16 * depth * size_of(type));
    matrix.data = data.data();
    for (index_t k = 0; k < depth; ++k)
      for (index_t c = 0; c < columns; ++c)
        store<double>(type, data.data(), (c / 16 * depth + k) * 16 + c % 16,
                      special_values && random.chance(0.002) ? std::nan("") : random.symmetric());
    if (!random.chance(0.5)) return;
    bias = nan_memory(groups * 16 * size_of(accumulator));
    for (index_t c = 0; c < columns; ++c) store<double>(accumulator, bias.data(), c, random.symmetric());
    matrix.bias = bias.data();
  }
};

struct project_case {
  random_tensor x, residual;
  std::vector<hand_packed> weights;
  std::vector<random_tensor> outs;
  std::vector<rapt::project_params::target> targets;
  rapt::project_params p;

  project_case(std::uint64_t seed, const project_limits& limits) {
    random_source random(seed);
    const auto one_of = [&](const std::vector<index_t>& of) { return random.pick(of); };
    const bool wide = !limits.bf16_pairs && random.chance(0.25);
    p.accumulator = wide ? dtype::f64 : dtype::f32;
    p.bf16_pairs = limits.bf16_pairs;
    const dtype x_type = p.bf16_pairs ? dtype::bf16 : wide ? dtype::f64 : random.pick({dtype::f32, dtype::bf16, dtype::f16});
    const dtype w_type = p.bf16_pairs ? dtype::bf16 : wide ? dtype::f64 : random.pick({dtype::f32, dtype::bf16, dtype::f16});
    const index_t batch = random.between(1, 3), len = random.between(1, std::max<index_t>(1, limits.max_rows / batch));
    const index_t depth = one_of(limits.depths), x_heads = depth % 3 == 0 && random.chance(0.3) ? 3 : 1;
    x = random_tensor(random, x_type, batch, len, x_heads, depth / x_heads);
    x.fill(random, random.pick<double>({1.0, 0.01, 100.0}));
    if (limits.special_values)
      for (int i = 0; i < 2; ++i)
        store<double>(x_type, x.o.data, x.o.offset(random.below(x.o.rows()), random.below(x_heads)) + random.below(x.o.dim) * x.o.dim_stride,
                      random.pick<double>({std::nan(""), HUGE_VAL, -HUGE_VAL, 3e38, -0.0}));
    p.x = x.o;

    const index_t num_targets = random.between(1, 3);
    for (index_t t = 0; t < num_targets; ++t) {
      const index_t columns = one_of(limits.columns), heads = columns % 3 == 0 ? 3 : 1;
      weights.emplace_back(random, w_type, p.accumulator, depth, columns, limits.special_values);
      outs.emplace_back(random, random.chance(0.6) ? p.accumulator : x_type, batch, len, heads, columns / heads);
    }
    if (num_targets == 1 && random.chance(0.4)) {
      residual = random_tensor(random, x_type, batch, len, outs[0].o.heads, outs[0].o.dim);
      residual.fill(random, 1.0);
      p.residual = residual.o;
    }
    for (std::size_t t = 0; t < outs.size(); ++t) targets.push_back({weights[t].matrix, outs[t].o});
    p.targets = targets;
  }

  /// Outputs like these, which p then has.
  std::vector<random_tensor> outputs(const std::vector<random_tensor>& like) {
    std::vector<random_tensor> made;
    for (std::size_t t = 0; t < outs.size(); ++t) {
      made.push_back(like[t].copy());
      targets[t].out = made[t].o;
    }
    return made;
  }
};

}  // namespace rapt_test::contract
