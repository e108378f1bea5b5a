// What is wrong with an attention problem, as far as the host can see: lengths and page tables lie in device memory.
// Test: tests/kernels/attention_check_test.cpp.
#pragma once
#include <kernels/attention_problem.hpp>
#include <rapt/core/error.hpp>

#include <cmath>
#include <cstdint>
#include <string>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// The widest head that mma kernels have registers for.
constexpr int max_head_dim = 256;

template <class T>
bool is_aligned(const T* p, std::size_t bytes = alignof(T)) {
  return reinterpret_cast<std::uintptr_t>(p) % bytes == 0;
}
/// Whether every row of 8 elements begins at a multiple of 16 bytes, so that it is copied at once.
template <class T>
bool is_by_chunks(const heads_view<T>& x, int dim) {
  return is_aligned(x.data, 16) && x.outer_stride % 8 == 0 && x.row_stride % 8 == 0 && x.head_stride % 8 == 0 && dim % 8 == 0;
}

/// What a launch would throw, in the name of `function`.
template <class T, class Out>
failure check_problem(const std::string& function, const attention_problem<T, Out>& p) {
  const auto found = [&](errc code, const std::string& what) { return failure{code, function + ": " + what}; };
  const auto count = [](auto n) { return std::to_string(n); };
  if (p.num_sequences < 0) return found(errc::shape, "num_sequences is " + count(p.num_sequences));
  if (p.num_kv_heads < 1 || p.num_heads < 1 || p.num_heads % p.num_kv_heads != 0)
    return found(errc::config, "num_heads is " + count(p.num_heads) + "; a multiple of num_kv_heads " + count(p.num_kv_heads) + " is needed");
  if (p.head_dim < 1 || p.head_dim > max_head_dim || p.value_dim < 1 || p.value_dim > max_head_dim)
    return found(errc::config,
                 "head_dim is " + count(p.head_dim) + ", value_dim is " + count(p.value_dim) + "; 1 to " + count(max_head_dim) + " is needed");
  if (!std::isfinite(p.softmax_scale)) return found(errc::config, "softmax_scale is not finite");
  if (!std::isfinite(p.softcap) || p.softcap < 0) return found(errc::config, "softcap is neither positive nor 0");
  const auto is_side = [](index_t side) { return side == no_window || (side >= 0 && side <= max_position); };
  if (!is_side(p.window_left) || !is_side(p.window_right))
    return found(errc::config, "window_left is " + count(p.window_left) + ", window_right " + count(p.window_right));
  if (p.mask.visible != nullptr && p.mask.added != nullptr) return found(errc::config, "two masks");

  if (p.num_sequences == 0) return {};
  const auto wrong = [&](const char* name, const auto& view, bool needed) -> failure {
    if (view.data == nullptr) return needed ? found(errc::shape, std::string(name) + " is null") : failure{};
    if (!is_aligned(view.data)) return found(errc::shape, std::string(name) + " is not aligned to its elements");
    if (view.outer_stride < 0 || view.row_stride < 0 || view.head_stride < 0) return found(errc::shape, std::string(name) + " has a negative stride");
    return {};
  };
  for (const failure& f : {wrong("q", p.q, true), wrong("k", p.k, true), wrong("v", p.v, true), wrong("out", p.out, true), wrong("lse", p.lse, false),
                           wrong("q_positions", p.q_positions, false), wrong("k_positions", p.k_positions, false)})
    if (f) return f;
  if (p.out.row_stride < p.value_dim || (p.num_heads > 1 && p.out.head_stride < p.value_dim)) return found(errc::shape, "rows of out overlap");
  if (p.sequences == nullptr || !is_aligned(p.sequences)) return found(errc::shape, "sequences is null or not aligned");
  if (p.page_table != nullptr && (p.page_len < 16 || p.page_len % 16 != 0))
    return found(errc::shape, "page_len is " + count(p.page_len) + "; a multiple of 16 is needed");
  return {};
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
