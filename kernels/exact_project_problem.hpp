// What an exact projection is asked, and what all of its kernels do with an output's sum. Order of one output, that of cpu-v1: a chain of fused
// multiply-adds from +0 for each block of 256 inputs, ascending; block sums added ascending; the bias, then the residual; one rounding.
#pragma once
#include <kernels/any_elements.hpp>
#include <rapt/core/error.hpp>
#include <rapt/core/operand_check.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int exact_inputs = 256;  ///< of one chain

/// y = x w^T (+ bias) (+ residual) in accumulators A. Operands are those of a backend's project_params, with pointers to device memory: column c of
/// x, y and residual is (c / dim, c % dim). x, w, residual and y are of any floating type; double weights under float are rounded once, as when the
/// CPU packs them.
template <class A>
struct exact_projection {
  operand x;                ///< rows() rows of heads * dim inputs
  const void* w = nullptr;  ///< [out, in], inputs contiguous
  dtype w_type = dtype::f32;
  index_t w_stride = 0;     ///< elements from one output's weights to the next one's
  const A* bias = nullptr;  ///< [out]; null: none
  operand residual;         ///< like y; data null: none. May be exactly y.
  operand y;                ///< rows() of x, heads * dim outputs

  RAPT_DEVICE int in() const { return static_cast<int>(x.heads * x.dim); }
  RAPT_DEVICE int out() const { return static_cast<int>(y.heads * y.dim); }
};

/// Elements from an operand's data to a row's column.
RAPT_DEVICE index_t column_offset(const operand& o, index_t row, int column) {
  if (o.heads == 1) return o.offset(row, 0) + column * o.dim_stride;
  const int dim = static_cast<int>(o.dim);
  return o.offset(row, column / dim) + column % dim * o.dim_stride;
}

/// Writes an output, given its sum.
template <class A>
RAPT_DEVICE void finish_output(const exact_projection<A>& p, index_t row, int column, A sum) {
  if (p.bias != nullptr) sum = sum + p.bias[column];
  if (p.residual.data != nullptr) sum = load_any<A>(p.residual.data, p.residual.type, column_offset(p.residual, row, column)) + sum;
  store_any(p.y.data, p.y.type, column_offset(p.y, row, column), sum);
}

/// What project_exact would throw.
template <class A>
failure check_exact_projection(const exact_projection<A>& p) {
  const auto found = [](const std::string& what) { return failure{errc::shape, "project_exact: " + what}; };
  const auto count = [](auto n) { return std::to_string(n); };
  struct {
    const char* name;
    const operand& o;
    bool present;
  } const operands[] = {{"x", p.x, true}, {"y", p.y, true}, {"residual", p.residual, p.residual.data != nullptr}};
  for (const auto& [name, o, present] : operands) {
    if (!present) continue;
    if (!is_floating(o.type)) return found(std::string(name) + " is " + std::string(name_of(o.type)) + "; a floating type is needed");
    if (o.batch < 0 || o.len < 0 || o.heads < 0 || o.dim < 0) return found(std::string(name) + " has a negative extent");
    if (o.rows() != p.x.rows()) return found(std::string(name) + " has " + count(o.rows()) + " rows, x has " + count(p.x.rows()));
    if (o.heads * o.dim > 2147483647) return found(std::string(name) + " has " + count(o.heads * o.dim) + " columns");
    if (o.data == nullptr && o.rows() * o.heads * o.dim > 0) return found(std::string(name) + " is null");
  }
  if (!is_floating(p.w_type)) return found("w is " + std::string(name_of(p.w_type)) + "; a floating type is needed");
  const index_t in = p.x.heads * p.x.dim, out = p.y.heads * p.y.dim;
  if (p.w == nullptr && in * out > 0) return found("w is null");
  if (p.w_stride < in && out > 1) return found("w_stride is " + count(p.w_stride) + " for " + count(in) + " inputs");
  if (p.residual.data != nullptr && p.residual.heads * p.residual.dim != out)
    return found("residual has " + count(p.residual.heads * p.residual.dim) + " columns, y has " + count(out));
  return {};
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
