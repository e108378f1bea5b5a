#include <kernels/simt/mma.hpp>
#include <tests/kernels/schedules.hpp>

#include <cmath>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

namespace {

namespace simt = rapt::simt;
using rapt::bf16;
using rapt::f16;
using simt::emulator::hopper;
using simt::emulator::multiply_add_16;

// The matrices as anybody would store them; which lane holds what is said once more here, from the elements' side.
template <class T>
struct operands {
  T a[16][16], b[16][8];
  float c[16][8];
};
template <class T>
RAPT_KERNEL(32, 1)
multiply(const operands<T>* in, float* out) {
  const unsigned lane = simt::lane_idx();
  simt::mma_a a{};
  simt::mma_b b{};
  simt::mma_c c{};
  for (unsigned row = 0; row < 16; ++row)
    for (unsigned column = 0; column < 16; ++column)
      if (row % 8 * 4 + column % 8 / 2 == lane) a.registers[row / 8 + column / 8 * 2] |= std::uint32_t{in->a[row][column].bits} << column % 2 * 16;
  for (unsigned row = 0; row < 16; ++row)
    for (unsigned column = 0; column < 8; ++column)
      if (column * 4 + row % 8 / 2 == lane) b.registers[row / 8] |= std::uint32_t{in->b[row][column].bits} << row % 2 * 16;
  const auto each_of_c = [&](auto f) {
    for (unsigned row = 0; row < 16; ++row)
      for (unsigned column = 0; column < 8; ++column)
        if (row % 8 * 4 + column / 2 == lane) f(row, column, c.elements[row / 8 * 2 + column % 2]);
  };
  each_of_c([&](unsigned row, unsigned column, float& element) { element = in->c[row][column]; });
  simt::multiply_add<T>(c, a, b);
  each_of_c([&](unsigned row, unsigned column, float& element) { out[row * 8 + column] = element; });
}

template <class T>
class mma : public testing::Test {};
using element_types = testing::Types<f16, bf16>;
TYPED_TEST_SUITE(mma, element_types);

TYPED_TEST(mma, integers_are_multiplied_exactly) {
  std::mt19937 random(1);
  operands<TypeParam> in;
  const auto integer = [&](int most) { return static_cast<float>(static_cast<int>(random() % (2 * most + 1)) - most); };
  for (auto& row : in.a)
    for (auto& x : row) x = TypeParam(integer(64));
  for (auto& row : in.b)
    for (auto& x : row) x = TypeParam(integer(64));
  for (auto& row : in.c)
    for (auto& x : row) x = integer(1000);
  rapt_test::under_every_schedule([&] {
    std::vector<float> out(128);
    simt::launch<simt::no_storage>(multiply<TypeParam>, {1}, 32, nullptr, &in, out.data());
    for (unsigned i = 0; i < 16; ++i)
      for (unsigned j = 0; j < 8; ++j) {
        float sum = in.c[i][j];
        for (unsigned k = 0; k < 16; ++k) sum += static_cast<float>(in.a[i][k]) * static_cast<float>(in.b[k][j]);
        ASSERT_EQ(out[i * 8 + j], sum) << i << ' ' << j;
      }
  });
}

// The same rule in other words: the exponents by frexp, the cuts by trunc, in long double, which holds every sum here exactly.
template <class T>
float model(const simt::emulator::tensor_core& core, const T* a, const T* b, float addend) {
  const auto exponent_of = [](long double x, int smallest) {
    int e = 0;
    std::frexp(x, &e);
    return std::max(e - 1, smallest);
  };
  const int smallest = std::is_same_v<T, f16> ? -14 : -126;
  for (int first = 0; first < 16; first += core.block_len) {
    int largest = addend == 0 ? -1000 : exponent_of(addend, -126);
    for (int i = first; i < first + core.block_len; ++i) {
      const auto x = static_cast<float>(a[i]), y = static_cast<float>(b[i]);
      if (x != 0 && y != 0) largest = std::max(largest, exponent_of(x, smallest) + exponent_of(y, smallest));
    }
    const auto cut = [&](long double x) { return std::trunc(std::ldexp(x, core.fraction_bits - largest)); };
    long double sum = cut(addend);
    for (int i = first; i < first + core.block_len; ++i) sum += cut(static_cast<long double>(static_cast<float>(a[i])) * static_cast<float>(b[i]));
    sum = std::ldexp(sum, largest - core.fraction_bits);
    const int last = exponent_of(sum, -126) - 23;
    addend = static_cast<float>(std::ldexp(std::trunc(std::ldexp(sum, -last)), last));
  }
  return addend;
}

TYPED_TEST(mma, sums_are_cut_off_as_the_rule_says) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  int num_cut = 0;
  for (int n = 0; n < 20000; ++n) {
    TypeParam a[16], b[16];
    const int spread = n % 12;
    const auto scaled = [&] { return std::ldexp(normal(random), static_cast<int>(random() % (2 * spread + 1)) - spread); };
    for (auto& x : a) x = TypeParam(scaled());
    for (auto& x : b) x = TypeParam(scaled());
    const float c = scaled();
    double exact = c;
    for (int k = 0; k < 16; ++k) exact += static_cast<double>(static_cast<float>(a[k])) * static_cast<double>(static_cast<float>(b[k]));
    for (const simt::emulator::tensor_core& core : {hopper, simt::emulator::tensor_core{8, 24}, simt::emulator::tensor_core{4, 23}}) {
      const float got = multiply_add_16(core, a, b, c);
      ASSERT_EQ(got, model(core, a, b, c)) << n;
      num_cut += got != static_cast<float>(exact);
    }
  }
  EXPECT_GT(num_cut, 10000) << "these operands do not tell the rule from rounding";
}

TYPED_TEST(mma, an_infinity_or_nan_gives_what_ieee_754_says_and_the_devices_nan) {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const auto sum = [](float x, float y, float c) {
    TypeParam a[16] = {}, b[16] = {};
    a[7] = TypeParam(x), b[7] = TypeParam(y);
    return multiply_add_16(hopper, a, b, c);
  };
  EXPECT_EQ(sum(inf, 2, 1), inf);
  EXPECT_EQ(sum(inf, -2, 1), -inf);
  EXPECT_EQ(sum(1, 1, -inf), -inf);
  for (const float x : {sum(inf, 0, 1), sum(0, -inf, 1), sum(nan, 0, 1), sum(1, nan, 1), sum(1, 1, nan), sum(inf, 1, -inf), sum(1, -inf, inf)})
    EXPECT_EQ(std::bit_cast<std::uint32_t>(x), 0x7fffffffu);
}

}  // namespace
