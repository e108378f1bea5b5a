// cpu::backend::rotate and append against the scalar model: norm, rotation, rounding to the cache's dtype, and nothing written beside the rows.
#include <contract/params_model.hpp>
#include <contract/random_operands.hpp>

namespace rapt_test::contract {
namespace {

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
      s.first_row = total, s.num_rows = random.chance(0.1) ? 0 : random.between(1, 20);
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

void compare_rotate(std::uint64_t seed) {
  SCOPED_TRACE("case " + std::to_string(seed));
  random_source random(seed);
  rapt::rotate_params p;
  p.accumulator = random.chance(0.3) ? dtype::f64 : dtype::f32;
  const random_rows rows(random);
  const index_t dim = random.pick<index_t>({1, 2, 3, 16, 17, 30, 63, 64, 65, 128, 256});
  random_tensor x(random, p.accumulator, 1, rows.total, random.between(1, 5), dim);
  x.fill(random, random.pick<double>({1.0, 1e-3, 30.0}));
  const head_transform transform(random, p.accumulator, dim);
  p.norm = transform.norm, p.rope = transform.rope;
  p.sequences = rows.sequences.data(), p.num_sequences = static_cast<index_t>(rows.sequences.size());
  random_tensor expected = x.copy();
  p.x = expected.o;
  with_accumulator(p.accumulator, [&](auto a) { model_rotate<decltype(a)>(p); });
  on_every_context(random, [&](rapt::cpu::context& ctx) {
    random_tensor got = x.copy();
    p.x = got.o;
    run_measured(ctx, [&](rapt::workspace& scratch) { rapt::cpu::backend::rotate(ctx, p, scratch); });
    expect_same_bytes(got.bytes(), expected.bytes(), got.o.type, "x");
  });
}

void compare_append(std::uint64_t seed) {
  SCOPED_TRACE("case " + std::to_string(seed));
  random_source random(seed);
  rapt::append_params p;
  const bool wide = random.chance(0.3), transformed = random.chance(0.6);
  p.accumulator = wide ? dtype::f64 : dtype::f32;
  const dtype kv_type = wide ? random.pick({dtype::f64, dtype::f32, dtype::bf16, dtype::f16}) : random.pick({dtype::f32, dtype::bf16, dtype::f16});
  const random_rows rows(random);
  const index_t heads = random.between(1, 4), head_dim = random.pick<index_t>({1, 2, 3, 16, 17, 63, 64, 65, 128}),
                value_dim = random.pick<index_t>({1, 3, 16, 17, 64, 65});
  const auto type = [&] {
    return transformed ? p.accumulator : wide ? random.pick({dtype::f64, dtype::f32}) : random.pick({dtype::f32, dtype::bf16, dtype::f16});
  };
  // Magnitudes at which bf16 and f16 overflow, lose bits and become subnormal.
  const double magnitude = random.pick<double>({1.0, 1e-6, 1e5, 3e38});
  random_tensor k(random, type(), 1, rows.total, heads, head_dim), v(random, type(), 1, rows.total, heads, value_dim);
  p.k = k.fill(random, transformed ? 1.0 : magnitude).o, p.v = v.fill(random, magnitude).o;
  const head_transform transform(random, p.accumulator, head_dim);
  if (transformed) p.norm = transform.norm, p.rope = transform.rope;
  std::vector<index_t> lens;
  for (const rapt::sequence_rows& s : rows.sequences) lens.push_back(s.kv_len + s.num_rows);
  random_kv kv(random, kv_type, heads, head_dim, value_dim, random.pick<index_t>({0, 16, 48, 64}), lens);
  std::vector<rapt::sequence_rows> sequences = rows.sequences;
  for (std::size_t n = 0; n < sequences.size(); ++n) sequences[n].pages = kv.pages(n);
  p.kv = kv.kv, p.sequences = sequences.data(), p.num_sequences = static_cast<index_t>(sequences.size());

  const std::vector<std::byte> before = kv.bytes();
  with_accumulator(p.accumulator, [&](auto a) { model_append<decltype(a)>(p); });
  const std::vector<std::byte> expected = kv.bytes();
  const random_tensor k_before = k.copy(), v_before = v.copy();
  // Lanes and columns past the end may hold anything: only elements that belong to a key count, and whole pages of others.
  const auto relevant = [&](const std::vector<std::byte>& all) {
    std::vector<std::byte> chosen;
    const index_t size = size_of(kv_type);
    const auto take = [&](index_t element) { chosen.insert(chosen.end(), all.begin() + element * size, all.begin() + (element + 1) * size); };
    for (std::size_t n = 0; n < sequences.size(); ++n) {
      const kv_place place{&kv.kv, &sequences[n]};
      for (index_t j = 0; j < lens[n]; ++j)
        for (index_t h = 0; h < heads; ++h) {
          for (index_t d = 0; d < head_dim; ++d) take(place.key_element(j, h, d));
          for (index_t d = 0; d < value_dim; ++d) take(place.value_element(j, h, d));
        }
    }
    if (!kv.tables.empty()) chosen.insert(chosen.end(), all.begin(), all.begin() + kv.kv.page_bytes);  // the page that belongs to nobody
    return chosen;
  };
  on_every_context(random, [&](rapt::cpu::context& ctx) {
    kv.restore(before);
    run_measured(ctx, [&](rapt::workspace& scratch) { rapt::cpu::backend::append(ctx, p, scratch); });
    expect_same_bytes(relevant(kv.bytes()), relevant(expected), kv_type, "kv");
    EXPECT_EQ(k.bytes(), k_before.bytes());
    EXPECT_EQ(v.bytes(), v_before.bytes());
  });
}

void compare_transfer(std::uint64_t seed) {
  SCOPED_TRACE("case " + std::to_string(seed));
  random_source random(seed);
  const dtype type = random.pick({dtype::f64, dtype::f32, dtype::bf16, dtype::f16});
  const index_t heads = random.between(1, 3), head_dim = random.pick<index_t>({1, 3, 16, 17, 64, 65}),
                value_dim = random.pick<index_t>({1, 3, 16, 17, 64, 65});
  const index_t len = random.between(1, 200), first = random.below(len), count = random.between(0, len - first), size = size_of(type);
  random_kv kv(random, type, heads, head_dim, value_dim, random.pick<index_t>({0, 16, 48, 64}), {len});
  rapt::sequence_rows s;
  s.pages = kv.pages(0);
  const kv_place place{&kv.kv, &s};
  std::vector<std::byte> k(static_cast<std::size_t>(count * heads * head_dim * size)), v(static_cast<std::size_t>(count * heads * value_dim * size));
  for (std::vector<std::byte>* all : {&k, &v})
    for (std::byte& b : *all) b = static_cast<std::byte>(random.bits());  // any bits, signalling NaNs too
  const std::vector<std::byte> before = kv.bytes();
  std::vector<std::byte> expected = before;
  for (index_t i = 0; i < count; ++i)
    for (index_t h = 0; h < heads; ++h) {
      for (index_t d = 0; d < head_dim; ++d)
        std::memcpy(&expected[static_cast<std::size_t>(place.key_element(first + i, h, d) * size)],
                    &k[static_cast<std::size_t>(((i * heads + h) * head_dim + d) * size)], static_cast<std::size_t>(size));
      for (index_t d = 0; d < value_dim; ++d)
        std::memcpy(&expected[static_cast<std::size_t>(place.value_element(first + i, h, d) * size)],
                    &v[static_cast<std::size_t>(((i * heads + h) * value_dim + d) * size)], static_cast<std::size_t>(size));
    }
  on_every_context(random, [&](rapt::cpu::context& ctx) {
    kv.restore(before);
    rapt::transfer_params p{kv.kv, kv.pages(0), 0, first, count, k.data(), v.data()};
    rapt::cpu::backend::import_kv(ctx, p);
    expect_same_bytes(kv.bytes(), expected, type, "imported");
    std::vector<std::byte> k_back(k.size()), v_back(v.size());
    p.k = k_back.data(), p.v = v_back.data();
    rapt::cpu::backend::export_kv(ctx, p);
    expect_same_bytes(k_back, k, type, "k");
    expect_same_bytes(v_back, v, type, "v");
  });
}

TEST(append_contract, norm_and_rotation) {
  for (std::uint64_t seed = 0; seed < 1'000 && !HasFailure(); ++seed) compare_rotate(40'000 + seed);
}
TEST(append_contract, rows_rounded_to_the_cache_dtype) {
  for (std::uint64_t seed = 0; seed < 400 && !HasFailure(); ++seed) compare_append(50'000 + seed);
}
TEST(append_contract, export_and_import_move_bits) {
  for (std::uint64_t seed = 0; seed < 200 && !HasFailure(); ++seed) compare_transfer(60'000 + seed);
}

}  // namespace
}  // namespace rapt_test::contract
