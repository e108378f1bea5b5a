// Projections: y[r][c] = sum over k of x[r][k] * weights[k][c], then bias, then residual, rounded once to y's type.
//
// Rows are packed to [depth][12] tiles once and meet the weights in panels of four lane groups. A unit is (block of 96 rows, panel): its chains run
// over absolute blocks of 256 k, so that a panel's slab (64 KiB of f32) stays in the second-level cache while the block's tiles pass by. Sums of a
// unit stay in 24 KiB; bias, residual and rounding are a second pass, because a branch in a tile's epilogue costs half its rate. Bound: the FMA units
// from 8 rows on, the rate at which weights are read below. Test: tests/cpu/project_test.cpp.
#include <cpu/row_tiles.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {
namespace {
constexpr index_t block_rows = 192;             // 16 tiles
constexpr index_t chunk_rows = 2 * block_rows;  // packed at one time: work memory does not grow with the number of rows
constexpr index_t panel_groups = 4, panel_columns = panel_groups * lane_group;

template <class A>
struct unit_scratch {
  A* sums;       // [block_rows][panel_columns]
  A* residual;   // [panel_columns]
  A* wide;       // rows of one tile before they are transposed
  bf16* narrow;  // pairs: the same
  unit_scratch(workspace& from, index_t depth, bool pairs)
      : sums(from.take<A>(block_rows * panel_columns)),
        residual(from.take<A>(panel_columns)),
        wide(take_tile_rows<A>(from, depth)),
        narrow(pairs ? from.take<bf16>(max_tile_rows * round_up(depth, 2)) : nullptr) {}
};

template <class A>
class projection {
 public:
  projection(context& ctx, const project_params& p)
      : ctx_(ctx),
        p_(p),
        rows_(rows_of<A>(*ctx.internals().table)),
        depth_(p.x.heads * p.x.dim),
        word_terms_(p.bf16_pairs ? 2 : 1),
        num_words_(ceil_div(depth_, word_terms_)) {
    for (const project_params::target& target : p.targets) num_panels_ += ceil_div(target.weights.columns, panel_columns);
    const index_t num_rows = p.x.rows();
    work_ = std::min(num_rows, chunk_rows) * depth_ * num_panels_ * panel_columns;
    num_workers_ = workers_for(ctx, std::max(num_panels_, ceil_div(num_rows, index_t{max_tile_rows})), work_);
  }

  void run(workspace& scratch) {
    const index_t num_rows = p_.x.rows(), packed_rows = round_up(std::min(num_rows, chunk_rows), max_tile_rows);
    A* const packed = scratch.take<A>(packed_rows * num_words_);
    const worker_scratch workers(scratch, num_workers_, [&](workspace& from) { return unit_scratch<A>(from, depth_, p_.bf16_pairs); });
    if (scratch.measuring()) return;
    if (num_rows == 1 && num_workers_ == 1) return lone_row(packed, workers.of(0));
    for (index_t first = 0; first < num_rows; first += chunk_rows) {
      const index_t count = std::min(chunk_rows, num_rows - first);
      const index_t num_tiles = ceil_div(count, index_t{max_tile_rows}), num_blocks = ceil_div(count, block_rows);
      const bool is_tile = num_rows == 1 && in_place();
      if (!is_tile)
        for_each_unit(ctx_, workers, workers_for(ctx_, num_tiles, 8 * count * depth_), num_tiles, [&](const unit_scratch<A>& own, index_t tile) {
          pack(first + tile * max_tile_rows, first + count, packed + tile * max_tile_rows * num_words_, own);
        });
      const A* const tiles = is_tile ? row_in_place(0) : packed;
      for_each_unit(ctx_, workers, num_workers_, num_blocks * num_panels_, [&](const unit_scratch<A>& own, index_t unit) {
        const index_t block = unit / num_panels_ * block_rows;
        index_t column = unit % num_panels_ * panel_columns;
        const project_params::target* target = p_.targets.data();
        for (; column >= target->weights.columns; ++target) column -= round_up(target->weights.columns, panel_columns);
        multiply(*target, column, first + block, std::min(block_rows, count - block), tiles + block * num_words_, own);
      });
    }
  }

 private:
  /// Whether a row lies in memory as a tile of one row would.
  bool in_place() const {
    const operand& x = p_.x;
    return (p_.bf16_pairs ? lies_as_words(x) : lies_as<A>(x)) && (x.heads == 1 || x.head_stride == x.dim);
  }
  const A* row_in_place(index_t row) const { return reinterpret_cast<const A*>(byte_at(p_.x.data, p_.x.offset(row, 0), p_.x.type)); }

  void pack(index_t row, index_t end, A* to, const unit_scratch<A>& scratch) const {
    const operand& x = p_.x;
    const index_t used = std::min<index_t>(max_tile_rows, end - row);
    const bool as_it_lies = in_place();
    pack_tile(rows_, used, tile_rows_for(used), num_words_, to, [&](index_t r) {
      if (as_it_lies) return row_in_place(row + r);
      A* const wide = scratch.wide + r * depth_;
      load_row(rows_, x, row + r, wide);
      if (!p_.bf16_pairs) return static_cast<const A*>(wide);
      bf16* const narrow = scratch.narrow + 2 * r * num_words_;
      rows_.store(wide, A{1}, depth_, narrow, dtype::bf16, 1);
      return as_words<A>(narrow, depth_);
    });
  }

  const operand_kernels<A>& products(const packed_matrix& w) const { return products_of<A>(*ctx_.internals().table, w.type, p_.bf16_pairs); }
  /// Terms k .. of the chains of a panel's columns.
  dot_args<A> chains(const A* x, const packed_matrix& w, index_t first_column, index_t k, A* sums, bool walks) const {
    return {x,
            byte_at(w.data, first_column * w.depth + k * lane_group, w.type),
            w.depth * lane_group,
            std::min(project_block, depth_ - k),
            ceil_div(std::min(panel_columns, w.columns - first_column), lane_group),
            sums,
            panel_columns,
            k > 0,
            walks,
            nullptr};
  }

  /// One row on one thread: every panel, without asking which comes next. One row is read best by plain loads.
  void lone_row(A* packed, const unit_scratch<A>& scratch) const {
    const bool is_tile = in_place();
    if (!is_tile) pack(0, 1, packed, scratch);
    const A* const x = is_tile ? row_in_place(0) : packed;
    for (const project_params::target& target : p_.targets) {
      const operand_kernels<A>& operand = products(target.weights);
      for (index_t column = 0; column < target.weights.columns; column += panel_columns) {
        index_t k = 0;
        do operand.dot(1, chains(x + k / word_terms_, target.weights, column, k, scratch.sums, false));
        while ((k += project_block) < depth_);
        finish(target, column, 0, scratch.sums, scratch.residual);
      }
    }
  }

  /// `count` rows from `row` and a panel of columns from `first_column`.
  void multiply(const project_params::target& target, index_t first_column, index_t row, index_t count, const A* packed,
                const unit_scratch<A>& scratch) const {
    const operand_kernels<A>& operand = products(target.weights);
    index_t k = 0;
    do {  // also with depth 0: the sums are then +0
      for (index_t r = 0; r < count; r += max_tile_rows) {
        const int tile_rows = tile_rows_for(std::min<index_t>(max_tile_rows, count - r));
        // The first tile meets the weights in memory.
        operand.dot(tile_rows, chains(packed + r * num_words_ + k / word_terms_ * tile_rows, target.weights, first_column, k,
                                      scratch.sums + r * panel_columns, r == 0 && tile_rows >= 4));
      }
    } while ((k += project_block) < depth_);
    for (index_t r = 0; r < count; ++r) finish(target, first_column, row + r, scratch.sums + r * panel_columns, scratch.residual);
  }

  /// Bias, residual and rounding of one row of a panel.
  void finish(const project_params::target& target, index_t first_column, index_t row, A* sums, A* residual) const {
    const packed_matrix& w = target.weights;
    const index_t num_columns = std::min(panel_columns, w.columns - first_column);
    if (w.bias != nullptr) rows_.add(sums, static_cast<const A*>(w.bias) + first_column, num_columns);
    if (p_.residual.data != nullptr) {
      each_piece(p_.residual, row, first_column, num_columns,
                 [&](std::byte* from, index_t at, index_t n) { rows_.load(from, p_.residual.type, p_.residual.dim_stride, n, residual + at); });
      rows_.add(sums, residual, num_columns);
    }
    each_piece(target.out, row, first_column, num_columns,
               [&](std::byte* to, index_t at, index_t n) { rows_.store(sums + at, A{1}, n, to, target.out.type, target.out.dim_stride); });
  }

  /// Columns [first, first + count) of a row lie in pieces of whole or partial heads, or in one: f(address, columns after first, columns).
  template <class F>
  static void each_piece(const operand& o, index_t row, index_t first, index_t count, const F& f) {
    if (o.head_stride == o.dim * o.dim_stride) return f(byte_at(o.data, o.offset(row, 0) + first * o.dim_stride, o.type), 0, count);
    for (index_t at = 0; at < count;) {
      const index_t head = (first + at) / o.dim, d = (first + at) % o.dim, n = std::min(o.dim - d, count - at);
      f(byte_at(o.data, o.offset(row, head) + d * o.dim_stride, o.type), at, n);
      at += n;
    }
  }

  context& ctx_;
  const project_params& p_;
  const row_kernels<A>& rows_;
  index_t depth_, word_terms_, num_words_;  // a word of packed rows holds one term of the chains, or two
  index_t num_panels_ = 0, work_ = 0, num_workers_ = 1;
};
}  // namespace

void backend::project(context& ctx, const project_params& params, workspace& scratch) noexcept {
  const float_environment environment;
  const workspace::scope scope(scratch);
  with_accumulator(params.accumulator, [&](auto a) { projection<decltype(a)>(ctx, params).run(scratch); });
}

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
