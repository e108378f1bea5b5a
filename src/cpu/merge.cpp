// Two attention results over disjoint keys become one. A result with its lse is the softmax state (m = lse, l = 1, acc = out); the scale of the
// smaller side is 2^((lse_low - lse_high) * log2 e), its exponent in double and rounded once. Test: tests/cpu/merge_test.cpp.
#include <cpu/context_impl.hpp>
#include <math/elementary.hpp>
#include <rapt/core/scale.hpp>

#include <limits>

namespace rapt {
inline namespace v0 {
namespace cpu {
namespace {

template <class A>
struct merge_scratch {
  A* a;
  A* b;
  merge_scratch(workspace& from, index_t dim) : a(from.take<A>(dim)), b(from.take<A>(dim)) {}
};

template <class A>
void run(context& ctx, const merge_params& p, workspace& scratch) {
  const row_kernels<A>& rows = rows_of<A>(*ctx.internals().table);
  const index_t num_rows = p.out.rows(), dim = p.out.dim;
  const index_t num_workers = workers_for(ctx, num_rows, num_rows * p.out.heads * dim * 4);
  const worker_scratch workers(scratch, num_workers, [&](workspace& from) { return merge_scratch<A>(from, dim); });
  if (scratch.measuring()) return;
  constexpr A minus_inf = -std::numeric_limits<A>::infinity();
  const auto load = [&](const operand& o, index_t row, index_t head, A* to) {
    rows.load(byte_at(o.data, o.offset(row, head), o.type), o.type, o.dim_stride, dim, to);
  };
  for_each_unit(ctx, workers, num_workers, num_rows, [&](const merge_scratch<A>& own, index_t row) {
    for (index_t h = 0; h < p.out.heads; ++h) {
      const A a_lse = static_cast<const A*>(p.a_lse.data)[p.a_lse.offset(row, h)],
              b_lse = static_cast<const A*>(p.b_lse.data)[p.b_lse.offset(row, h)];
      load(p.a, row, h, own.a);
      load(p.b, row, h, own.b);
      A lse = a_lse;
      const A* out = own.a;
      if (a_lse == minus_inf) {
        lse = b_lse, out = own.b;
      } else if (b_lse != minus_inf) {
        const bool b_is_high = b_lse > a_lse;
        const A high = b_is_high ? b_lse : a_lse, low = b_is_high ? a_lse : b_lse;
        A* const high_out = b_is_high ? own.b : own.a;
        const A* const low_out = b_is_high ? own.a : own.b;
        const A scale = math::exp2_nonpositive(static_cast<A>((static_cast<double>(low) - static_cast<double>(high)) * math::log2_e));
        const A sum = A{1} + scale, inverse = A{1} / sum;
        for (index_t d = 0; d < dim; ++d) high_out[d] = std::fma(low_out[d], scale, high_out[d]) * inverse;
        lse = static_cast<A>(static_cast<double>(high) + math::log(static_cast<double>(sum)));
        out = high_out;
      }
      rows.store(out, A{1}, dim, byte_at(p.out.data, p.out.offset(row, h), p.out.type), p.out.type, p.out.dim_stride);
      static_cast<A*>(p.out_lse.data)[p.out_lse.offset(row, h)] = lse == lse ? lse : std::numeric_limits<A>::quiet_NaN();
    }
  });
}
}  // namespace

void backend::merge(context& ctx, const merge_params& params, workspace& scratch) noexcept {
  const float_environment environment;
  const workspace::scope scope(scratch);
  with_accumulator(params.accumulator, [&](auto a) { run<decltype(a)>(ctx, params, scratch); });
}

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
