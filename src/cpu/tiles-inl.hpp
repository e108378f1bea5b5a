// The two products, out of register tiles, once per instruction set and stored type:
//   dot     out[r][c]  = sum over k of x[k][r] * columns[c][k]      scores and projections
//   values  acc[r][d] += sum over j of p[r][j] * values[j][d]
// A tile holds rows x vectors of accumulators in registers. A step of the chain loads the vectors of one k (or j), broadcasts one scalar per row and
// issues rows * vectors fused multiply-adds. SIMD lanes are outputs: each sum is one chain in the order of the contract, whatever the tile's size.
//
// Bound: the FMA units. Zen 3 and 4 do two 256-bit FMAs a cycle with latency 4, so 8 chains at least; and two 256-bit loads, so vectors + rows (the
// broadcasts) may not exceed vectors * rows. AVX2 has 16 registers: 6 x 2 + 2 + 1 = 15; AVX-512 has 32: 12 x 2 + 2 + 1 = 27. One row is bound by
// memory: 8 vectors in flight.
//
// Pairs of bf16 (cpu-bf16dot-v1) take two k (or j) in a step: 16 bf16 of one and 16 of the next lie side by side in memory, one permutation makes
// them 16 pairs, and vdpbf16ps adds both products. Instruction sets without it do the same operations one by one, to be tested. Test:
// tests/cpu/attend_test.cpp, project_test.cpp. What was tried: README.md.
#if defined(RAPT_CPU_TILES_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef RAPT_CPU_TILES_INL_HPP
#undef RAPT_CPU_TILES_INL_HPP
#else
#define RAPT_CPU_TILES_INL_HPP
#endif

#include <cpu/kernels.hpp>
#include <cpu/lanes-inl.hpp>

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace rapt {
inline namespace v0 {
namespace cpu {
namespace HWY_NAMESPACE {

/// The register tile that serves kernels of `Rows` rows. Fewer rows than Rows: several tiles below each other.
template <int Rows>
struct tile_shape {
#if HWY_TARGET == HWY_AVX2
  static constexpr int rows = Rows == 12 ? 6 : Rows == 8 ? 4 : Rows;
  static constexpr int vectors = Rows == 1 ? 8 : Rows == 2 ? 4 : 2;
#elif RAPT_TARGET_HAS_FMA
  static constexpr int rows = Rows;
  static constexpr int vectors = Rows <= 4 ? 4 : 2;
#else  // no speed to gain: the least code
  static constexpr int rows = 1;
  static constexpr int vectors = 4;
#endif
};

/// What meets its operands in memory asks for them so far ahead, in the order of addresses: a processor's own prefetching then runs along, and takes
/// more lines at a time than prefetch instructions alone can. Distance in each stream of groups and cache level: what was best (README.md).
template <class T>
constexpr index_t ahead_bytes = HWY_TARGET == HWY_AVX3 || is_pair<T> || sizeof(T) == 2 ? 2048 : 1024;
template <class T>
constexpr index_t ahead_elements = ahead_bytes<T> / sizeof(T);
HWY_INLINE void prefetch(const void* line) { __builtin_prefetch(line, 0, HWY_TARGET == HWY_AVX3 ? 2 : 3); }

/// What becomes of a tile's sums: they are stored; added to what is there; or go on from what is there.
enum class sums : std::uint8_t { stored, added, continued };

/// One step of the chains of one tile. Row r's factor is x[r * row_stride]; the columns are groups of 16, group_stride elements apart, of which lanes
/// `lane` .. are read. whole: false for the first of a pair alone.
template <class A, class T, int Rows, int Vectors, index_t row_stride, bool walks, bool whole>
HWY_INLINE void add_step(reg<A> (&acc)[Rows][Vectors], const A* HWY_RESTRICT x, const T* HWY_RESTRICT columns, index_t group_stride, index_t lane,
                         const T* ahead) {
  constexpr int in_group = group_vectors<A>, lanes = num_lanes<A>;
  reg<A> column[Vectors];
  RAPT_UNROLL for (int v = 0; v < Vectors; ++v) {
    const index_t group = v / in_group * group_stride;
    // A single row uses each vector once: it may be loaded where it is multiplied. Eight of them beside eight sums would not fit AVX2's registers.
    const vec<A> loaded = load_column<A, T, whole>(columns + group, lane + v % in_group * lanes);
    column[v] = Rows == 1 ? to_reg<A>(loaded) : keep_in_register<A>(loaded);
    if constexpr (walks) {
      if (v % in_group == 0) prefetch(ahead + group);
    }
  }
  RAPT_UNROLL for (int r = 0; r < Rows; ++r) {
    const vec<A> broadcast = hn::Set(tag<A>(), x[r * row_stride]);
    RAPT_UNROLL for (int v = 0; v < Vectors; ++v) acc[r][v] = to_reg<A>(add_product<T>(broadcast, to_vec<A>(column[v]), to_vec<A>(acc[r][v])));
  }
}

/// `terms` terms of the chains of one tile. Row r's factor of step k is x[r * row_stride + k * step_stride]; the columns of step k are groups of 16,
/// group_stride elements apart, of which lanes `lane` .. are read. `next` is the first group of the tile that follows.
template <class A, class T, int Rows, int Vectors, index_t row_stride, index_t step_stride, sums how, bool walks>
HWY_INLINE void tile(const A* HWY_RESTRICT x, const T* HWY_RESTRICT columns, index_t group_stride, index_t lane, index_t terms, const T* next,
                     A* HWY_RESTRICT out, index_t out_stride) {
  constexpr int lanes = num_lanes<A>;
  const tag<A> d;
  reg<A> acc[Rows][Vectors];
  RAPT_UNROLL for (int r = 0; r < Rows; ++r) {
    RAPT_UNROLL for (int v = 0; v < Vectors; ++v) acc[r][v] =
        to_reg<A>(how == sums::continued ? hn::LoadU(d, out + r * out_stride + v * lanes) : hn::Zero(d));
  }
  // Near the end of its group a stream goes on at the same place of the next tile.
  constexpr index_t steps_ahead = ahead_elements<T> / lane_group;
  const index_t steps = terms / terms_of_step<T>, last_steps = steps - steps_ahead;
  for (index_t k = 0; k < steps; ++k) {
    const T* const ahead = (k < last_steps ? columns + ahead_elements<T> : next - last_steps * lane_group) + k * lane_group;
    add_step<A, T, Rows, Vectors, row_stride, walks, true>(acc, x + k * step_stride, columns + k * lane_group, group_stride, lane, ahead);
  }
  if constexpr (is_pair<T>) {
    if (terms % 2 != 0)
      add_step<A, T, Rows, Vectors, row_stride, false, false>(acc, x + steps * step_stride, columns + steps * lane_group, group_stride, lane,
                                                              nullptr);
  }
  RAPT_UNROLL for (int r = 0; r < Rows; ++r) {
    RAPT_UNROLL for (int v = 0; v < Vectors; ++v) {
      A* const to = out + r * out_stride + v * lanes;
      if constexpr (how == sums::added)
        hn::StoreU(hn::Add(hn::LoadU(d, to), to_vec<A>(acc[r][v])), d, to);
      else
        hn::StoreU(to_vec<A>(acc[r][v]), d, to);
    }
  }
}

/// The tiles of `Rows` rows over num_groups groups of columns; `after` is read when they are done, or null.
template <class A, class T, int Rows, index_t row_stride, index_t step_stride, sums how, bool walks>
HWY_INLINE void tiles(const A* x, const T* columns, index_t group_stride, index_t num_groups, index_t terms, const T* after, A* out,
                      index_t out_stride) {
  using shape = tile_shape<Rows>;
  constexpr int in_group = group_vectors<A>;
  const auto of = [&](auto vectors, index_t group, index_t lane) HWY_ATTR {
    const index_t following = group + std::max<index_t>(1, vectors / in_group);
    const T* const next = following < num_groups || after == nullptr ? columns + following * group_stride : after;
    for (int r = 0; r < Rows; r += shape::rows)
      tile<A, T, shape::rows, vectors, row_stride, step_stride, how, walks>(x + r * row_stride, columns + group * group_stride, group_stride, lane,
                                                                            terms, next, out + r * out_stride + group * lane_group + lane,
                                                                            out_stride);
  };
  index_t group = 0;
  if constexpr (shape::vectors > in_group) {
    constexpr int groups = shape::vectors / in_group;
    for (; group + groups <= num_groups; group += groups) of(std::integral_constant<int, shape::vectors>(), group, 0);
  }
  constexpr int part = std::min(shape::vectors, in_group);
  for (; group < num_groups; ++group)
    for (index_t lane = 0; lane < lane_group; lane += part * num_lanes<A>) of(std::integral_constant<int, part>(), group, lane);
}

template <class A, class T, int Rows, sums how, bool walks>
void dot_rows(const dot_args<A>& a) {
  for (index_t h = 0; h < a.heads.times; ++h)
    tiles<A, T, Rows, 1, Rows, how, walks>(a.x + h * a.heads.factors, static_cast<const T*>(a.columns) + h * a.heads.operands / terms_of_step<T>,
                                           a.group_stride / terms_of_step<T>, a.num_groups, a.depth, static_cast<const T*>(a.next),
                                           a.out + h * a.heads.results, a.out_stride);
}

/// Piece by piece, each for all heads: where a piece lies is found once.
template <class A, class T, int Rows, bool walks>
void value_rows(const value_args<A>& a) {
  for (index_t done = 0; done < a.count;) {
    const index_t key = a.first + done, keys = a.layout.keys_of(a.layout.block_of(key));
    const index_t count = std::min(keys - key % a.layout.block, a.count - done);
    const auto from = [&](index_t k) { return static_cast<const T*>(a.values) + a.layout.offset(k, 0) / terms_of_step<T>; };
    const T* const after = done + count < a.count ? from(key + count) : static_cast<const T*>(a.next);
    const T* values = from(key);
    for (index_t h = 0; h < a.heads.times; ++h) {
      const T* const following = values + a.heads.operands / terms_of_step<T>;
      tiles<A, T, Rows, score_stride, 1, sums::continued, walks>(
          a.p + h * a.heads.factors + done / terms_of_step<T>, values, keys * lane_group / terms_of_step<T>, a.layout.columns / lane_group, count,
          h + 1 < a.heads.times ? following : after, a.acc + h * a.heads.results, a.layout.columns);
      values = following;
    }
    done += count;
  }
}

template <class A, class T, int Rows>
void dot_for(const dot_args<A>& a) {
  if (a.adding) return a.walks ? dot_rows<A, T, Rows, sums::added, true>(a) : dot_rows<A, T, Rows, sums::added, false>(a);
  return a.walks ? dot_rows<A, T, Rows, sums::stored, true>(a) : dot_rows<A, T, Rows, sums::stored, false>(a);
}
template <class A, class T, int Rows>
void values_for(const value_args<A>& a) {
  return a.walks ? value_rows<A, T, Rows, true>(a) : value_rows<A, T, Rows, false>(a);
}

template <class A, class T>
void dot(int rows, const dot_args<A>& a) {
  switch (rows) {
    case 1:
      return dot_for<A, T, 1>(a);
    case 2:
      return dot_for<A, T, 2>(a);
    case 4:
      return dot_for<A, T, 4>(a);
    case 8:
      return dot_for<A, T, 8>(a);
    default:
      return dot_for<A, T, max_tile_rows>(a);
  }
}
template <class A, class T>
void values(int rows, const value_args<A>& a) {
  switch (rows) {
    case 1:
      return values_for<A, T, 1>(a);
    case 2:
      return values_for<A, T, 2>(a);
    case 4:
      return values_for<A, T, 4>(a);
    case 8:
      return values_for<A, T, 8>(a);
    default:
      return values_for<A, T, max_tile_rows>(a);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace v0
}  // namespace rapt
HWY_AFTER_NAMESPACE();
#endif
