// Rows of a step into the cache: keys and values to their places in pages, queries to theirs, after norm and rotary embedding, in one launch.
//
// A block takes one row of the step, a few lanes each of its heads: queries, keys, values. A lane has two chunks of 8 elements. Where halves are
// rotated with each other, they are one's chunk of each half, so that partners and their angles lie in one thread, which keeps the angles from head
// to head; a pair of neighbours lies within a chunk. Only a norm goes through shared memory, because it sums across a head. The next head is read
// while this one is computed. In the contract's order:
//   norm        squares in 16 sums by d mod 16, ascending, a tree over halves; x * (1 / sqrt(mean + eps)) * weight
//   rotation    (a, b) becomes (fma(a, c, -(b * s)), fma(b, c, a * s)); cosines and sines come from a table, rounded from double
//   rounding    once, to nearest even, where a row is stored; every NaN is the canonical one
// Bound: bytes read and written over the device's copy rate. Test: tests/kernels/append_test.cpp. Bench: bench/gpu/run.sh. Figures: docs/kernels.md.
#pragma once
#include <kernels/append_elements.hpp>
#include <kernels/append_problem.hpp>
#include <kernels/elements.hpp>
#include <kernels/simt/math.hpp>
#include <kernels/simt/warp.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// From so many rows on there are blocks enough without dividing a row's heads among several.
constexpr int append_threads = 128, append_whole_rows = 1024;

/// A head's elements, of which each 32 are followed by a gap of 4, so that neither chunks nor columns of 16 meet in a bank.
template <int Lanes>
struct append_storage {
  alignas(16) float elements[append_threads / Lanes][Lanes * 18 | 16];
};
RAPT_DEVICE int with_gaps(int d) { return d + d / 32 * 4; }

/// Eight elements as they are read, and N floats.
template <class From>
struct alignas(16) append_chunk {
  std::conditional_t<std::is_same_v<From, float>, float, std::uint32_t> words[sizeof(From) * 2];
};
template <int N>
struct alignas(N * sizeof(float)) some_floats {
  float x[N];
};
struct alignas(16) two_angles {
  angle of[2];
};

/// Where a lane's two chunks begin: those that are rotated with each other are one lane's. Not below dim: there is none.
struct append_chunks {
  int d[2];
};
RAPT_DEVICE append_chunks append_chunks_of(int lane, int dim, int rope_dim) {
  const int num_rotated = rope_dim / 16, num_lanes = (dim + 15) / 16;
  if (lane >= num_lanes) return {{dim, dim}};
  if (lane < num_rotated) return {{lane * 8, (lane + num_rotated) * 8}};
  return {{(lane + num_rotated) * 8, (lane + num_lanes) * 8}};
}
/// A head as a lane has read it.
template <class From>
struct append_part {
  appended_head<From> head;
  append_chunks at;
  append_chunk<From> chunks[2];
};
template <class From, class T>
RAPT_DEVICE append_part<From> read_part(const append_problem<From, T>& p, int row, int head, int lane) {
  append_part<From> part;
  part.head = appended_head_of(p, row, head);
  part.at = append_chunks_of(lane, part.head.dim, part.head.rope_dim);
  RAPT_UNROLL for (int c = 0; c < 2; ++c) if (part.at.d[c] < part.head.dim) part.chunks[c] =
      *reinterpret_cast<const append_chunk<From>*>(part.head.data + part.at.d[c]);
  return part;
}

/// 1 / sqrt(mean of squares + eps), the same in all lanes of a head. The whole warp calls it.
template <int Lanes>
RAPT_DEVICE float inverse_norm(const float (&x)[2][8], const append_chunks& at, int dim, float eps, float* room, int lane) {
  simt::sync_warp();  // everybody has read the head before
  RAPT_UNROLL for (int c = 0; c < 2; ++c) if (at.d[c] < dim) RAPT_UNROLL for (int i = 0; i < 8; i += 4) *
      reinterpret_cast<some_floats<4>*>(room + with_gaps(at.d[c]) + i) = {{x[c][i], x[c][i + 1], x[c][i + 2], x[c][i + 3]}};
  simt::sync_warp();
  constexpr int each = 16 / Lanes;  // sums of a lane, neighbours
  float sums[each] = {};
  RAPT_UNROLL for (int d = 0; d < Lanes * 16; d += 16) if (d + lane * each < dim) {
    const auto column = *reinterpret_cast<const some_floats<each>*>(room + with_gaps(d) + lane * each);
    RAPT_UNROLL for (int i = 0; i < each; ++i) sums[i] = simt::fma(column.x[i], column.x[i], sums[i]);
  }
  RAPT_UNROLL for (int lanes = Lanes / 2; lanes >= 1; lanes /= 2) RAPT_UNROLL for (int i = 0; i < each; ++i) sums[i] +=
      simt::shuffle_xor(sums[i], static_cast<unsigned>(lanes));
  RAPT_UNROLL for (int width = each / 2; width >= 1; width /= 2) RAPT_UNROLL for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
  return simt::reciprocal(simt::square_root(simt::divide(sums[0], static_cast<float>(dim)) + eps));
}

/// The angles of a lane's pairs, in the order in which `rotate` takes them.
template <class From, class T>
RAPT_DEVICE void read_angles(angle (&turns)[8], const append_problem<From, T>& p, index_t angle_row, int lane) {
  const int num_rotated = p.rope_dim / 16;
  if (lane >= num_rotated) return;
  const angle* const angles = p.angles + angle_row * (p.rope_dim / 2);
  RAPT_UNROLL for (int i = 0; i < 8; i += 2) {
    const int pair = p.interleaved ? (lane + i / 4 * num_rotated) * 4 + i % 4 : lane * 8 + i;
    const two_angles both = *reinterpret_cast<const two_angles*>(angles + pair);
    turns[i] = both.of[0], turns[i + 1] = both.of[1];
  }
}
RAPT_DEVICE void rotate(float (&x)[2][8], const angle (&turns)[8], bool interleaved) {
  const auto turn = [](float& first, float& second, angle t) {
    const float a = first, b = second;
    first = simt::fma(a, t.c, -(b * t.s)), second = simt::fma(b, t.c, a * t.s);
  };
  if (interleaved)
    RAPT_UNROLL for (int i = 0; i < 8; ++i) turn(x[i / 4][i % 4 * 2], x[i / 4][i % 4 * 2 + 1], turns[i]);
  else
    RAPT_UNROLL for (int i = 0; i < 8; ++i) turn(x[0][i], x[1][i], turns[i]);
}

/// grid: rows of the step, their heads divided among y blocks. `Lanes` lanes share a head. Normed: some head has a norm.
template <bool Normed, int Lanes, class From, class T>
RAPT_KERNEL(append_threads, Normed ? 5 : 6)
append(append_problem<From, T> p) {
  constexpr int heads_at_once = append_threads / Lanes;
  const int row = static_cast<int>(simt::block_idx().x), own = static_cast<int>(simt::thread_idx()) / Lanes;
  const int lane = static_cast<int>(simt::thread_idx()) % Lanes;
  const int step = static_cast<int>(simt::grid_extent().y) * heads_at_once, num_heads = num_appended_heads(p);
  int first = static_cast<int>(simt::block_idx().y) * heads_at_once;
  // Asked for first, because what follows waits for lengths, then for pages and angles.
  append_part<From> next = read_part(p, row, first + own, lane);
  const appended_row r = appended_row_of(p, row);
  if (!r.is_used) return;
  angle turns[8];
  read_angles(turns, p, r.angle_row, lane);

  RAPT_NO_UNROLL for (; first < num_heads; first += step) {
    float x[2][8];
    RAPT_UNROLL for (int i = 0; i < 16; ++i) {
      if constexpr (std::is_same_v<From, float>)
        x[i / 8][i % 8] = next.chunks[i / 8].words[i % 8];
      else
        x[i / 8][i % 8] = simt::widen<From>(static_cast<std::uint16_t>(next.chunks[i / 8].words[i % 8 / 2] >> i % 2 * 16));
    }
    const appended_head<From> head = next.head;
    const append_chunks at = next.at;
    next = read_part(p, row, first + step + own, lane);

    if constexpr (Normed) {
      if (simt::ballot(head.is_normed) != 0) {
        const float scale = inverse_norm<Lanes>(x, at, head.dim, p.eps, simt::shared<append_storage<Lanes>>().elements[own], lane);
        RAPT_UNROLL for (int i = 0; i < 16; i += 4) if (head.is_normed && at.d[i / 8] < head.dim) {
          const auto weights = *reinterpret_cast<const some_floats<4>*>(head.norm + at.d[i / 8] + i % 8);
          RAPT_UNROLL for (int j = 0; j < 4; ++j) x[i / 8][i % 8 + j] = x[i / 8][i % 8 + j] * scale * weights.x[j];
        }
      }
    }
    if (lane < head.rope_dim / 16) rotate(x, turns, p.interleaved);
    if (head.dim == 0) continue;
    T* const to = appended_place(p, r, row, first + own);
    RAPT_UNROLL for (int c = 0; c < 2; ++c) if (at.d[c] < head.dim) {
      eight_elements all;
      RAPT_UNROLL for (int w = 0; w < 4; ++w) all.words[w] = finished_pair<T>(x[c][w * 2], x[c][w * 2 + 1]);
      *reinterpret_cast<eight_elements*>(to + at.d[c]) = all;
    }
  }
}

/// What a kernel of so many lanes a head is launched with.
template <bool Normed, int Lanes, class From, class T>
void launch_append(const append_problem<From, T>& p, int num_heads, simt::stream stream) {
  using storage = std::conditional_t<Normed, append_storage<Lanes>, simt::no_storage>;
  const index_t parts = p.num_rows < append_whole_rows ? ceil_div(num_heads, append_threads / Lanes) : 1;
  simt::launch<storage>(append<Normed, Lanes, From, T>, {static_cast<unsigned>(p.num_rows), static_cast<unsigned>(parts)}, append_threads, stream, p);
}
template <bool Normed, class From, class T>
void launch_append(const append_problem<From, T>& p, int num_heads, simt::stream stream) {
  const int dim = std::max(p.head_dim, p.value_dim);
  if (dim > 128) return launch_append<Normed, 16>(p, num_heads, stream);
  if (dim > 64) return launch_append<Normed, 8>(p, num_heads, stream);
  launch_append<Normed, 4>(p, num_heads, stream);
}

/// Writes all rows. Throws config_error or shape_error before anything is launched.
template <class From, class T>
void append_rows(const append_problem<From, T>& p, simt::stream stream) {
  raise_if(check_append(p));
  if (p.num_sequences == 0 || p.num_rows == 0) return;
  const int num_heads = (p.q.data == nullptr ? 0 : p.num_heads) + 2 * p.num_kv_heads;
  const bool by_chunks = is_by_chunks(p.q, p.head_dim) && is_by_chunks(p.k, p.head_dim) && is_by_chunks(p.v, p.value_dim) &&
                         is_by_chunks(p.q_out, p.head_dim) && is_by_chunks(p.k_out, p.head_dim) && is_by_chunks(p.v_out, p.value_dim) &&
                         p.rope_dim % 16 == 0 && is_aligned(p.angles, 16) && is_aligned(p.q_norm, 16) && is_aligned(p.k_norm, 16);
  if (by_chunks && (p.q_norm != nullptr || p.k_norm != nullptr)) return launch_append<true>(p, num_heads, stream);
  if (by_chunks) return launch_append<false>(p, num_heads, stream);
  const simt::index3 grid{static_cast<unsigned>(p.num_rows), static_cast<unsigned>(ceil_div(num_heads, append_elements_warps))};
  simt::launch<append_elements_storage>(append_elements<From, T>, grid, append_elements_warps * 32, stream, p);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
