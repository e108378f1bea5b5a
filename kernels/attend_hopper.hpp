// The launch of the Hopper kernel: which problems it serves, and what the copy engine is told of their tensors.
#pragma once
#include <kernels/attention_check.hpp>
#include <kernels/hopper_prefill.hpp>

#include <limits>
#include <numeric>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Rows of the tensors: of each sequence's part, or page, where outer_stride says that these have parts, or of all sequences together. Nothing
/// behind them is read.
struct tensor_rows {
  index_t q = 0, kv = 0;
};

/// What the copy engine is told, but for the rows of a tile: tiles of 64 elements of [outer][head][row][element].
struct hopper_layouts {
  runtime::tensor_layout q, k, v;

  template <class T>
  hopper_layouts(const attention_problem<T>& p, const tensor_rows& rows) {
    // Pages are found by a table in device memory: any number of them.
    const index_t num_outer = p.page_table == nullptr ? p.num_sequences : std::numeric_limits<std::int32_t>::max();
    q = layout_of(p.q, p.num_sequences, rows.q, p.num_heads, p.head_dim);
    k = layout_of(p.k, num_outer, rows.kv, p.num_kv_heads, p.head_dim);
    v = layout_of(p.v, num_outer, rows.kv, p.num_kv_heads, p.value_dim);
  }

 private:
  template <class T>
  static runtime::tensor_layout layout_of(const heads_view<const T>& x, index_t num_outer, index_t rows, int num_heads, int dim) {
    // A dimension of extent 1 has any stride.
    const auto stride = [&](index_t s, index_t extent) { return extent > 1 ? s : ceil_div(dim, 8) * 8; };
    const index_t outer = x.outer_stride == 0 ? 1 : num_outer;
    return {x.data, 4, {dim, rows, num_heads, outer}, {stride(x.row_stride, rows), stride(x.head_stride, num_heads), stride(x.outer_stride, outer)}};
  }
};

/// Whether attend_hopper serves a problem, on a device of sm_90: scores are not changed, and hidden by ranges alone; no sinks; rows are whole 16
/// bytes, and strides what the copy engine takes.
template <class T>
bool serves_hopper(const attention_problem<T>& p, const tensor_rows& rows) {
  if (changes_scores(p) || !ranges_decide(p) || p.sink_logits_log2 != nullptr) return false;
  if (!is_by_chunks(p.q, p.head_dim) || !is_by_chunks(p.k, p.head_dim) || !is_by_chunks(p.v, p.value_dim) || !is_by_chunks(p.out, p.value_dim))
    return false;
  const hopper_layouts layouts(p, rows);
  return !check_layout(layouts.q) && !check_layout(layouts.k) && !check_layout(layouts.v);
}

/// Runs the Hopper kernel on `num_blocks` blocks, best one for each multiprocessor. `counter` is 0, and is again when the launch has ended.
/// Throws config_error where the problem is not served, shape_error where it can not be, before anything is launched.
template <class T>
void attend_hopper(const attention_problem<T>& p, const tensor_rows& rows, unsigned* counter, unsigned num_blocks, simt::stream stream) {
  raise_if(check_problem("attend_hopper", p));
  if (p.num_sequences == 0) return;
  if (rows.q < 1 || rows.kv < 1)
    raise(errc::shape, "attend_hopper: rows of q are " + std::to_string(rows.q) + ", of keys " + std::to_string(rows.kv) + "; 1 or more are needed");
  if (!serves_hopper(p, rows))
    raise(errc::config,
          "attend_hopper: masks, positions, softcap, ALiBi, sinks, strides of 0 and rows of no whole 16 bytes are what attend_prefill serves");
  if (counter == nullptr || num_blocks == 0) raise(errc::shape, "attend_hopper: a counter and at least one block are needed");
  const hopper_layouts layouts(p, rows);
  const auto map_of = [](runtime::tensor_layout layout, int box_rows) {
    layout.box[1] = box_rows;
    simt::tensor_map map;
    raise_if(runtime::describe_tensor(layout, map));
    return map;
  };
  const auto run = [&](auto dim) {
    using shape = hopper_shape<T, dim()>;
    const int run_len = p.page_table == nullptr ? shape::keys : std::gcd(p.page_len, shape::keys);
    simt::launch<hopper_storage<shape>>(hopper_prefill<shape>, {num_blocks}, shape::threads, stream, p, score_constants_of(p), map_of(layouts.q, 64),
                                        map_of(layouts.k, run_len), map_of(layouts.v, run_len), run_len, counter);
  };
  const int dim = p.head_dim > p.value_dim ? p.head_dim : p.value_dim;
  if (dim <= 64) return run(std::integral_constant<int, 64>{});
  if (dim <= 96) return run(std::integral_constant<int, 96>{});
  if (dim <= 128) return run(std::integral_constant<int, 128>{});
  if (dim <= 192) return run(std::integral_constant<int, 192>{});
  run(std::integral_constant<int, 256>{});
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
