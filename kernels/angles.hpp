// Cosines and sines of the rotary embedding of a step's rows: position * inverse frequency in double, reduced and evaluated as on the CPU, with its
// bits (src/math/elementary.cpp has the derivations), times the attention factor, rounded once.
//
// A thread has one pair of a row. Bound: about 60 operations of double for each. Test: tests/kernels/angles_test.cpp.
#pragma once
#include <kernels/append_problem.hpp>
#include <kernels/elementary.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// high + low, unevaluated.
struct split_double {
  double high, low;
};
RAPT_DEVICE split_double renormalised(double high, double low) {
  const double sum = high + low;
  return {sum, low - (sum - high)};
}

/// An angle as quadrant * pi / 2 + rest.
struct reduced_angle {
  unsigned quadrant;  // mod 4
  split_double rest;
};

/// |x| < 2^40.
RAPT_DEVICE reduced_angle reduce_moderate(double x) {
  constexpr double rounder = 0x1.8p52, two_over_pi = math::coefficients::two_over_pi, pi_over_2 = math::coefficients::pi_over_2;
  constexpr double pi_over_2_low = math::coefficients::pi_over_2_low, pi_over_2_lowest = math::coefficients::pi_over_2_lowest;
  const double n = (x * two_over_pi + rounder) - rounder;
  if (n == 0) return {0, {x, 0}};
  const double coarse = simt::fma(-n, pi_over_2, x);
  const double correction = n * pi_over_2_low, correction_low = simt::fma(n, pi_over_2_low, -correction);
  const double sum = coarse - correction, part = sum - coarse;
  const double sum_low = (coarse - (sum - part)) + (-correction - part);
  const double low = (sum_low - correction_low) - n * pi_over_2_lowest;
  return {static_cast<unsigned>(static_cast<std::int64_t>(n) & 3), renormalised(sum, low)};
}

/// Word `i` of the bits of 2 / pi. A device has no such array.
template <std::size_t I = 0>
RAPT_DEVICE std::uint64_t two_over_pi_word(unsigned i) {
  constexpr std::uint64_t word = math::coefficients::two_over_pi_bits[I];
  if constexpr (I + 1 == std::size(math::coefficients::two_over_pi_bits))
    return word;
  else
    return i == I ? word : two_over_pi_word<I + 1>(i);
}

/// Any larger x, by 192 bits of 2 / pi.
RAPT_DEVICE reduced_angle reduce_large(double x) {
  __extension__ using uint128 = unsigned __int128;
  constexpr double pi_over_2 = math::coefficients::pi_over_2, pi_over_2_low = math::coefficients::pi_over_2_low;
  const std::uint64_t bits = simt::bits_of(x), m = (bits & 0xfffffffffffff) | 0x10000000000000;
  const bool is_negative = bits >> 63 != 0;
  const unsigned first_bit = static_cast<unsigned>(64 + static_cast<int>((bits >> 52) & 0x7ff) - 1075 - 2), word = first_bit / 64,
                 shift = first_bit % 64;
  std::uint64_t window[3];
  RAPT_UNROLL for (unsigned i = 0; i < 3; ++i) {
    const std::uint64_t left = two_over_pi_word(word + i), right = shift == 0 ? 0 : two_over_pi_word(word + i + 1) >> (64 - shift);
    window[i] = left << shift | right;
  }
  const uint128 low = static_cast<uint128>(m) * window[2];
  const uint128 middle = static_cast<uint128>(m) * window[1] + static_cast<std::uint64_t>(low >> 64);
  const std::uint64_t top = m * window[0] + static_cast<std::uint64_t>(middle >> 64);
  const std::uint64_t fraction_high = top << 2 | static_cast<std::uint64_t>(middle) >> 62;
  const std::uint64_t fraction_low = static_cast<std::uint64_t>(middle) << 2 | static_cast<std::uint64_t>(low) >> 62;
  unsigned quadrant = static_cast<unsigned>(top >> 62);
  uint128 fraction = static_cast<uint128>(fraction_high) << 64 | fraction_low;
  const bool above_half = fraction_high >> 63 != 0;
  if (above_half) fraction = -fraction, ++quadrant;
  int zeros = 0;
  while (zeros < 127 && (fraction >> 127) == 0) fraction <<= 1, ++zeros;
  const double unit = simt::double_of(static_cast<std::uint64_t>(1023 - 53 - zeros) << 52);
  const double a = static_cast<double>(static_cast<std::uint64_t>(fraction >> 75)) * unit;
  const double a_low = static_cast<double>(static_cast<std::uint64_t>(fraction >> 11)) * (unit * 0x1p-64);
  const double product = a * pi_over_2, product_low = simt::fma(a, pi_over_2, -product);
  const split_double rest = renormalised(product, product_low + (a * pi_over_2_low + a_low * pi_over_2));
  const bool negative = above_half != is_negative;
  return {is_negative ? 4 - quadrant % 4 : quadrant, negative ? split_double{-rest.high, -rest.low} : rest};
}

/// Of every finite x; both the canonical NaN otherwise.
RAPT_DEVICE void sincos(double x, double& s, double& c) {
  const double magnitude = simt::double_of(simt::bits_of(x) & ~(std::uint64_t{1} << 63));
  if (!(simt::bits_of(magnitude) < 0x7ff0000000000000u)) {
    s = c = canonical_nan<double>();
    return;
  }
  if (magnitude < 0x1p-27) {
    s = x, c = 1;
    return;
  }
  const reduced_angle angle = magnitude < 0x1p40 ? reduce_moderate(x) : reduce_large(x);
  const double r = angle.rest.high, low = angle.rest.low, z = r * r, cube = z * r;
  constexpr double leading = math::coefficients::sin_reduced[0];
  const double sin_tail = plain_polynomial<math::coefficients::sin_reduced, 1>(z);
  const double sine = r - ((z * (0.5 * low - cube * sin_tail) - low) - cube * leading);
  const double half_z = 0.5 * z, rough = 1 - half_z;
  const double cosine = rough + (((1 - rough) - half_z) + (z * (z * plain_polynomial<math::coefficients::cos_reduced, 0>(z)) - r * low));
  const bool swapped = (angle.quadrant & 1) != 0;
  s = swapped ? cosine : sine;
  c = swapped ? sine : cosine;
  if ((angle.quadrant & 2) != 0) s = -s;
  if (((angle.quadrant + 1) & 2) != 0) c = -c;
}

/// Rows of one sequence: row i of it has position first_position + i.
struct rotated_rows {
  int first_row = 0, num_rows = 0;
  index_t first_position = 0;
};

template <class A>
struct angles_problem {
  const rotated_rows* sequences = nullptr;
  int num_sequences = 0, num_rows = 0, num_pairs = 0;
  const index_t* positions = nullptr;  ///< [num_rows], in place of the sequences' own; null: none
  const double* inverse_frequencies = nullptr;
  double attention_factor = 1;
  angle_of<A>* angles = nullptr;  ///< [num_rows, num_pairs]; rows that no sequence has are left alone
};

constexpr int angles_threads = 128;

template <class A>
RAPT_KERNEL(angles_threads, 1)
find_angles(angles_problem<A> p) {
  const index_t i = static_cast<index_t>(simt::block_idx().x) * angles_threads + simt::thread_idx();
  if (i >= index_t{p.num_rows} * p.num_pairs) return;
  const int row = static_cast<int>(i / p.num_pairs), pair = static_cast<int>(i % p.num_pairs);
  for (int s = 0; s < p.num_sequences; ++s) {
    const rotated_rows rows = p.sequences[s];
    if (row < rows.first_row || row >= rows.first_row + rows.num_rows) continue;
    const index_t position = p.positions != nullptr ? p.positions[row] : rows.first_position + (row - rows.first_row);
    double sine, cosine;
    sincos(static_cast<double>(position) * p.inverse_frequencies[pair], sine, cosine);
    p.angles[i] = {static_cast<A>(cosine * p.attention_factor), static_cast<A>(sine * p.attention_factor)};
    return;
  }
}

template <class A>
void launch_angles(const angles_problem<A>& p, simt::stream stream) {
  const index_t count = index_t{p.num_rows} * p.num_pairs;
  if (count == 0) return;
  simt::launch<simt::no_storage>(find_angles<A>, {static_cast<unsigned>(ceil_div(count, angles_threads))}, angles_threads, stream, p);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
