// The kernels' loads and stores of every type against the exact integer conversions of core/dtype.hpp.
#include <cpu/rig.hpp>

#include <cpu/kernels.hpp>

namespace rapt_test {
namespace {

class conversion_in : public testing::TestWithParam<cpu::isa> {
 protected:
  const cpu::row_kernels<float>& rows = cpu::kernels_of(GetParam()).rows_f32;
};
INSTANTIATE_TEST_SUITE_P(, conversion_in, testing::ValuesIn(cpu::available_isas()),
                         [](const auto& info) { return std::string(cpu::name_of(info.param)); });

template <class T>
void expect_rounded_alike(const cpu::row_kernels<float>& rows, std::uint32_t first_bits, std::uint32_t step) {
  constexpr index_t n = 1 << 14;
  std::vector<float> from(n);
  std::vector<T> to(n);
  std::uint32_t bits = first_bits;
  for (int block = 0; block < 64; ++block) {
    for (float& x : from) x = std::bit_cast<float>(bits), bits += step;
    rows.store(from.data(), 1.0f, n, to.data(), dtype_of<T>, 1);
    for (index_t i = 0; i < n; ++i)
      ASSERT_EQ(to[static_cast<std::size_t>(i)].bits, T(from[static_cast<std::size_t>(i)]).bits)
          << std::hex << std::bit_cast<std::uint32_t>(from[static_cast<std::size_t>(i)]);
  }
}

TEST_P(conversion_in, floats_are_rounded_once_to_nearest_even) {
  // 2^20 floats all over the range, and every bit pattern around the ties of both types.
  for (const std::uint32_t step : {4097u, 0x1000u, 1u})
    for (const std::uint32_t first :
         {0u, 0x33000000u - 0x2000u, 0x38800000u - 0x80000u, 0x477fe000u - 0x2000u, 0x7f7f0000u - 0x8000u, 0x7f800000u - 16u}) {
      expect_rounded_alike<bf16>(rows, first, step);
      expect_rounded_alike<f16>(rows, first, step);
      expect_rounded_alike<f16>(rows, first | 0x80000000u, step);
    }
}

template <class T>
void expect_widened_alike(const cpu::row_kernels<float>& rows) {
  constexpr index_t n = 1 << 16;
  std::vector<T> from(n);
  for (index_t i = 0; i < n; ++i) from[static_cast<std::size_t>(i)].bits = static_cast<std::uint16_t>(i);
  std::vector<float> to(n), strided(n);
  rows.load(from.data(), dtype_of<T>, 1, n, to.data());
  for (index_t i = 0; i < n; ++i) {
    const float expected = static_cast<float>(from[static_cast<std::size_t>(i)]), got = to[static_cast<std::size_t>(i)];
    if (std::isnan(expected))
      ASSERT_TRUE(std::isnan(got));
    else
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(expected)) << i;
  }
}

TEST_P(conversion_in, all_sixteen_bit_values_widen_exactly) {
  expect_widened_alike<bf16>(rows);
  expect_widened_alike<f16>(rows);
}

TEST_P(conversion_in, a_nan_is_stored_as_the_canonical_one) {
  std::vector<float> from(19, std::bit_cast<float>(0xffabcdefu)), to(19);
  rows.store(from.data(), 1.0f, 19, to.data(), dtype::f32, 1);
  for (const float x : to) EXPECT_EQ(std::bit_cast<std::uint32_t>(x), 0x7fc00000u);
}

}  // namespace
}  // namespace rapt_test
