// The two products, out of register tiles, once per instruction set and stored type:
//   dot     out[r][c]  = sum over k of x[k][r] * columns[c][k]      scores and projections
//   values  acc[r][d] += sum over j of p[r][j] * values[j][d]
// A tile holds rows x vectors of accumulators in registers. A step of the chain loads the vectors of one k (or j), broadcasts one scalar per row and
// issues rows * vectors fused multiply-adds. SIMD lanes are outputs: each sum is one chain in the order of the contract, whatever the tile's size.
//
// Bound: the FMA units. Zen 3 and 4 do two 256-bit FMAs a cycle with latency 4, so 8 chains at least; and two 256-bit loads, so vectors + rows (the
// broadcasts) may not exceed vectors * rows. AVX2 has 16 registers: 6 x 2 + 2 + 1 = 15; AVX-512 has 32: 12 x 2 + 2 + 1 = 27. One row is bound by
// memory: 8 vectors in flight.
// Test: tests/cpu/attend_test.cpp, project_test.cpp. What was tried: README.md.
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
  static constexpr int vectors = Rows == 1 ? 8 : Rows <= 4 ? 4 : 2;
#else  // no speed to gain: the least code
  static constexpr int rows = 1;
  static constexpr int vectors = 4;
#endif
};

/// What meets its operands in memory asks for them so far ahead, in the order of addresses: a processor's own prefetching then runs along, and takes
/// more lines at a time than prefetch instructions alone can.
template <class T>
constexpr index_t ahead_elements = 1024 / static_cast<index_t>(sizeof(T));

/// Values that are met in memory are taken in blocks of so many keys, so that the next columns and the next tile of rows find them in the first-level
/// cache: a column of 64 bytes in rows 512 bytes apart competes for 8 of its 64 sets. Out of the second-level cache they come fast enough, and sums
/// stay in registers all the way.
constexpr index_t walking_block = 32;

template <class A, class T, int Rows, int Vectors, bool adding, bool walks>
HWY_INLINE void dot_tile(const A* HWY_RESTRICT x, index_t x_stride, const T* HWY_RESTRICT columns, index_t group_stride, index_t depth, const T* next,
                         A* HWY_RESTRICT out, index_t out_stride) {
  constexpr int in_group = group_vectors<A>, lanes = num_lanes<A>;
  const tag<A> d;
  reg<A> acc[Rows][Vectors], column[Vectors];
  RAPT_UNROLL for (int r = 0; r < Rows; ++r) { RAPT_UNROLL for (int v = 0; v < Vectors; ++v) acc[r][v] = to_reg<A>(hn::Zero(d)); }
  // Near the end of its group a stream goes on at the same place of the next tile.
  constexpr index_t steps_ahead = ahead_elements<T> / lane_group;
  const index_t last_steps = depth - steps_ahead;
  for (index_t k = 0; k < depth; ++k) {
    const T* const ahead = k < last_steps ? columns + ahead_elements<T> : next - last_steps * lane_group;
    RAPT_UNROLL for (int v = 0; v < Vectors; ++v) {
      const index_t at = v / in_group * group_stride + k * lane_group + v % in_group * lanes;
      column[v] = keep_in_register<A>(load_widened<A>(columns + at));
      if constexpr (walks) {
        if (v % in_group == 0) __builtin_prefetch(ahead + at);
      }
    }
    RAPT_UNROLL for (int r = 0; r < Rows; ++r) {
      const vec<A> broadcast = hn::Set(d, x[k * x_stride + r]);
      RAPT_UNROLL for (int v = 0; v < Vectors; ++v) acc[r][v] = to_reg<A>(fused_mul_add(broadcast, to_vec<A>(column[v]), to_vec<A>(acc[r][v])));
    }
  }
  RAPT_UNROLL for (int r = 0; r < Rows; ++r) {
    RAPT_UNROLL for (int v = 0; v < Vectors; ++v) {
      A* const to = out + r * out_stride + v * lanes;
      if constexpr (adding)
        hn::StoreU(hn::Add(hn::LoadU(d, to), to_vec<A>(acc[r][v])), d, to);
      else
        hn::StoreU(to_vec<A>(acc[r][v]), d, to);
    }
  }
}

template <class A, class T, int Rows, bool adding, bool walks>
void dot_rows(const dot_args<A>& a) {
  using shape = tile_shape<Rows>;
  constexpr int in_group = group_vectors<A>;
  const T* const columns = static_cast<const T*>(a.columns);
  const auto tiles = [&](auto vectors, index_t group, index_t lane) HWY_ATTR {
    const index_t following = group + std::max<index_t>(1, vectors / in_group);
    const T* const next = following < a.num_groups || a.next == nullptr ? columns + following * a.group_stride + lane : static_cast<const T*>(a.next);
    for (int r = 0; r < Rows; r += shape::rows)
      dot_tile<A, T, shape::rows, vectors, adding, walks>(a.x + r, Rows, columns + group * a.group_stride + lane, a.group_stride, a.depth, next,
                                                          a.out + r * a.out_stride + group * lane_group + lane, a.out_stride);
  };
  index_t group = 0;
  if constexpr (shape::vectors > in_group) {
    constexpr int groups = shape::vectors / in_group;
    for (; group + groups <= a.num_groups; group += groups) tiles(std::integral_constant<int, shape::vectors>(), group, 0);
  }
  constexpr int part = std::min(shape::vectors, in_group);
  for (; group < a.num_groups; ++group)
    for (index_t lane = 0; lane < lane_group; lane += part * num_lanes<A>) tiles(std::integral_constant<int, part>(), group, lane);
}

/// `ahead` to `ahead_end` is what will be read after this block. A tile reads its own block at strides, which no processor foresees: so it also loads
/// one piece of what comes next for each piece that it uses, in the order of addresses.
template <class A, class T, int Rows, int Vectors, bool walks>
HWY_INLINE void value_tile(const A* HWY_RESTRICT p, const T* HWY_RESTRICT values, index_t value_stride, index_t group_stride, index_t count,
                           const T* ahead, const T* ahead_end, A* HWY_RESTRICT out, index_t out_stride) {
  constexpr int in_group = group_vectors<A>, lanes = num_lanes<A>;
  const tag<A> d;
  reg<A> acc[Rows][Vectors], value[Vectors];
  RAPT_UNROLL for (int r = 0; r < Rows; ++r) {
    RAPT_UNROLL for (int v = 0; v < Vectors; ++v) acc[r][v] = to_reg<A>(hn::LoadU(d, out + r * out_stride + v * lanes));
  }
  for (index_t j = 0; j < count; ++j) {
    RAPT_UNROLL for (int v = 0; v < Vectors; ++v) {
      value[v] = keep_in_register<A>(load_widened<A>(values + j * value_stride + v / in_group * group_stride + v % in_group * lanes));
      if constexpr (walks) {
        if (v % in_group == 0) {
          const T* const piece = std::min(ahead + (j * Vectors + v) * lanes, ahead_end - 1);
          static_cast<void>(*reinterpret_cast<const volatile unsigned char*>(piece));
          __builtin_prefetch(piece + ahead_elements<T>);
        }
      }
    }
    RAPT_UNROLL for (int r = 0; r < Rows; ++r) {
      const vec<A> broadcast = hn::Set(d, p[r * score_stride + j]);
      RAPT_UNROLL for (int v = 0; v < Vectors; ++v) acc[r][v] = to_reg<A>(fused_mul_add(broadcast, to_vec<A>(value[v]), to_vec<A>(acc[r][v])));
    }
  }
  RAPT_UNROLL for (int r = 0; r < Rows; ++r) {
    RAPT_UNROLL for (int v = 0; v < Vectors; ++v) hn::StoreU(to_vec<A>(acc[r][v]), d, out + r * out_stride + v * lanes);
  }
}

template <class A, class T, int Rows, bool walks>
void value_rows(const value_args<A>& a) {
  using shape = tile_shape<Rows>;
  constexpr int lanes = num_lanes<A>;
  const index_t width = a.num_groups * lane_group, block = walks ? walking_block : a.count;
  for (index_t first = 0; first < a.count; first += block) {
    const index_t count = std::min(block, a.count - first);
    const T* const values = static_cast<const T*>(a.values) + first * a.value_stride;
    const index_t following = std::min(block, a.count - first - count);
    const bool in_run = following > 0 || a.next == nullptr;
    const T* const ahead = in_run ? values + count * a.value_stride : static_cast<const T*>(a.next);
    const T* const ahead_end = in_run ? ahead + following * a.value_stride : ahead + a.next_size;
    const auto tiles = [&](auto vectors, index_t column) HWY_ATTR {
      const T* const from = values + column / lane_group * a.group_stride + column % lane_group;
      for (int r = 0; r < Rows; r += shape::rows)
        value_tile<A, T, shape::rows, vectors, walks>(a.p + r * score_stride + first, from, a.value_stride, a.group_stride, count,
                                                      ahead + column * count, ahead_end, a.acc + r * width + column, width);
    };
    constexpr int part = std::min(shape::vectors, group_vectors<A>);
    index_t column = 0;
    for (; column + shape::vectors * lanes <= width; column += shape::vectors * lanes) tiles(std::integral_constant<int, shape::vectors>(), column);
    if constexpr (shape::vectors > part)
      for (; column < width; column += part * lanes) tiles(std::integral_constant<int, part>(), column);
  }
}

template <class A, class T, int Rows>
void dot_for(const dot_args<A>& a) {
  if (a.adding) return a.walks ? dot_rows<A, T, Rows, true, true>(a) : dot_rows<A, T, Rows, true, false>(a);
  return a.walks ? dot_rows<A, T, Rows, false, true>(a) : dot_rows<A, T, Rows, false, false>(a);
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
