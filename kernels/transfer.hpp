// Keys or values of one sequence between its pages and canonical rows [tokens, heads, dim], for state files. Bits move, nothing is computed.
//
// A thread copies four units of up to 16 bytes, a block's width apart. Bound: the device's copy rate over twice the rows' bytes. Test:
// tests/kernels/transfer_test.cpp.
#pragma once
#include <kernels/copy_unit.hpp>
#include <kernels/simt/simt.hpp>
#include <rapt/core/index.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

constexpr int transfer_threads = 256, transfer_thread_units = 4, transfer_block_units = transfer_threads * transfer_thread_units;

/// Rows of dim elements in pages, in bytes: the row of a head of slot s of page p begins at base + p * page_bytes + head * head_bytes + s *
/// row_bytes.
struct paged_rows {
  std::byte* base = nullptr;
  index_t page_bytes = 0, head_bytes = 0, row_bytes = 0;
  index_t num_heads = 0, page_len = 0;
  const std::int32_t* page_table = nullptr;  ///< the page of each page_len tokens, in device memory; null: the first page has all
  index_t first_token = 0;                   ///< the token of canonical row 0
};

template <class Unit, bool ToPages>
RAPT_KERNEL(transfer_threads, 1)
transfer_units(paged_rows pages, Unit* canonical, index_t num_units, index_t row_units) {
  const index_t first = static_cast<index_t>(simt::block_idx().x) * transfer_block_units + simt::thread_idx();
  // All loads are on their way before the first store; beyond the last unit it is that one again.
  Unit *places[transfer_thread_units], units[transfer_thread_units];
  RAPT_UNROLL for (int u = 0; u < transfer_thread_units; ++u) {
    const index_t i = first + u * transfer_threads < num_units ? first + u * transfer_threads : num_units - 1;
    const index_t row = i / row_units, head = row % pages.num_heads, token = pages.first_token + row / pages.num_heads;
    const index_t page = pages.page_table == nullptr ? 0 : pages.page_table[token / pages.page_len];
    const index_t slot = pages.page_table == nullptr ? token : token % pages.page_len;
    places[u] = reinterpret_cast<Unit*>(pages.base + page * pages.page_bytes + head * pages.head_bytes + slot * pages.row_bytes) + i % row_units;
    units[u] = ToPages ? canonical[i] : *places[u];
  }
  RAPT_UNROLL for (int u = 0; u < transfer_thread_units; ++u) {
    const index_t i = first + u * transfer_threads;
    if (i < num_units) (ToPages ? *places[u] : canonical[i]) = units[u];
  }
}

/// num_tokens tokens, to pages or from them; canonical in device memory.
inline void transfer_rows(const paged_rows& pages, void* canonical, index_t num_tokens, bool to_pages, simt::stream stream) {
  const index_t bytes = num_tokens * pages.num_heads * pages.row_bytes;
  if (bytes == 0) return;
  const auto common = reinterpret_cast<std::uintptr_t>(pages.base) | reinterpret_cast<std::uintptr_t>(canonical) |
                      static_cast<std::uintptr_t>(pages.page_bytes | pages.head_bytes | pages.row_bytes);
  with_copy_unit(common, [&](auto unit) {
    using unit_type = decltype(unit);
    constexpr index_t size = sizeof(unit_type);
    const auto kernel = to_pages ? transfer_units<unit_type, true> : transfer_units<unit_type, false>;
    simt::launch<simt::no_storage>(kernel, {static_cast<unsigned>(ceil_div(bytes / size, transfer_block_units))}, transfer_threads, stream, pages,
                                   static_cast<unit_type*>(canonical), bytes / size, pages.row_bytes / size);
  });
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
