// Projections and packing of weights.
#include <cpu/rig.hpp>
#include <rapt/ops/project.hpp>

namespace rapt_test {
namespace {

template <class T, class W>
std::vector<T> projected(cpu::context& ctx, const std::vector<T>& x, index_t rows, const std::vector<W>& w, index_t in, index_t out,
                         const std::vector<W>& bias) {
  const auto packed = pack_linear<T>(ctx, view(w.data(), out, in), view(bias.data(), out));
  std::vector<T> y(static_cast<std::size_t>(rows * out));
  project(ctx, view(x.data(), rows, in), packed, view(y.data(), rows, out));
  return y;
}

class project_in : public testing::TestWithParam<cpu::isa> {
 protected:
  cpu::context ctx{{.num_threads = 2, .instruction_set = GetParam()}};
};
INSTANTIATE_TEST_SUITE_P(, project_in, testing::ValuesIn(cpu::available_isas()),
                         [](const auto& info) { return std::string(cpu::name_of(info.param)); });

template <class T, class W>
void expect_right(cpu::context& ctx, index_t rows, index_t in, index_t out) {
  const auto x = random_values<T>(1, rows * in);
  const auto w = random_values<W>(2, in * out), bias = random_values<W>(3, out);
  const std::vector<T> y = projected(ctx, x, rows, w, in, out, bias);
  std::vector<double> expected(y.size());
  for (index_t r = 0; r < rows; ++r)
    for (index_t c = 0; c < out; ++c) {
      double sum = as_double(bias[static_cast<std::size_t>(c)]);
      for (index_t k = 0; k < in; ++k) sum += as_double(x[static_cast<std::size_t>(r * in + k)]) * as_double(w[static_cast<std::size_t>(c * in + k)]);
      expected[static_cast<std::size_t>(r * out + c)] = sum;
    }
  const double unit = sizeof(T) == 8 ? 1e-12 : sizeof(T) == 4 ? 64 * 0x1p-23 : dtype_of<T> == dtype::f16 ? 64 * 0x1p-10 : 64 * 0x1p-7;
  EXPECT_LE(max_difference(y, expected), unit * std::max(1.0, max_abs(expected))) << rows << " x " << in << " x " << out;
}

TEST_P(project_in, odd_extents_agree_with_a_double_sum) {
  for (const auto& [rows, in, out] : {std::tuple<index_t, index_t, index_t>{1, 1, 1}, {3, 17, 65}, {13, 257, 31}, {101, 600, 48}, {400, 33, 70}}) {
    expect_right<float, float>(ctx, rows, in, out);
    expect_right<float, bf16>(ctx, rows, in, out);
    expect_right<float, f16>(ctx, rows, in, out);
    expect_right<float, double>(ctx, rows, in, out);
    expect_right<double, double>(ctx, rows, in, out);
    expect_right<double, bf16>(ctx, rows, in, out);
    expect_right<bf16, bf16>(ctx, rows, in, out);
    expect_right<f16, float>(ctx, rows, in, out);
  }
}

TEST_P(project_in, a_rows_bits_do_not_depend_on_the_other_rows) {
  const index_t rows = 107, in = 300, out = 90;
  const auto x = random_values<float>(1, rows * in), w = random_values<float>(2, in * out), bias = random_values<float>(3, out);
  cpu::context serial({.num_threads = 1});
  const std::vector<float> all = projected(serial, x, rows, w, in, out, bias);
  std::vector<float> pieces;
  for (index_t at = 0, piece = 1; at < rows; ++piece) {
    const index_t count = std::min(piece, rows - at);
    const std::vector<float> y = projected(ctx, std::vector<float>(x.begin() + at * in, x.begin() + (at + count) * in), count, w, in, out, bias);
    pieces.insert(pieces.end(), y.begin(), y.end());
    at += count;
  }
  EXPECT_TRUE(same_bits(pieces, all));
}

template <class T>
void expect_round_trip(cpu::context& ctx) {
  const index_t depth = 19, heads = 3, dim = 7, first = 5, columns = first + heads * dim;
  std::vector<T> source(static_cast<std::size_t>(depth * heads * dim)), back(source.size());
  std::mt19937_64 generator(4);
  for (T& x : source) {
    const std::uint64_t bits = generator();  // any bits, NaNs too
    std::memcpy(static_cast<void*>(&x), &bits, sizeof(T));
  }
  packed_weights<cpu::backend> packed(ctx, depth, columns, dtype_of<T>, false);
  packed.pack(ctx, rows_of(source, depth, heads, dim), first);
  packed.unpack(ctx, rows_of(back, depth, heads, dim), first);
  EXPECT_EQ(std::memcmp(back.data(), source.data(), source.size() * sizeof(T)), 0);
}

TEST_P(project_in, unpacking_gives_the_stored_bits_back) {
  expect_round_trip<float>(ctx);
  expect_round_trip<double>(ctx);
  expect_round_trip<bf16>(ctx);
  expect_round_trip<f16>(ctx);
}

TEST_P(project_in, double_weights_are_rounded_once_for_float_sums) {
  const std::vector<double> w{1 + 0x1p-24, 1 + 0x1p-24 + 0x1p-50, -3.14159265358979};
  packed_weights<cpu::backend> packed(ctx, 1, 3, dtype::f32, false);
  packed.pack(ctx, rows_of(w, 1, 1, 3), 0);
  std::vector<float> back(3);
  packed.unpack(ctx, rows_of(back, 1, 1, 3), 0);
  EXPECT_EQ(back, (std::vector<float>{1.0f, 1 + 0x1p-23f, -3.14159265358979f}));
}

}  // namespace
}  // namespace rapt_test
