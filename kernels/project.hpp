// Projections on tensor cores (mma.sync, sm_80 and later): the checks before a launch, and the choice of the kernel, which no bit depends on.
//
// The order of an output: project_problem.hpp. Many rows: project_tiles.hpp. Up to 16: project_few_rows.hpp.
#pragma once
#include <kernels/project_few_rows.hpp>
#include <kernels/project_tiles.hpp>
#include <rapt/core/operand_check.hpp>

#include <algorithm>
#include <span>
#include <utility>

namespace rapt {
inline namespace v0 {
namespace kernels {

enum class project_kernel { few_rows_8, few_rows_32, narrow_tiles, small_tiles, medium_tiles, large_tiles, any_alignment };

/// The one that is fastest for these operands.
template <class T, class Out>
project_kernel project_kernel_for(const projection<T, Out>& p) {
  const auto aligned = [](const T* data, index_t stride, int rows) {
    return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && (rows == 1 || stride % 8 == 0);
  };
  if (p.in % 8 != 0 || !aligned(p.x, p.x_stride, p.rows) || !aligned(p.w, p.w_stride, p.out)) return project_kernel::any_alignment;
  if (p.rows <= 4) return project_kernel::few_rows_8;
  if (p.rows <= few_rows_shape<32>::max_rows) return project_kernel::few_rows_32;
  // Fewer blocks than a device runs at once leave multiprocessors idle.
  const auto enough = [&]<class Tile>(const Tile&) {
    return ceil_div(index_t{p.rows}, Tile::rows) * ceil_div(index_t{p.out}, Tile::columns) >= 96 * Tile::blocks;
  };
  if (enough(large_tile{})) return project_kernel::large_tiles;
  if (enough(medium_tile{})) return project_kernel::medium_tiles;
  return enough(small_tile{}) ? project_kernel::small_tiles : project_kernel::narrow_tiles;
}

/// What project would throw.
template <class T, class Out>
failure check_projection(const projection<T, Out>& p) {
  const auto matrix = [](const auto* data, index_t rows, index_t columns, index_t stride) {
    operand o;
    o.data = const_cast<std::remove_const_t<std::remove_pointer_t<decltype(data)>>*>(data);
    o.type = dtype_of<std::remove_const_t<std::remove_pointer_t<decltype(data)>>>;
    o.len = rows, o.dim = columns, o.len_stride = stride;
    return o;
  };
  const operand x = matrix(p.x, p.rows, p.in, p.x_stride), w = matrix(p.w, p.out, p.in, p.w_stride), y = matrix(p.y, p.rows, p.out, p.y_stride);
  const operand bias = matrix(p.bias, 1, p.out, 0), residual = matrix(p.residual, p.rows, p.out, p.residual_stride);
  struct {
    const char* name;
    const operand& o;
    bool present;
  } const inputs[] = {{"x", x, true}, {"w", w, true}, {"bias", bias, p.bias != nullptr}, {"residual", residual, p.residual != nullptr}};
  for (const auto& input : inputs)
    if (input.present)
      if (failure found = check_input({"project", input.name}, input.o, {})) return found;
  if (failure found = check_output({"project", "y"}, y, {})) return found;
  for (const auto& input : inputs)
    if (input.present && !(input.o.data == residual.data && same_elements(y, residual)))
      if (failure found = check_disjoint({"project", "y"}, y, input.name, input.o)) return found;
  return {};
}

/// Null is allowed where there is nothing to read, but the kernels step from it.
template <class T, class Out>
projection<T, Out> with_addresses(projection<T, Out> p) {
  if (p.in == 0) p.x = p.w = reinterpret_cast<const T*>(p.y);
  return p;
}

/// Of at most 16 rows, by a kernel that suits all.
template <class T, class Out>
void project_few_rows_with(project_kernel kernel, std::span<const projection<T, Out>> all, simt::stream stream) {
  const auto with_columns = [&]<int Columns, int Warps>(std::integer_sequence<int, Columns, Warps>) {
    projections<T, Out> together;
    index_t num_blocks = 0;
    for (const projection<T, Out>& p : all)
      together.of[together.count++] = with_addresses(p), num_blocks += ceil_div(index_t{p.out}, index_t{Columns});
    simt::launch<few_rows_storage<T, Columns, Warps>>(project_few_rows<T, Out, Columns, Warps>, {static_cast<unsigned>(num_blocks)}, 32 * Warps,
                                                      stream, together);
  };
  if (kernel == project_kernel::few_rows_8)
    with_columns(std::integer_sequence<int, 8, 4>{});
  else
    with_columns(std::integer_sequence<int, 32, 8>{});
}
constexpr bool is_for_few_rows(project_kernel kernel) { return kernel == project_kernel::few_rows_8 || kernel == project_kernel::few_rows_32; }

/// y = x w^T (+ bias) (+ residual), with this kernel, which must suit the operands.
template <class T, class Out>
void project_with(project_kernel kernel, const projection<T, Out>& p, simt::stream stream) {
  if (is_for_few_rows(kernel)) return project_few_rows_with(kernel, std::span(&p, 1), stream);
  const auto with_tiles = [&]<class Tile, bool Aligned>(const Tile&, std::bool_constant<Aligned>) {
    const index_t num_tiles = ceil_div(index_t{p.rows}, Tile::rows) * ceil_div(index_t{p.out}, Tile::columns);
    simt::launch<tile_storage<T, Tile>>(project_tiles<T, Out, Tile, Aligned>, {static_cast<unsigned>(num_tiles)}, tile_threads<Tile>, stream,
                                        with_addresses(p));
  };
  switch (kernel) {
    case project_kernel::narrow_tiles:
      return with_tiles(narrow_tile{}, std::true_type{});
    case project_kernel::small_tiles:
      return with_tiles(small_tile{}, std::true_type{});
    case project_kernel::medium_tiles:
      return with_tiles(medium_tile{}, std::true_type{});
    case project_kernel::large_tiles:
      return with_tiles(large_tile{}, std::true_type{});
    default:
      return with_tiles(small_tile{}, std::false_type{});
  }
}

/// y = x w^T (+ bias) (+ residual). Throws shape_error before anything is launched.
template <class T, class Out>
void project(const projection<T, Out>& p, simt::stream stream) {
  raise_if(check_projection(p));
  if (p.rows == 0 || p.out == 0) return;
  project_with(project_kernel_for(p), p, stream);
}

/// Up to three of the same rows of x, few rows by one launch. Throws shape_error before anything is launched.
template <class T, class Out>
void project_together(std::span<const projection<T, Out>> all, simt::stream stream) {
  for (const projection<T, Out>& p : all) raise_if(check_projection(p));
  const auto has_work = [](const projection<T, Out>& p) { return p.rows > 0 && p.out > 0; };
  const project_kernel kernel = all.empty() ? project_kernel::any_alignment : project_kernel_for(all[0]);
  const bool one_launch = is_for_few_rows(kernel) && all.size() <= max_projections &&
                          std::all_of(all.begin(), all.end(), [&](const auto& p) { return has_work(p) && project_kernel_for(p) == kernel; });
  if (one_launch) return project_few_rows_with(kernel, all, stream);
  for (const projection<T, Out>& p : all)
    if (has_work(p)) project_with(project_kernel_for(p), p, stream);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
