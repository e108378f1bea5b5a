// Each KV head once for every query head of its group, in the order of repeat_interleave. Attention here reads groups where they lie; this is for
// programs beside it that know no groups.
#pragma once
#include <rapt/core/backend.hpp>
#include <rapt/core/operand_check.hpp>

#include <limits>

namespace rapt {
inline namespace v0 {
namespace detail {
inline failure check_dense(argument what, const operand& o) {
  const index_t row = o.heads * o.dim;
  if ((o.dim == 1 || o.dim_stride == 1) && (o.heads == 1 || o.head_stride == o.dim) && (o.len == 1 || o.len_stride == row) &&
      (o.batch == 1 || o.batch_stride == o.len * row))
    return {};
  const auto list = [](index_t batch, index_t len, index_t head, index_t dim) {
    return "[" + std::to_string(batch) + ", " + std::to_string(len) + ", " + std::to_string(head) + ", " + std::to_string(dim) + "]";
  };
  return {errc::shape, std::string(what.function) + ": " + what.name + " has strides " +
                           list(o.batch_stride, o.len_stride, o.head_stride, o.dim_stride) + "; a contiguous tensor with " +
                           list(o.len * row, row, o.dim, 1) + " is needed"};
}

template <class Context>
void run_repeat_heads(Context& ctx, const operand& x, const operand& out) {
  constexpr const char* function = "repeat_heads";
  raise_if(check_input({function, "x"}, x, {}));
  raise_if(check_output({function, "out"}, out, {.batch = x.batch, .len = x.len, .dim = x.dim}));
  constexpr index_t most = std::numeric_limits<int>::max();
  if (x.heads < 1 || out.heads < 1 || out.heads % x.heads != 0 || out.heads / x.heads > most)
    raise(errc::shape, std::string(function) + ": out has " + std::to_string(out.heads) + " heads; a multiple of x's " + std::to_string(x.heads) +
                           ", at most " + std::to_string(most) + " times as many, is needed");
  if (x.batch * x.len * x.dim == 0) return;
  raise_if(check_dense({function, "x"}, x));
  raise_if(check_dense({function, "out"}, out));
  raise_if(check_disjoint({function, "out"}, out, "x", x));
  run_in_workspace(ctx, [&](workspace&) {
    backend_of<Context>::repeat(ctx, static_cast<std::byte*>(out.data), static_cast<const std::byte*>(x.data), x.rows() * x.heads,
                                x.dim * size_of(x.type), out.heads / x.heads);
  });
}
}  // namespace detail

/// x [batch, len, heads, dim] as [batch, len, heads, group_size, dim], where a group's heads are one: a stride of 0, no byte moves. Throws
/// shape_error where group_size is below 1.
template <class T, class Space>
tensor_view<const T, 5, Space> expand_heads(const tensor_view<T, 4, Space>& x, index_t group_size) {
  if (group_size < 1) raise(errc::shape, "expand_heads: group_size is " + std::to_string(group_size) + "; at least 1 is needed");
  return {x.data(), {x.extent(0), x.extent(1), x.extent(2), group_size, x.extent(3)}, {x.stride(0), x.stride(1), x.stride(2), 0, x.stride(3)}};
}

/// The same as a copy: head h of x [batch, len, heads, dim] becomes heads h * g .. h * g + g - 1 of out [batch, len, heads * g, dim]. Both
/// contiguous; [batch, heads, len, dim] is [batch, 1, heads, len * dim] to it. Throws shape_error.
template <class Context, class T, class Space>
void repeat_heads(Context& ctx, const std::type_identity_t<tensor_view<const T, 4, Space>>& x, const tensor_view<T, 4, Space>& out) {
  detail::run_repeat_heads(ctx, operand_of(x), operand_of(out));
}

}  // namespace v0
}  // namespace rapt
