// Random calls of rotate and append: norms, rotations, positions, types and layouts, a case for each seed.
#pragma once
#include <contract/params_model.hpp>
#include <contract/random_operands.hpp>

namespace rapt_test::contract {

/// Norm weights of the accumulator's type, and a rotation with its frequencies.
struct head_transform {
  std::vector<double> inverse_frequencies;
  nan_memory norm_memory;
  rapt::norm_params norm;
  rapt::rope_params rope;

  head_transform(random_source& random, dtype accumulator, index_t dim) {
    if (random.chance(0.5)) {
      norm_memory = nan_memory(dim * size_of(accumulator));
      for (index_t d = 0; d < dim; ++d) store<double>(accumulator, norm_memory.data(), d, 1 + 0.5 * random.symmetric());
      norm = {norm_memory.data(), random.pick<double>({0.0, 1e-6, 1e-5})};
    }
    if (dim < 2 || random.chance(0.3)) return;
    rope.dim = random.chance(0.6) ? dim / 2 * 2 : 2 * random.between(1, dim / 2);
    rope.interleaved = random.chance(0.4);
    rope.attention_factor = random.pick<double>({1.0, 1.0, 1.1386294361119891});
    for (index_t i = 0; i < rope.dim / 2; ++i) inverse_frequencies.push_back(std::ldexp(1 + random.uniform(), -static_cast<int>(random.below(20))));
    rope.inverse_frequencies = inverse_frequencies.data();
  }
};

/// Rows of several sequences, with positions of all sorts.
struct random_rows {
  std::vector<rapt::sequence_rows> sequences;
  std::vector<std::vector<index_t>> positions;
  index_t total = 0;

  explicit random_rows(random_source& random) {
    for (index_t n = random.between(1, 4); n > 0; --n) {
      rapt::sequence_rows s;
      s.first_row = total, s.num_rows = random.chance(0.1) ? 0 : random.chance(0.3) ? 1 : random.between(1, 20);
      s.kv_len = random.pick<index_t>({0, 0, 1, 15, 16, 47, 63, 64, 500});
      s.kv_batch = static_cast<index_t>(sequences.size());
      s.first_position = random.pick<index_t>({0, 1, 100, 8'191, 1'000'000});
      positions.emplace_back();
      if (random.chance(0.3)) {
        for (index_t i = 0; i < s.num_rows; ++i) positions.back().push_back(random.below(200'000));
        s.positions = positions.back().data();
      }
      total += s.num_rows;
      sequences.push_back(s);
    }
  }
};

/// A call of rotate.
struct rotate_case {
  random_source random;
  const dtype accumulator;
  const random_rows rows;
  const index_t dim;
  random_tensor x;
  const head_transform transform;
  rapt::rotate_params p;

  explicit rotate_case(std::uint64_t seed)
      : random(seed),
        accumulator(random.chance(0.3) ? dtype::f64 : dtype::f32),
        rows(random),
        dim(random.pick<index_t>({1, 2, 3, 16, 17, 30, 63, 64, 65, 128, 256})),
        x(random_tensor(random, accumulator, 1, rows.total, random.between(1, 5), dim)),
        transform((x.fill(random, random.pick<double>({1.0, 1e-3, 30.0})), random), accumulator, dim) {
    p.accumulator = accumulator, p.x = x.o, p.norm = transform.norm, p.rope = transform.rope;
    p.sequences = rows.sequences.data(), p.num_sequences = static_cast<index_t>(rows.sequences.size());
  }
};

/// A call of append, whose cache is NaN before.
struct append_case {
  random_source random;
  const bool wide, transformed, one_type;
  const dtype accumulator, kv_type;
  const random_rows rows;
  const index_t heads, head_dim, value_dim;
  random_tensor k, v;
  std::optional<head_transform> transform;
  std::vector<index_t> lens;  ///< of the sequences afterwards
  random_kv kv;
  std::vector<rapt::sequence_rows> sequences;
  rapt::append_params p;

  explicit append_case(std::uint64_t seed)
      : random(seed),
        wide(random.chance(0.3)),
        transformed(random.chance(0.6)),
        one_type(random.chance(0.3)),
        accumulator(wide ? dtype::f64 : dtype::f32),
        kv_type(one_type ? accumulator
                : wide   ? random.pick({dtype::f64, dtype::f32, dtype::bf16, dtype::f16})
                         : random.pick({dtype::f32, dtype::bf16, dtype::f16})),
        rows(random),
        heads(random.between(1, 4)),
        head_dim(random.pick<index_t>({1, 2, 3, 16, 17, 63, 64, 65, 128})),
        value_dim(random.pick<index_t>({1, 3, 16, 17, 64, 65})) {
    const auto type = [&] {
      return transformed || one_type ? accumulator
             : wide                  ? random.pick({dtype::f64, dtype::f32})
                                     : random.pick({dtype::f32, dtype::bf16, dtype::f16});
    };
    // Magnitudes at which bf16 and f16 overflow, lose bits and become subnormal.
    const double magnitude = random.pick<double>({1.0, 1e-6, 1e5, 3e38});
    k = random_tensor(random, type(), 1, rows.total, heads, head_dim);
    v = random_tensor(random, type(), 1, rows.total, heads, value_dim);
    p.accumulator = accumulator;
    p.k = k.fill(random, transformed ? 1.0 : magnitude).o, p.v = v.fill(random, magnitude).o;
    if (rows.total > 0 && random.chance(0.3)) k.spoil(random), v.spoil(random);
    transform.emplace(random, accumulator, head_dim);
    if (transformed) p.norm = transform->norm, p.rope = transform->rope;
    for (const rapt::sequence_rows& s : rows.sequences) lens.push_back(s.kv_len + s.num_rows);
    kv = random_kv(random, kv_type, heads, head_dim, value_dim, random.pick<index_t>({0, 16, 48, 64}), lens);
    sequences = rows.sequences;
    for (std::size_t n = 0; n < sequences.size(); ++n) sequences[n].pages = kv.pages(n);
    p.kv = kv.kv, p.sequences = sequences.data(), p.num_sequences = static_cast<index_t>(sequences.size());
  }
  append_case(const append_case&) = delete;
  append_case& operator=(const append_case&) = delete;
};

}  // namespace rapt_test::contract
