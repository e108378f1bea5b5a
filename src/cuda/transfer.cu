// What moves between the host's memory and the device's: weights, and keys and values for state files.
#include <core/elements.hpp>
#include <cuda/context_impl.hpp>
#include <cuda/sequences.hpp>
#include <kernels/transfer.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {
namespace {

/// Keys, or values: `canonical` in the host's memory.
void transfer(context& ctx, const transfer_params& t, index_t offset, index_t dim, void* canonical, bool to_pages) {
  const index_t bytes = t.count * t.kv.num_heads * dim * size_of(t.kv.type);
  if (canonical == nullptr || bytes == 0) return;
  runtime::queue& queue = ctx.internals().queue;
  const buffer staged = queue.allocate(static_cast<std::size_t>(bytes));
  if (to_pages) queue.copy(staged.data(), canonical, staged.bytes(), runtime::direction::to_device);
  run(ctx, [&](launches& l) {
    sequence_rows s;
    s.pages = t.pages, s.kv_batch = t.kv_batch;
    const packed_kv kv = from_first_page(t.kv, s);
    const page_tables tables = page_tables_of(kv, &s, 1, [&](const sequence_rows&) { return t.first + t.count; });
    const kernels::paged_rows pages{kv.base + offset, kv.page_bytes, kv.head_bytes,        dim * size_of(kv.type),
                                    kv.num_heads,     kv.page_len,   l.send(tables.pages), t.first};
    l.flush();
    kernels::transfer_rows(pages, staged.data(), t.count, to_pages, l.stream());
  });
  if (!to_pages) queue.copy(canonical, staged.data(), staged.bytes(), runtime::direction::to_host);
  queue.synchronize();
}

/// Element (row, column) of a matrix: rows of the product's depth by columns, kept column by column.
template <class F>
void for_each_element(const pack_params& p, F f) {
  const operand& s = p.source;
  for (index_t row = 0; row < s.rows(); ++row)
    for (index_t h = 0; h < s.heads; ++h)
      for (index_t d = 0; d < s.dim; ++d) f(s.offset(row, h) + d * s.dim_stride, (h * s.dim + d) * p.to.depth + row);
}
std::byte* first_of(const pack_params& p) {
  return const_cast<std::byte*>(static_cast<const std::byte*>(p.to.data)) + p.first_column * p.to.depth * size_of(p.to.type);
}
std::size_t bytes_of(const pack_params& p) { return static_cast<std::size_t>(p.source.heads * p.source.dim * p.to.depth * size_of(p.to.type)); }

}  // namespace

void backend::export_kv(context& ctx, const transfer_params& params) {
  transfer(ctx, params, 0, params.kv.head_dim, params.k, false);
  transfer(ctx, params, params.kv.value_offset, params.kv.value_dim, params.v, false);
}
void backend::import_kv(context& ctx, const transfer_params& params) {
  transfer(ctx, params, 0, params.kv.head_dim, params.k, true);
  transfer(ctx, params, params.kv.value_offset, params.kv.value_dim, params.v, true);
}

void backend::pack(context& ctx, const pack_params& p) {
  std::vector<std::byte> kept(bytes_of(p));
  with_element(p.source.type, [&](auto from) {
    with_element(p.to.type, [&](auto to) {
      const auto* const source = static_cast<const decltype(from)*>(p.source.data);
      auto* const matrix = reinterpret_cast<decltype(to)*>(kept.data());
      for_each_element(p, [&](index_t given, index_t element) { matrix[element] = converted<decltype(to)>(source[given]); });
    });
  });
  runtime::queue& queue = ctx.internals().queue;
  queue.copy(first_of(p), kept.data(), kept.size(), runtime::direction::to_device);
  queue.synchronize();
}
void backend::unpack(context& ctx, const pack_params& p) {
  std::vector<std::byte> kept(bytes_of(p));
  runtime::queue& queue = ctx.internals().queue;
  queue.copy(kept.data(), first_of(p), kept.size(), runtime::direction::to_host);
  queue.synchronize();
  const auto size = static_cast<std::size_t>(size_of(p.to.type));
  for_each_element(p, [&](index_t given, index_t element) {
    std::memcpy(static_cast<std::byte*>(p.source.data) + static_cast<std::size_t>(given) * size,
                kept.data() + static_cast<std::size_t>(element) * size, size);
  });
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
