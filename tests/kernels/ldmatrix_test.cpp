#include <kernels/simt/ldmatrix.hpp>
#include <tests/kernels/schedules.hpp>

#include <vector>

namespace {

namespace simt = rapt::simt;

constexpr unsigned num_rows = 40, row_len = 24;  // more rows than are read, and a stride that no other extent has

struct tile {
  alignas(16) std::uint16_t rows[num_rows][row_len];
};
template <bool Transposed>
RAPT_KERNEL(32, 1)
load(const std::uint16_t* in, const unsigned* row_of_lane, unsigned first_column, std::uint32_t* out) {
  auto& s = simt::shared<tile>();
  for (unsigned i = simt::lane_idx(); i < num_rows * row_len; i += 32) s.rows[i / row_len][i % row_len] = in[i];
  simt::sync_warp();
  std::uint32_t registers[4];
  const std::uint32_t address = simt::shared_address(&s.rows[row_of_lane[simt::lane_idx()]][first_column]);
  if constexpr (Transposed)
    simt::load_matrices_transposed(registers, address);
  else
    simt::load_matrices(registers, address);
  for (unsigned i = 0; i < 4; ++i) out[simt::lane_idx() * 4 + i] = registers[i];
}

std::vector<std::uint16_t> distinct_elements() {
  std::vector<std::uint16_t> x(num_rows * row_len);
  for (unsigned i = 0; i < x.size(); ++i) x[i] = static_cast<std::uint16_t>(i * 31 + 5);
  return x;
}

TEST(ldmatrix, registers_hold_the_documented_elements) {
  const auto in = distinct_elements();
  std::vector<unsigned> row_of_lane(32);
  for (unsigned lane = 0; lane < 32; ++lane) row_of_lane[lane] = (lane * 11 + 3) % num_rows;
  rapt_test::under_every_schedule([&] {
    for (const unsigned first_column : {0u, 8u, 16u}) {
      std::vector<std::uint32_t> plain(128), transposed(128);
      simt::launch<tile>(load<false>, {1}, 32, nullptr, in.data(), row_of_lane.data(), first_column, plain.data());
      simt::launch<tile>(load<true>, {1}, 32, nullptr, in.data(), row_of_lane.data(), first_column, transposed.data());
      // Element by element, from the matrices' side: where does (row, column) of matrix m have to be?
      for (unsigned m = 0; m < 4; ++m)
        for (unsigned row = 0; row < 8; ++row)
          for (unsigned column = 0; column < 8; ++column) {
            const std::uint16_t expected = in[row_of_lane[m * 8 + row] * row_len + first_column + column];
            const auto half = [&](const std::vector<std::uint32_t>& registers, unsigned i, unsigned j) {
              return static_cast<std::uint16_t>(registers[(i * 4 + j / 2) * 4 + m] >> (j % 2 == 1 ? 16 : 0));
            };
            ASSERT_EQ(half(plain, row, column), expected);
            ASSERT_EQ(half(transposed, column, row), expected);
          }
    }
  });
}

TEST(ldmatrix, a_row_that_is_not_aligned_is_an_error) {
  const auto in = distinct_elements();
  const std::vector<unsigned> row_of_lane(32);
  std::vector<std::uint32_t> out(128);
  EXPECT_THROW(simt::launch<tile>(load<false>, {1}, 32, nullptr, in.data(), row_of_lane.data(), 4u, out.data()), simt::emulator::emulator_error);
}

}  // namespace
