// Projections of random elements, and their answer by the contract's order, in plain loops: only the tensor core's sum of 16 products is the
// emulator's.
#pragma once
#include <kernels/project.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

namespace rapt_test {

struct projection_shape {
  int rows = 1, in = 1, out = 1;
  bool with_bias = true, with_residual = true;
  rapt::index_t gap = 8;  ///< elements between rows, beyond the next multiple of 8; NaN
};

/// Rows of x, w, residual and y with gaps between them; what lies in gaps is NaN, and y's are looked at afterwards.
template <class T, class Out = T>
struct projection_rig {
  projection_shape shape;
  std::vector<T> x, w, residual;
  std::vector<float> bias;
  std::vector<Out> y;
  rapt::kernels::projection<T, Out> problem;

  explicit projection_rig(const projection_shape& s, unsigned seed = 1) : shape(s) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<T>& matrix, int rows, int columns) {
      matrix.assign(at(rows * stride(columns) + 8), T(nan));
      for (rapt::index_t r = 0; r < rows; ++r)
        for (int c = 0; c < columns; ++c) matrix[at(r * stride(columns) + c)] = T(normal(random));
    };
    fill(x, s.rows, s.in);
    fill(w, s.out, s.in);
    fill(residual, s.rows, s.out);
    for (int c = 0; c < s.out; ++c) bias.push_back(normal(random));
    y.assign(at(s.rows * stride(s.out)), Out(nan));
    problem.x = x.data(), problem.x_stride = stride(s.in), problem.w = w.data(), problem.w_stride = stride(s.in);
    if (s.with_bias) problem.bias = bias.data();
    if (s.with_residual) problem.residual = residual.data(), problem.residual_stride = stride(s.out);
    problem.y = y.data(), problem.y_stride = stride(s.out);
    problem.rows = s.rows, problem.in = s.in, problem.out = s.out;
  }
  projection_rig(const projection_rig&) = delete;
  projection_rig& operator=(const projection_rig&) = delete;

  /// With a gap that is a multiple of 8, of 16 bytes.
  rapt::index_t stride(int columns) const { return shape.gap % 8 == 0 ? rapt::round_up(columns, 8) + shape.gap : columns + shape.gap; }
  T& x_at(int row, int k) { return x[at(row * stride(shape.in) + k)]; }
  T& w_at(int column, int k) { return w[at(column * stride(shape.in) + k)]; }

  Out expected(int row, int column) const {
    float sum = 0;
    for (int first = 0; first < shape.in; first += 256) {
      float chain = 0;
      for (int k = first; k < std::min(first + 256, shape.in); k += 16) {
        T a[16] = {}, b[16] = {};
        for (int i = 0; i < std::min(16, shape.in - k); ++i) {
          a[i] = problem.x[row * problem.x_stride + k + i];
          b[i] = problem.w[column * problem.w_stride + k + i];
        }
        chain = rapt::simt::emulator::multiply_add_16(rapt::simt::emulator::hopper, a, b, chain);
      }
      sum = sum + chain;
    }
    if (shape.with_bias) sum = sum + bias[at(column)];
    if (shape.with_residual) sum = static_cast<float>(residual[at(row * stride(shape.out) + column)]) + sum;
    return sum != sum ? Out(nan) : Out(sum);
  }

  static constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  static std::size_t at(rapt::index_t i) { return static_cast<std::size_t>(i); }
};

template <class T>
std::uint32_t bits_of(T x) {
  if constexpr (std::is_same_v<T, float>)
    return std::bit_cast<std::uint32_t>(x);
  else
    return x.bits;
}

/// Every output, and that nothing was written beside them.
template <class T, class Out>
void expect_bits_of_the_contract(const projection_rig<T, Out>& rig) {
  const rapt::index_t stride = rig.problem.y_stride;
  for (rapt::index_t r = 0; r < rig.shape.rows; ++r)
    for (rapt::index_t c = 0; c < stride; ++c) {
      const Out got = rig.problem.y[r * stride + c];
      if (c < rig.shape.out) {
        ASSERT_EQ(bits_of(got), bits_of(rig.expected(static_cast<int>(r), static_cast<int>(c)))) << "row " << r << ", column " << c;
      } else {
        ASSERT_EQ(bits_of(got), bits_of(Out(rig.nan))) << "written beside row " << r;
      }
    }
}

}  // namespace rapt_test
