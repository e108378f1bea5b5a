// Rows of queries, keys and values on their way to shared memory, and how they lie there.
//
// A row has HeadDim elements, of which those beyond the problem's dimension are zeros. Its chunks of 8 are permuted within groups of 8 (of 4, where a
// row is no multiple of 128 bytes), so that 8 rows of one chunk are in 8 different groups of banks.
#pragma once
#include <kernels/elements.hpp>
#include <kernels/prefill_rows.hpp>
#include <kernels/simt/cp_async.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

template <int HeadDim>
constexpr std::uint32_t row_bytes = HeadDim * 2;
template <int HeadDim>
constexpr unsigned permuted_chunks = HeadDim % 64 == 0 ? 8 : 4;

/// Bytes from the first row to chunk `chunk` of a row.
template <int HeadDim>
RAPT_DEVICE unsigned chunk_offset(unsigned row, unsigned chunk) {
  return row * row_bytes<HeadDim> + (chunk ^ row / (8 / permuted_chunks<HeadDim>) % permuted_chunks<HeadDim>)*16;
}

/// The address of the chunk `chunk` further right in the same row, given that of chunk 0 or 1, for an even `chunk`: one exclusive or, where a sum
/// would keep a register for every chunk.
template <int HeadDim>
RAPT_DEVICE std::uint32_t chunk_of(std::uint32_t row_address, int chunk) {
  constexpr int group = static_cast<int>(permuted_chunks<HeadDim>);
  return (row_address ^ static_cast<unsigned>(chunk % group * 16)) + static_cast<unsigned>(chunk / group * group * 16);
}

/// What rows are copied from: [.., dim] in global memory. Rows come in runs of 16, each of which has its own place.
struct row_source {
  index_t stride;
  int len;  ///< rows from this one on are zeros
  int dim;
  bool by_chunks;  ///< pointers, stride and dim are multiples of 8 elements
};

/// Copies 8 elements one by one.
template <class T>
RAPT_DEVICE eight_elements gather(const T* from, int count) {
  const auto element = [&](int i) { return i < count ? std::uint32_t{from[i].bits} : 0u; };
  eight_elements all;
  RAPT_UNROLL for (int w = 0; w < 4; ++w) all.words[w] = element(2 * w) | element(2 * w + 1) << 16;
  return all;
}

/// Starts copies of Rows rows to shared memory by Threads threads. Run i of 16 rows begins at run_start(i).
/// With ByElements copies of sources that are not by_chunks are made at once; without, there are none such.
template <int HeadDim, int Rows, int Threads, bool ByElements, class T, class RunStart>
RAPT_DEVICE void load_rows(T* to, const row_source& from, RunStart run_start) {
  // Chunks are dealt to threads in order. After `period` of them a thread is back at the chunk it began with, `step` rows further down.
  constexpr int chunks = HeadDim / 8, period = chunks % 3 == 0 ? 3 : 1, step = Threads * period / chunks;
  // So that a thread's rows are permuted alike.
  static_assert(step % 8 == 0 && Rows % step == 0);
  const unsigned thread = simt::recomputed(simt::thread_idx());
  RAPT_UNROLL for (int turn = 0; turn < period; ++turn) {
    const unsigned index = thread + static_cast<unsigned>(turn * Threads), row = index / chunks, chunk = index % chunks;
    const int run = static_cast<int>(step <= 16 ? 0 : row / 16), column = static_cast<int>(chunk) * 8;
    const int len = column < from.dim ? from.len - static_cast<int>(row) : 0;
    const index_t in_run = static_cast<int>(step <= 16 ? row : row % 16) * from.stride + column;
    const std::uint32_t first = simt::shared_address(to) + chunk_offset<HeadDim>(row, chunk);
    // All before the first copy: a load from shared memory between copies costs more than itself.
    const T* starts[Rows / step];
    RAPT_UNROLL for (int i = 0; i < Rows; i += step) starts[i / step] = run_start(run + i / 16) + in_run;
    if (!ByElements || from.by_chunks) {
      RAPT_UNROLL for (int i = 0; i < Rows; i += step)
          simt::copy_async_16(first + static_cast<unsigned>(i) * row_bytes<HeadDim>, starts[i / step] + i % 16 * from.stride, i < len);
    } else {
      RAPT_UNROLL for (int i = 0; i < Rows; i += step) *
          reinterpret_cast<eight_elements*>(to + (chunk_offset<HeadDim>(row, chunk) / 2 + static_cast<unsigned>(i * HeadDim))) =
          gather(starts[i / step] + i % 16 * from.stride, i < len ? from.dim - column : 0);
    }
  }
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
