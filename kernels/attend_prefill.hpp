// The launch of prefill: which of its instantiations serves a problem, and what memory it needs.
#pragma once
#include <kernels/attention_check.hpp>
#include <kernels/prefill.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Whether the plain kernel does not do: scores change or are hidden one by one, or rows are no whole 16 bytes.
template <class T>
bool needs_general_prefill(const attention_problem<T>& p, const prefill_options& o) {
  return changes_scores(p) || !ranges_decide(p) || p.sink_logits_log2 != nullptr || !o.q_by_chunks || !o.k_by_chunks || !o.v_by_chunks ||
         !o.out_by_chunks;
}
template <class T>
prefill_options prefill_options_of(const attention_problem<T>& p) {
  return {score_constants_of(p), is_by_chunks(p.q, p.head_dim), is_by_chunks(p.k, p.head_dim), is_by_chunks(p.v, p.value_dim),
          is_by_chunks(p.out, p.value_dim)};
}

/// Calls f(HeadDim, Groups, General), as types, for heads of this width.
template <class General, class F>
auto with_prefill_width(int dim, General general, F f) {
  constexpr bool g = General::value;
  // A wide head and a look at every score do not fit 32 queries' registers.
  const auto with = [&](auto width, auto groups) { return f(width, groups, general); };
  if (dim <= 64) return with(std::integral_constant<int, 64>{}, std::integral_constant<int, 2>{});
  if (dim <= 96) return with(std::integral_constant<int, 96>{}, std::integral_constant < int, g ? 1 : 2 > {});
  if (dim <= 128) return with(std::integral_constant<int, 128>{}, std::integral_constant < int, g ? 1 : 2 > {});
  if (dim <= 192) return with(std::integral_constant<int, 192>{}, std::integral_constant<int, 1>{});
  return with(std::integral_constant<int, 256>{}, std::integral_constant<int, 1>{});
}
/// Likewise with what serves the problem.
template <class T, class F>
auto with_prefill_shape(const attention_problem<T>& p, F f) {
  const int dim = std::max(p.head_dim, p.value_dim);
  return needs_general_prefill(p, prefill_options_of(p)) ? with_prefill_width(dim, std::true_type{}, f)
                                                         : with_prefill_width(dim, std::false_type{}, f);
}

/// Blocks that run at once on a multiprocessor; so many for each are best.
template <class T>
unsigned prefill_blocks_of(const attention_problem<T>& p) {
  return with_prefill_shape(p, [](auto dim, auto groups, auto general) { return static_cast<unsigned>(prefill_blocks<dim(), groups(), general()>); });
}
/// Of the workspace for so many blocks, aligned to 16.
template <class T>
std::size_t prefill_workspace_bytes(const attention_problem<T>& p, unsigned num_blocks) {
  return with_prefill_shape(p, [&](auto dim, auto groups, auto) { return 2 * num_blocks * sizeof(stored_rows<dim(), groups()>); });
}

/// Enough for any problem with heads of this width, on prefill_blocks_of blocks for each of so many multiprocessors.
inline std::size_t max_prefill_workspace_bytes(int dim, int multiprocessors) {
  const auto bytes = [&](auto width, auto groups, auto general) {
    return 2 * static_cast<std::size_t>(multiprocessors * prefill_blocks<width(), groups(), general()>) * sizeof(stored_rows<width(), groups()>);
  };
  return std::max(with_prefill_width(dim, std::false_type{}, bytes), with_prefill_width(dim, std::true_type{}, bytes));
}

/// Runs prefill on `num_blocks` blocks. `workspace` has prefill_workspace_bytes; `counter` is 0, and is again when the launch has ended.
/// Throws config_error or shape_error before anything is launched.
template <class T>
void attend_prefill(const attention_problem<T>& p, void* workspace, unsigned* counter, unsigned num_blocks, simt::stream stream) {
  raise_if(check_problem("attend_prefill", p));
  if (p.num_sequences == 0) return;
  if (workspace == nullptr || !is_aligned(static_cast<const std::byte*>(workspace), 16))
    raise(errc::shape, "attend_prefill: the workspace is null or not aligned to 16 bytes");
  if (counter == nullptr || num_blocks == 0) raise(errc::shape, "attend_prefill: a counter and at least one block are needed");
  const prefill_options options = prefill_options_of(p);
  with_prefill_shape(p, [&](auto dim, auto groups, auto general) {
    const prefill_workspace<dim(), groups()> states{static_cast<stored_rows<dim(), groups()>*>(workspace), counter};
    simt::launch<prefill_storage<T, dim()>>(prefill<general(), T, dim(), groups()>, {num_blocks}, prefill_threads<groups()>, stream, p, options,
                                            states);
  });
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
