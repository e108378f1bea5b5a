// Query heads in place: RMS norm over head_dim, then rotary embedding. A unit is a few rows with all their heads, which share one set of angles.
// Bound: cos and sin in double, dim / 2 of each a row.
// Test: tests/cpu/rotate_test.cpp.
#include <cpu/rotary.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {
namespace {
constexpr index_t unit_rows = 8;

template <class A>
struct rotate_scratch {
  A* c;
  A* s;
  A* wide;
  rotate_scratch(workspace& from, const rotate_params& p)
      : c(from.take<A>(p.rope.dim / 2)), s(from.take<A>(p.rope.dim / 2)), wide(from.take<A>(p.x.dim)) {}
};

template <class A>
void run(context& ctx, const rotate_params& p, workspace& scratch) {
  const row_kernels<A>& rows = rows_of<A>(*ctx.internals().table);
  index_t num_units = 0, num_rows = 0;
  for (index_t i = 0; i < p.num_sequences; ++i) num_units += ceil_div(p.sequences[i].num_rows, unit_rows), num_rows += p.sequences[i].num_rows;
  const index_t num_workers = workers_for(ctx, num_units, num_rows * (p.x.heads * p.x.dim * 2 + p.rope.dim * 100));
  const worker_scratch workers(scratch, num_workers, [&](workspace& from) { return rotate_scratch<A>(from, p); });
  if (scratch.measuring()) return;
  const index_t stride = p.x.dim_stride;
  // Units of short sequences come in the order of the list; each worker walks it forward.
  for_each_unit(ctx, workers, num_workers, num_units, [&](const rotate_scratch<A>& own, index_t unit) {
    const sequence_rows* s = p.sequences;
    for (; unit >= ceil_div(s->num_rows, unit_rows); ++s) unit -= ceil_div(s->num_rows, unit_rows);
    for (index_t i = unit * unit_rows, end = std::min(s->num_rows, i + unit_rows); i < end; ++i) {
      rope_angles(p.rope, position_of(*s, i), own.c, own.s);
      for (index_t h = 0; h < p.x.heads; ++h) {
        A* const x = static_cast<A*>(p.x.data) + p.x.offset(s->first_row + i, h);
        A* const row = stride == 1 ? x : own.wide;
        if (row != x) rows.load(x, dtype_of<A>, stride, p.x.dim, row);
        norm_and_rotate(rows, p.norm, p.rope, p.x.dim, row, own.c, own.s);
        if (row != x) rows.store(row, A{1}, p.x.dim, x, dtype_of<A>, stride);
      }
    }
  });
}
}  // namespace

void backend::rotate(context& ctx, const rotate_params& params, workspace& scratch) noexcept {
  const float_environment environment;
  const workspace::scope scope(scratch);
  if (params.norm.weight == nullptr && params.rope.dim == 0) return;
  with_accumulator(params.accumulator, [&](auto a) { run<decltype(a)>(ctx, params, scratch); });
}

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
