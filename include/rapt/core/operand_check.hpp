// Checks that every call makes of its operands before anything is written. Each names the function, the argument, what came and what was needed.
#pragma once
#include <rapt/core/params.hpp>
#include <rapt/core/tensor_view.hpp>

#include <initializer_list>
#include <span>

namespace rapt {
inline namespace v0 {

/// A view as kernels take it. Rank 1 is [dim], 2 [rows, dim], 3 [batch, len, dim], 4 [batch, len, heads, dim].
template <class T, int Rank, class Space>
operand operand_of(const tensor_view<T, Rank, Space>& x) {
  static_assert(Rank >= 1 && Rank <= 4);
  operand o;
  o.len = 1;
  o.data = const_cast<std::remove_const_t<T>*>(x.data());
  o.type = dtype_of<T>;
  o.dim = x.extent(Rank - 1), o.dim_stride = x.stride(Rank - 1);
  if constexpr (Rank == 4) o.heads = x.extent(2), o.head_stride = x.stride(2);
  if constexpr (Rank >= 2) {
    constexpr int len_dim = Rank == 4 ? 1 : Rank - 2;
    o.len = x.extent(len_dim), o.len_stride = x.stride(len_dim);
  }
  if constexpr (Rank >= 3) o.batch = x.extent(0), o.batch_stride = x.stride(0);
  return o;
}

/// lse [batch, heads, len] (or packed [heads, rows]) as an operand whose offset(row, head) is its element.
template <class T, int Rank, class Space>
operand lse_operand_of(const tensor_view<T, Rank, Space>& lse) {
  static_assert(Rank == 2 || Rank == 3);
  operand o;
  o.data = const_cast<std::remove_const_t<T>*>(lse.data());
  o.type = dtype_of<T>, o.dim = 1;
  o.heads = lse.extent(Rank - 2), o.head_stride = lse.stride(Rank - 2);
  o.len = lse.extent(Rank - 1), o.len_stride = lse.stride(Rank - 1);
  if constexpr (Rank == 3) o.batch = lse.extent(0), o.batch_stride = lse.stride(0);
  return o;
}

/// What an operand must be; -1: any.
struct operand_shape {
  index_t batch = -1, len = -1, heads = -1, dim = -1;
};

/// Who asks, for messages: "attend: k has 3 heads; ...".
struct argument {
  const char* function;
  const char* name;
};

/// Extents as needed, no negative extent or stride, size within 2^63 bytes, no null with elements.
RAPT_API failure check_input(argument what, const operand& o, const operand_shape& needed);
/// check_input, and no two elements at one address.
RAPT_API failure check_output(argument what, const operand& o, const operand_shape& needed);
/// shape_error where an element of `out` may be one of `in`.
RAPT_API failure check_disjoint(argument out_name, const operand& out, const char* in_name, const operand& in);
RAPT_API bool same_elements(const operand& a, const operand& b);
/// kv_lens: one for each sequence, 0..kv_len.
RAPT_API failure check_kv_lens(const char* function, std::span<const index_t> lens, index_t batch, index_t kv_len);
/// Positions: `count` of them, none negative.
RAPT_API failure check_positions(argument what, std::span<const index_t> positions, std::initializer_list<index_t> counts);

}  // namespace v0
}  // namespace rapt
