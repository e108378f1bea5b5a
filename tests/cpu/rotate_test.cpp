// Norm and rotation in place, and the same in append.
#include <cpu/rig.hpp>

namespace rapt_test {
namespace {

class rotate_in : public testing::TestWithParam<cpu::isa> {
 protected:
  cpu::context ctx{{.num_threads = 2, .instruction_set = GetParam()}};
};
INSTANTIATE_TEST_SUITE_P(, rotate_in, testing::ValuesIn(cpu::available_isas()),
                         [](const auto& info) { return std::string(cpu::name_of(info.param)); });

std::vector<double> frequencies(index_t pairs) {
  std::vector<double> f;
  for (index_t i = 0; i < pairs; ++i) f.push_back(std::pow(10'000.0, -static_cast<double>(i) / static_cast<double>(pairs)));
  return f;
}

/// One head row, naively in double.
std::vector<double> expected_row(std::vector<double> x, const std::vector<double>& weight, double eps, const rope_params& rope, double position) {
  double squares = 0;
  for (const double v : x) squares += v * v;
  const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + eps);
  for (std::size_t d = 0; d < x.size(); ++d) x[d] *= scale * weight[d];
  for (index_t i = 0; i < rope.dim / 2; ++i) {
    const auto a = static_cast<std::size_t>(rope.interleaved ? 2 * i : i),
               b = static_cast<std::size_t>(rope.interleaved ? 2 * i + 1 : i + rope.dim / 2);
    const double angle = position * rope.inverse_frequencies[i], c = std::cos(angle) * rope.attention_factor,
                 s = std::sin(angle) * rope.attention_factor;
    const double first = x[a], second = x[b];
    x[a] = first * c - second * s, x[b] = second * c + first * s;
  }
  return x;
}

template <class A>
void expect_rotated(cpu::context& ctx, index_t dim, index_t rope_dim, bool interleaved) {
  const index_t rows = 23, heads = 3;
  std::vector<A> x = random_values<A>(1, rows * heads * dim);
  const std::vector<A> before = x, weight = random_values<A>(2, dim);
  const std::vector<double> f = frequencies(rope_dim / 2);
  rotate_params p;
  p.accumulator = dtype_of<A>;
  p.x = rows_of(x, rows, heads, dim);
  p.norm = {weight.data(), 1e-3};
  p.rope = {rope_dim, interleaved, f.data(), 1.25};
  sequence_rows s[2];
  const std::vector<index_t> positions{7, 7, 100'000, 0, 3};
  s[0].num_rows = 18, s[0].first_position = 40;
  s[1].first_row = 18, s[1].num_rows = 5, s[1].positions = positions.data();
  p.sequences = s, p.num_sequences = 2;
  run(ctx, cpu::backend::rotate, p);
  const double unit = sizeof(A) == 8 ? 1e-12 : 64 * 0x1p-23;
  for (index_t r = 0; r < rows; ++r)
    for (index_t h = 0; h < heads; ++h) {
      const auto at = static_cast<std::size_t>((r * heads + h) * dim), n = static_cast<std::size_t>(dim);
      const std::vector<double> expected =
          expected_row(std::vector<double>(before.begin() + static_cast<index_t>(at), before.begin() + static_cast<index_t>(at + n)),
                       std::vector<double>(weight.begin(), weight.end()), 1e-3, p.rope,
                       static_cast<double>(r < 18 ? 40 + r : positions[static_cast<std::size_t>(r - 18)]));
      EXPECT_LE(max_difference(std::vector<A>(x.begin() + static_cast<index_t>(at), x.begin() + static_cast<index_t>(at + n)), expected),
                unit * std::max(1.0, max_abs(expected)))
          << "row " << r << ", head " << h << ", dim " << dim;
    }
}

TEST_P(rotate_in, agrees_with_double) {
  for (const auto& [dim, rope_dim] : {std::pair<index_t, index_t>{2, 2}, {17, 6}, {64, 64}, {65, 34}, {128, 128}})
    for (const bool interleaved : {false, true}) {
      expect_rotated<float>(ctx, dim, rope_dim, interleaved);
      expect_rotated<double>(ctx, dim, rope_dim, interleaved);
    }
}

TEST_P(rotate_in, append_stores_rotated_keys_rounded_once_and_leaves_its_operands) {
  const index_t rows = 75, heads = 2, dim = 34, value_dim = 5;
  const std::vector<float> k = random_values<float>(3, rows * heads * dim), v = random_values<float>(4, rows * heads * value_dim),
                           weight = random_values<float>(5, dim);
  const std::vector<float> k_before = k, v_before = v;
  const std::vector<double> f = frequencies(dim / 2);
  packed_cache cache(dtype::f16, heads, dim, value_dim, rows, 48);
  cache.sequence.num_rows = rows;
  append_params p;
  p.k = rows_of(k, rows, heads, dim), p.v = rows_of(v, rows, heads, value_dim);
  p.norm = {weight.data(), 1e-6}, p.rope = {dim, false, f.data(), 1};
  p.kv = cache.kv, p.sequences = &cache.sequence, p.num_sequences = 1;
  run(ctx, cpu::backend::append, p);
  EXPECT_TRUE(same_bits(k, k_before));
  EXPECT_TRUE(same_bits(v, v_before));

  std::vector<float> rotated = k;
  rotate_params r;
  r.x = rows_of(rotated, rows, heads, dim), r.norm = p.norm, r.rope = p.rope, r.sequences = &cache.sequence, r.num_sequences = 1;
  run(ctx, cpu::backend::rotate, r);
  std::vector<f16> stored_k(k.size()), stored_v(v.size()), expected_k, expected_v;
  cpu::backend::export_kv(ctx, {cache.kv, cache.pages.data(), 0, 0, rows, stored_k.data(), stored_v.data()});
  for (const float x : rotated) expected_k.push_back(f16(x));
  for (const float x : v) expected_v.push_back(f16(x));
  EXPECT_TRUE(same_bits(stored_k, expected_k));
  EXPECT_TRUE(same_bits(stored_v, expected_v));
}

}  // namespace
}  // namespace rapt_test
