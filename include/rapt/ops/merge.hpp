// Joining attention over two disjoint sets of keys.
#pragma once
#include <rapt/core/backend.hpp>
#include <rapt/core/operand_check.hpp>

namespace rapt {
inline namespace v0 {
namespace detail {
template <class Context>
void run_merge(Context& ctx, const merge_params& p) {
  const operand_shape shape{p.out.batch, p.out.len, p.out.heads, p.out.dim}, lse_shape{p.out.batch, p.out.len, p.out.heads, 1};
  raise_if(check_output({"merge", "out"}, p.out, {}));
  raise_if(check_input({"merge", "a"}, p.a, shape));
  raise_if(check_input({"merge", "b"}, p.b, shape));
  raise_if(check_input({"merge", "a_lse"}, p.a_lse, lse_shape));
  raise_if(check_input({"merge", "b_lse"}, p.b_lse, lse_shape));
  raise_if(check_output({"merge", "out_lse"}, p.out_lse, lse_shape));
  // In place is fine element by element; any other overlap is not.
  for (const auto& [name, in] : {std::pair{"a", p.a}, {"b", p.b}})
    if (!same_elements(p.out, in)) raise_if(check_disjoint({"merge", "out"}, p.out, name, in));
  for (const auto& [name, in] : {std::pair{"a_lse", p.a_lse}, {"b_lse", p.b_lse}})
    if (!same_elements(p.out_lse, in)) raise_if(check_disjoint({"merge", "out_lse"}, p.out_lse, name, in));
  raise_if(check_disjoint({"merge", "out"}, p.out, "out_lse", p.out_lse));
  run_in_workspace(ctx, [&](workspace& scratch) { backend_of<Context>::merge(ctx, p, scratch); });
}
}  // namespace detail

/// One result of attend over disjoint keys: values [batch, len, heads, value_dim] with their lse [batch, heads, len].
template <class T, class Space = host_space>
struct partial_attention {
  tensor_view<const T, 4, Space> out;
  tensor_view<const accumulator_t<T>, 3, Space> lse;
};

/// out and out_lse = attention over the keys of `a` and `b` together. A side that saw no key (lse = -inf) leaves the other's bits. out may be a.out
/// or b.out. The result is right to rounding; it has not the bits of one attend over all keys, since the inputs are rounded already.
/// Throws shape_error.
template <class Context, class T, class Space>
void merge(Context& ctx, const std::type_identity_t<partial_attention<T, Space>>& a, const std::type_identity_t<partial_attention<T, Space>>& b,
           tensor_view<T, 4, Space> out, std::type_identity_t<tensor_view<accumulator_t<T>, 3, Space>> out_lse) {
  merge_params p;
  p.accumulator = accumulator_of(dtype_of<T>);
  p.a = operand_of(a.out), p.a_lse = lse_operand_of(a.lse), p.b = operand_of(b.out), p.b_lse = lse_operand_of(b.lse);
  p.out = operand_of(out), p.out_lse = lse_operand_of(out_lse);
  detail::run_merge(ctx, p);
}

}  // namespace v0
}  // namespace rapt
