// Angles of a step's rows against the CPU's sincos, bit by bit.
#include <contract/random_operands.hpp>
#include <kernels/angles.hpp>
#include <math/elementary.hpp>
#include <tests/kernels/schedules.hpp>

#include <bit>

namespace rapt_test {
namespace {

namespace kernels = rapt::kernels;
using rapt::index_t;

TEST(angles, sincos_has_the_cpu_s_bits) {
  contract::random_source random(3);
  std::vector<double> arguments = {0.0,
                                   -0.0,
                                   0x1p-27,
                                   0x1p40,
                                   1.5707963267948966,
                                   3.141592653589793,
                                   1e22,
                                   0x1.fffffffffffffp1023,
                                   std::numeric_limits<double>::infinity(),
                                   std::numeric_limits<double>::quiet_NaN()};
  for (int i = 0; i < 200'000; ++i) {
    arguments.push_back(std::bit_cast<double>(random.bits()));
    arguments.push_back(random.symmetric() * random.pick<double>({1, 10, 1e3, 1e6, 0x1p40, 0x1p62}));
    arguments.push_back(static_cast<double>(random.below(1'000'000)) * 1.5707963267948966);
  }
  for (const double x : arguments) {
    double s, c, expected_s, expected_c;
    kernels::sincos(x, s, c);
    rapt::math::sincos(x, expected_s, expected_c);
    const auto same = [](double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b); };
    ASSERT_TRUE(same(s, expected_s) && same(c, expected_c)) << x;
  }
}

TEST(angles, rows_have_their_sequences_positions_or_those_given) {
  const std::vector<kernels::rotated_rows> sequences = {{0, 3, 100}, {5, 2, -4}, {7, 40, index_t{1} << 50}};
  constexpr int num_rows = 48, num_pairs = 5;
  const std::vector<double> frequencies = {1, 0.3, 1e-3, 1e-9, 7};
  std::vector<index_t> given(num_rows);
  for (int r = 0; r < num_rows; ++r) given[static_cast<std::size_t>(r)] = r * r * 1'000'003;
  for (const bool explicit_positions : {false, true})
    under_every_schedule([&] {
      std::vector<kernels::angle_of<double>> angles(num_rows * num_pairs, {9, 9});
      kernels::angles_problem<double> p;
      p.sequences = sequences.data(), p.num_sequences = 3, p.num_rows = num_rows, p.num_pairs = num_pairs;
      p.positions = explicit_positions ? given.data() : nullptr;
      p.inverse_frequencies = frequencies.data(), p.attention_factor = 1.25, p.angles = angles.data();
      kernels::launch_angles(p, nullptr);
      for (int row = 0; row < num_rows; ++row)
        for (int pair = 0; pair < num_pairs; ++pair) {
          double s = 9, c = 9;
          for (const kernels::rotated_rows& of : sequences)
            if (row >= of.first_row && row < of.first_row + of.num_rows) {
              const index_t position = explicit_positions ? given[static_cast<std::size_t>(row)] : of.first_position + row - of.first_row;
              rapt::math::sincos(static_cast<double>(position) * frequencies[static_cast<std::size_t>(pair)], s, c);
              s *= 1.25, c *= 1.25;
            }
          const kernels::angle_of<double> got = angles[static_cast<std::size_t>(row * num_pairs + pair)];
          ASSERT_EQ(got.s, s) << row << ' ' << pair;
          ASSERT_EQ(got.c, c) << row << ' ' << pair;
        }
    });
}

}  // namespace
}  // namespace rapt_test
