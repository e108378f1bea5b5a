// cpu::backend::rotate and append against the scalar model: norm, rotation, rounding to the cache's dtype, and nothing written beside the rows.
#include <contract/append_case.hpp>

namespace rapt_test::contract {
namespace {

void compare_rotate(std::uint64_t seed) {
  SCOPED_TRACE("case " + std::to_string(seed));
  rotate_case c(seed);
  random_tensor expected = c.x.copy();
  rapt::rotate_params p = c.p;
  p.x = expected.o;
  with_accumulator(p.accumulator, [&](auto a) { model_rotate<decltype(a)>(p); });
  on_every_context(c.random, [&](rapt::cpu::context& ctx) {
    random_tensor got = c.x.copy();
    p.x = got.o;
    run_measured(ctx, [&](rapt::workspace& scratch) { rapt::cpu::backend::rotate(ctx, p, scratch); });
    expect_same_bytes(got.bytes(), expected.bytes(), got.o.type, "x");
  });
}

void compare_append(std::uint64_t seed) {
  SCOPED_TRACE("case " + std::to_string(seed));
  append_case c(seed);
  const random_kv& kv = c.kv;
  const std::vector<std::byte> before = kv.bytes();
  with_accumulator(c.p.accumulator, [&](auto a) { model_append<decltype(a)>(c.p); });
  const std::vector<std::byte> expected = kv.bytes();
  const random_tensor k_before = c.k.copy(), v_before = c.v.copy();
  // Lanes and columns past the end may hold anything: only elements that belong to a key count, and whole pages of others.
  const auto relevant = [&](const std::vector<std::byte>& all) {
    std::vector<std::byte> chosen;
    const index_t size = size_of(c.kv_type);
    const auto take = [&](index_t element) { chosen.insert(chosen.end(), all.begin() + element * size, all.begin() + (element + 1) * size); };
    for (std::size_t n = 0; n < c.sequences.size(); ++n) {
      const kv_place place{&kv.kv, &c.sequences[n]};
      for (index_t j = 0; j < c.lens[n]; ++j)
        for (index_t h = 0; h < c.heads; ++h) {
          for (index_t d = 0; d < c.head_dim; ++d) take(place.key_element(j, h, d));
          for (index_t d = 0; d < c.value_dim; ++d) take(place.value_element(j, h, d));
        }
    }
    if (!kv.tables.empty()) chosen.insert(chosen.end(), all.begin(), all.begin() + kv.kv.page_bytes);  // the page that belongs to nobody
    return chosen;
  };
  on_every_context(c.random, [&](rapt::cpu::context& ctx) {
    c.kv.restore(before);
    run_measured(ctx, [&](rapt::workspace& scratch) { rapt::cpu::backend::append(ctx, c.p, scratch); });
    expect_same_bytes(relevant(kv.bytes()), relevant(expected), c.kv_type, "kv");
    EXPECT_EQ(c.k.bytes(), k_before.bytes());
    EXPECT_EQ(c.v.bytes(), v_before.bytes());
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
