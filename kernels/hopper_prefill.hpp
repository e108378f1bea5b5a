// Attention of many queries on Hopper's tensor cores (wgmma, sm_90a), in the order of the id sm90-wgmma-v1.
//
// out = softmax(q k^T) v, a block on each multiprocessor, which draws tiles of 128 queries of a head, the longest first (prefill_work.hpp):
//   two warps     one draws, one has the copy engine bring queries, keys and values, two stages of each ahead (hopper_producer.hpp)
//   2 warpgroups of 64 queries each: scores of the next tile are computed on the tensor cores while the softmax of this one runs, and
//                 warpgroups take turns at issuing, so that one's softmax is hidden behind another's products
//   registers     the row's sums [64, HeadDim], the tile's scores [64, Keys], the weights' fragments of the tile before
// A tile of keys (128, 112 or 80 by index, as HeadDim has it) is folded with a running maximum, ascending; there are no segments. So bits of a row
// are a function of the keys that it sees and of HeadDim; tiles of queries, blocks, chunks and batch do not change them. It knows ranges of keys
// (causal, window, lengths), rows of whole 16 bytes, keys at strides or in pages; all else is attend_prefill's. Bound: 2 * (head_dim + value_dim)
// flops for each visible score. Test: tests/kernels/hopper_prefill_test.cpp. Bench: bench/gpu/run.sh. Figures: docs/kernels.md.
#pragma once
#include <kernels/hopper_producer.hpp>
#include <kernels/hopper_values.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Named barriers of the block: turns from 1 on, one for each warpgroup.
constexpr int turn_barrier = 1, values_barrier = 4, group_barrier = 5;

/// Calls f(std::integral_constant) with the number of the warpgroup: barriers are immediates.
template <int Groups, class F>
RAPT_DEVICE void with_group(int group, F f) {
  static_assert(Groups == 2);
  if (group == 0)
    f(std::integral_constant<int, 0>{});
  else
    f(std::integral_constant<int, 1>{});
}
/// The warpgroup waits until it may issue; then it lets the next one.
template <int Groups>
RAPT_DEVICE void wait_for_turn(int group) {
  with_group<Groups>(group, [](auto g) { simt::sync_named<turn_barrier + g()>(256); });
}
template <int Groups>
RAPT_DEVICE void pass_turn(int group) {
  with_group<Groups>(group, [](auto g) { simt::arrive_named<turn_barrier + (g() + 1) % Groups>(256); });
}

/// A thread's two rows, lane / 4 and 8 below, of its warp's 16. The lanes beside it have the same rows.
template <class Shape>
struct hopper_rows {
  float max[2], sum[2], scale[2];  ///< in units of log2; of this lane's columns; what the last tile has left of sums
  float acc[Shape::head_dim / 2];
  simt::mma_a weights[Shape::keys / 16];
};

/// scores = q k^T, in flight.
template <class Shape>
RAPT_DEVICE void issue_scores(float (&scores)[Shape::keys / 2], const typename hopper_storage<Shape>::query_rows& q,
                              const typename hopper_storage<Shape>::key_tile& k) {
  simt::fence_products();
  RAPT_UNROLL for (int d = 0; d < Shape::head_dim; d += 16) simt::multiply_shared<typename Shape::element, Shape::keys>(
      scores, simt::describe_matrix(q.boxes[d / 64] + d % 64), simt::describe_matrix(k.boxes[d / 64] + d % 64), d > 0);
  simt::commit_products();
}
/// acc += weights v, in flight.
template <class Shape>
RAPT_DEVICE void issue_values(hopper_rows<Shape>& rows, const typename hopper_storage<Shape>::key_tile& v) {
  simt::fence_products();
  RAPT_UNROLL for (int k = 0; k < Shape::keys / 16; ++k) simt::multiply_registers<typename Shape::element, Shape::head_dim>(
      rows.acc, rows.weights[k], simt::describe_matrix(v.boxes[0] + k * 16 * 64, Shape::keys * 128), true);
  simt::commit_products();
}

/// Whether all of a tile is finite. The whole warpgroup calls it, and looks at all of the tile, so as not to wait for the others.
template <class Shape>
RAPT_DEVICE bool is_finite(const typename hopper_storage<Shape>::key_tile& tile, int group) {
  // NaN in any of them, once something is not finite; else zeros. Several, so that loads are in flight together.
  constexpr unsigned count = Shape::boxes * Shape::keys * 8, at_once = 8;
  std::uint32_t sums[4] = {};
  const auto* const all = reinterpret_cast<const eight_elements*>(tile.boxes);
  for (unsigned first = simt::thread_idx() % 128; first < count; first += 128 * at_once)
    RAPT_UNROLL for (unsigned i = 0; i < at_once; ++i) if (first + 128 * i < count) RAPT_UNROLL for (int w = 0; w < 4; ++w) sums[w] =
        simt::nan_where_not_finite<typename Shape::element>(all[first + 128 * i].words[w], sums[w]);
  // Zeros may have a sign.
  const bool finite = ((sums[0] | sums[1] | sums[2] | sums[3]) & 0x7fff7fffu) == 0;
  bool any = false;
  with_group<Shape::groups>(group, [&](auto g) { any = simt::any_named<group_barrier + g()>(128, !finite); });
  return !any;
}

/// Scores of hidden keys become -inf. `first_key`: of this lane's first column.
template <class Shape>
RAPT_DEVICE void hide(float (&scores)[Shape::keys / 2], int first_key, key_range low, key_range high) {
  RAPT_UNROLL for (int i = 0; i < Shape::keys / 2; ++i) {
    const int key = first_key + i / 4 * 8 + i % 2;
    const key_range range = i % 4 < 2 ? low : high;
    if (key < range.first || key >= range.last) scores[i] = -simt::infinity;
  }
}

/// Scores become weights, relative to the rows' new maxima; sums of weights follow, rows.scale is what acc has to be multiplied with.
template <class Shape>
RAPT_DEVICE void fold_scores(float (&scores)[Shape::keys / 2], float c, hopper_rows<Shape>& rows) {
  RAPT_UNROLL for (int r = 0; r < 2; ++r) {
    float high[2] = {scores[2 * r], scores[2 * r + 1]};
    RAPT_UNROLL for (int i = 4; i < Shape::keys / 2; i += 4) RAPT_UNROLL for (int e = 0; e < 2; ++e) high[e] =
        simt::max_or_nan(high[e], scores[i + 2 * r + e]);
    high[0] = simt::max_or_nan(high[0], high[1]);
    RAPT_UNROLL for (unsigned apart = 1; apart < 4; apart *= 2) high[0] = simt::max_or_nan(high[0], simt::shuffle_xor(high[0], apart));
    const float max = simt::max_or_nan(rows.max[r], high[0] * c), base = base_of(max);
    rows.scale[r] = simt::exp2_approx(rows.max[r] - base);
    rows.max[r] = max;
    float sum[2] = {0, 0};
    RAPT_UNROLL for (int i = 0; i < Shape::keys / 2; i += 4) RAPT_UNROLL for (int e = 0; e < 2; ++e) {
      float& x = scores[i + 2 * r + e];
      x = simt::exp2_approx(simt::fma(x, c, -base));
      sum[e] += x;
    }
    rows.sum[r] = simt::fma(rows.sum[r], rows.scale[r], sum[0] + sum[1]);
  }
}

/// With nothing in flight: the fragments of the next product, and the sums that it is added to.
template <class Shape>
RAPT_DEVICE void prepare_values(const float (&scores)[Shape::keys / 2], hopper_rows<Shape>& rows) {
  RAPT_UNROLL for (int i = 0; i < Shape::head_dim / 2; ++i) rows.acc[i] *= rows.scale[i % 4 / 2];
  RAPT_UNROLL for (int k = 0; k < Shape::keys / 16; ++k) RAPT_UNROLL for (int i = 0; i < 4; ++i) rows.weights[k].registers[i] =
      simt::round_pair<typename Shape::element>(scores[k * 8 + 2 * i], scores[k * 8 + 2 * i + 1]);
}

/// The warpgroup's queries as they enter products. All of it calls this.
template <class Shape>
RAPT_DEVICE void prepare_queries(typename hopper_storage<Shape>::query_rows& q, int group, int query_factor) {
  using T = typename Shape::element;
  auto* const all = reinterpret_cast<eight_elements*>(q.boxes);
  RAPT_NO_UNROLL for (unsigned i = simt::thread_idx() % 128; i < Shape::boxes * 64 * 8; i += 128) {
    eight_elements x = all[i];
    bool changes = false;
    RAPT_UNROLL for (std::uint32_t& word : x.words) {
      const std::uint32_t entering = entering_query<T>(word, query_factor);
      changes = changes || entering != word;
      word = entering;
    }
    if (changes) all[i] = x;
  }
  simt::fence_async_proxy();
  with_group<Shape::groups>(group, [](auto g) { simt::sync_named<group_barrier + g()>(128); });
}

/// The rows that exist, divided by their sums.
template <class Shape, class T>
RAPT_DEVICE void write_out(const attention_problem<T>& p, const query_tile& work, int first_row, hopper_rows<Shape>& rows) {
  const unsigned lane = simt::lane_idx();
  RAPT_UNROLL for (int r = 0; r < 2; ++r) {
    RAPT_UNROLL for (unsigned apart = 1; apart < 4; apart *= 2) rows.sum[r] += simt::shuffle_xor(rows.sum[r], apart);
    const int query = work.first_query + first_row + 8 * r;
    if (query >= work.s.q_len) continue;
    const bool empty = rows.max[r] == -simt::infinity;
    const float inverse = empty ? 0.0f : simt::reciprocal(rows.sum[r]);
    if (p.lse.data != nullptr && lane % 4 == 0)
      *p.lse.at(work.sequence_idx, work.s.first_row + query, work.head) = log_of_sum(rows.max[r], rows.sum[r]);
    T* const to = p.out.at(work.sequence_idx, work.s.first_row + query, work.head) + lane % 4 * 2;
    RAPT_UNROLL for (int n = 0; n < Shape::head_dim / 8; ++n) {
      const auto finished = [&](int e) { return empty ? 0.0f : rows.acc[n * 4 + r * 2 + e] * inverse + 0.0f; };
      if (n * 8 < p.value_dim) *reinterpret_cast<std::uint32_t*>(to + n * 8) = finished_pair<T>(finished(0), finished(1));
    }
  }
}

/// One tile of queries, the `turn`-th, for a warpgroup. `n`: tiles of keys that have gone through the ring before. Every warp says of each tile when
/// it is done with it.
template <class Shape, class T>
RAPT_DEVICE void attend_rows(hopper_storage<Shape>& s, const attention_problem<T>& p, const score_constants& c, const query_tile& work, int group,
                             unsigned n, unsigned turn) {
  using ring = ring_place<Shape::stages>;
  const unsigned lane = simt::lane_idx(), consumer = simt::thread_idx() - 128;
  const int first_row = static_cast<int>(consumer / 32 * 16 + lane / 4);
  const auto range_of = [&](int half) { return work.ranges.of(first_row + 8 * half); };
  const auto done_with = [&](simt::phase_barrier& empty) {
    if (lane == 0) simt::arrive(empty);
  };
  const key_tiles tiles = key_tiles_of<Shape>(work);
  hopper_rows<Shape> rows;
  RAPT_UNROLL for (int r = 0; r < 2; ++r) rows.max[r] = -simt::infinity, rows.sum[r] = 0, rows.scale[r] = 1;
  RAPT_UNROLL for (float& x : rows.acc) x = 0;
  float scores[Shape::keys / 2];
  const auto fold = [&](int tile) {
    if (!tiles.is_whole(tile)) hide<Shape>(scores, tile * Shape::keys + static_cast<int>(lane % 4 * 2), range_of(0), range_of(1));
    fold_scores(scores, c.scale, rows);
  };
  // Before a product with the values of a tile that some row sees in part.
  const auto look_at_values = [&](int tile, ring at) {
    if (tiles.is_whole(tile)) return;
    simt::wait(s.v_full[at.stage], at.parity);
    if (!is_finite<Shape>(s.v[at.stage], group))
      take_out_not_finite<Shape, values_barrier>(s.v[at.stage], rows.acc, rows.weights, consumer, tile * Shape::keys, range_of(0), range_of(1));
  };

  const ring_place<Shape::query_stages> queries(turn);
  auto& q = s.q[queries.stage][group];
  simt::wait(s.q_full[queries.stage], queries.parity);
  prepare_queries<Shape>(q, group, c.query_factor);
  if (tiles.first < tiles.last) {
    const ring first(n);
    simt::wait(s.k_full[first.stage], first.parity);
    issue_scores<Shape>(scores, q, s.k[first.stage]);
    simt::wait_for_products<0>(scores);
    done_with(s.k_empty[first.stage]);
    fold(tiles.first);
    prepare_values(scores, rows);
    RAPT_NO_UNROLL for (int tile = tiles.first + 1; tile < tiles.last; ++tile) {
      const ring before(n), now(++n);
      look_at_values(tile - 1, before);
      simt::wait(s.k_full[now.stage], now.parity);
      wait_for_turn<Shape::groups>(group);
      issue_scores<Shape>(scores, q, s.k[now.stage]);
      simt::wait(s.v_full[before.stage], before.parity);
      issue_values(rows, s.v[before.stage]);
      pass_turn<Shape::groups>(group);
      simt::wait_for_products<1>(scores);
      done_with(s.k_empty[now.stage]);
      fold(tile);
      simt::wait_for_products<0>(rows.acc);
      done_with(s.v_empty[before.stage]);
      prepare_values(scores, rows);
    }
  }
  // Other queries may come.
  done_with(s.q_empty[queries.stage]);
  if (tiles.first < tiles.last) {
    const ring last(n);
    look_at_values(tiles.last - 1, last);
    simt::wait(s.v_full[last.stage], last.parity);
    issue_values(rows, s.v[last.stage]);
    simt::wait_for_products<0>(rows.acc);
    done_with(s.v_empty[last.stage]);
  }
  write_out(p, work, first_row, rows);
}

template <class Shape, class T>
RAPT_DEVICE void consume(hopper_storage<Shape>& s, const attention_problem<T>& p, const score_constants& c, int group) {
  if (group == Shape::groups - 1) pass_turn<Shape::groups>(group);
  unsigned n = 0;
  RAPT_NO_UNROLL for (unsigned turn = 0;; ++turn) {
    const ring_place<2> at(turn);
    simt::wait(s.work_full[at.stage], at.parity);
    const query_tile& work = s.work[at.stage];
    if (work.sequence_idx >= p.num_sequences) break;
    attend_rows(s, p, c, work, group, n, turn);
    const key_tiles tiles = key_tiles_of<Shape>(work);
    if (tiles.first < tiles.last) n += static_cast<unsigned>(tiles.last - tiles.first);
    simt::sync_warp();
    if (simt::lane_idx() == 0) simt::arrive(s.work_empty[at.stage]);
  }
  // So that no turn is left over.
  if (group == 0) wait_for_turn<Shape::groups>(group);
}

template <class Shape>
RAPT_DEVICE void init_barriers(hopper_storage<Shape>& s) {
  constexpr unsigned readers = Shape::consumers / 32;
  const auto init = [](simt::phase_barrier& full, simt::phase_barrier& empty, unsigned num_readers) {
    simt::init_barrier(full, 1);
    simt::init_barrier(empty, num_readers);
  };
  simt::init_barrier(s.work_wanted, 1);
  for (int i = 0; i < Shape::query_stages; ++i) init(s.q_full[i], s.q_empty[i], readers);
  // The copying thread reads it, too.
  for (int i = 0; i < 2; ++i) init(s.work_full[i], s.work_empty[i], readers + 1);
  for (int i = 0; i < Shape::stages; ++i) init(s.k_full[i], s.k_empty[i], readers), init(s.v_full[i], s.v_empty[i], readers);
  simt::fence_barrier_init();
}

template <class Shape>
RAPT_KERNEL(Shape::threads, 1)
hopper_prefill(attention_problem<typename Shape::element> p, score_constants c, const RAPT_GRID_CONSTANT simt::tensor_map q,
               const RAPT_GRID_CONSTANT simt::tensor_map k, const RAPT_GRID_CONSTANT simt::tensor_map v, int run_len, unsigned* counter) {
  auto& s = simt::shared<hopper_storage<Shape>>();
  if (simt::thread_idx() == 0) init_barriers(s);
  simt::sync_threads();
  // The compiler has to know that a warp has one role.
  const auto warp = static_cast<int>(simt::shuffle(simt::warp_idx(), 0));
  if (warp < 4) {
    simt::give_up_registers<Shape::producer_registers>();
    if (warp == 0 && simt::is_elected()) copy_all(s, p, q, k, v, run_len);
    if (warp == 1) draw_all(s, p, counter);
  } else {
    simt::take_registers<Shape::consumer_registers>();
    consume(s, p, c, warp / 4 - 1);
  }
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
