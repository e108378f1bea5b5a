// Two attention results over disjoint keys become one, in the CPU's order (src/cpu/README.md: merge). A warp takes one row and head; its result may
// be written where one of the two lies. Bound: bytes read and written. Test: tests/kernels/exact_merge_test.cpp.
#pragma once
#include <kernels/any_elements.hpp>
#include <rapt/core/error.hpp>

#include <string>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int exact_merge_warps = 4;

/// grid: heads of rows by exact_merge_warps.
template <class A>
RAPT_KERNEL(exact_merge_warps * 32, 4)
exact_merge_rows(merge_params p) {
  const index_t unit = index_t{simt::block_idx().x} * exact_merge_warps + simt::warp_idx();
  const index_t row = unit / p.out.heads, head = unit % p.out.heads;
  if (row >= p.out.rows()) return;
  const auto lse_of = [&](const operand& o) { return static_cast<const A*>(o.data)[o.offset(row, head)]; };
  const A a_lse = lse_of(p.a_lse), b_lse = lse_of(p.b_lse), minus_infinity = -static_cast<A>(simt::infinity);
  simt::sync_warp();  // all lanes have read what the first one may overwrite
  const bool a_alone = b_lse == minus_infinity && a_lse != minus_infinity, b_alone = a_lse == minus_infinity;
  const bool b_is_high = b_lse > a_lse;
  const A high = b_is_high ? b_lse : a_lse, low = b_is_high ? a_lse : b_lse;
  const A scale = exp2_nonpositive(static_cast<A>((static_cast<double>(low) - static_cast<double>(high)) * math::coefficients::log2_e));
  const A sum = A{1} + scale, inverse = simt::divide(A{1}, sum);
  for (index_t d = simt::lane_idx(); d < p.out.dim; d += simt::warp_size) {
    const auto value_of = [&](const operand& o) { return load_any<A>(o.data, o.type, o.offset(row, head) + d * o.dim_stride); };
    const A a = value_of(p.a), b = value_of(p.b);
    const A both = simt::fma(b_is_high ? a : b, scale, b_is_high ? b : a) * inverse;
    store_any(p.out.data, p.out.type, p.out.offset(row, head) + d * p.out.dim_stride, b_alone ? b : a_alone ? a : both);
  }
  const A lse = b_alone ? b_lse : a_alone ? a_lse : static_cast<A>(static_cast<double>(high) + log(static_cast<double>(sum)));
  if (simt::lane_idx() == 0) static_cast<A*>(p.out_lse.data)[p.out_lse.offset(row, head)] = canonical(lse);
}

/// A backend's merge, with pointers to device memory. Throws shape_error before anything is launched.
inline void merge_exact(const merge_params& p, simt::stream stream) {
  struct {
    const char* name;
    const operand& o;
    bool is_lse;
  } const operands[] = {{"a", p.a, false},        {"a_lse", p.a_lse, true}, {"b", p.b, false},
                        {"b_lse", p.b_lse, true}, {"out", p.out, false},    {"out_lse", p.out_lse, true}};
  const index_t units = p.out.rows() * p.out.heads;
  if (units == 0) return;
  for (const auto& [name, o, is_lse] : operands) {
    if (o.data == nullptr) raise(errc::shape, std::string("merge_exact: ") + name + " is null");
    if (is_lse ? o.type != p.accumulator : !is_floating(o.type))
      raise(errc::shape, std::string("merge_exact: ") + name + " is " + std::string(name_of(o.type)));
  }
  const index_t blocks = ceil_div(units, exact_merge_warps);
  if (blocks > 2147483647) raise(errc::shape, "merge_exact: " + std::to_string(blocks) + " blocks; 2147483647 is possible");
  const auto kernel = p.accumulator == dtype::f64 ? exact_merge_rows<double> : exact_merge_rows<float>;
  simt::launch<simt::no_storage>(kernel, {static_cast<unsigned>(blocks)}, exact_merge_warps * 32, stream, p);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
