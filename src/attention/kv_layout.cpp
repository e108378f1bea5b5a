#include <rapt/attention/kv_layout.hpp>
#include <rapt/core/workspace.hpp>

namespace rapt {
inline namespace v0 {
namespace {
[[noreturn, gnu::noinline]] void too_large(index_t a, index_t b) {
  raise(errc::capacity, "kv_layout: " + std::to_string(a) + " x " + std::to_string(b) + " bytes of keys and values; less than 2^62 is needed");
}
inline index_t checked_product(index_t a, index_t b) {
  index_t product = 0;
  // Room to round up later without a second check.
  if (!multiply_fits(a, b, product) || product > (index_t{1} << 62)) too_large(a, b);
  return product;
}
}  // namespace

packed_kv kv_layout(const attention_config& config, index_t stored_heads, index_t page_len) {
  if (!config.kv_dtype) raise(errc::config, "attention_config: kv_dtype is empty; a module fills it in (module.config()), a cache needs it");
  packed_kv kv;
  kv.type = *config.kv_dtype;
  kv.num_heads = stored_heads;
  kv.head_dim = config.head_dim, kv.value_dim = config.value_dim;
  kv.page_len = page_len;
  const index_t size = size_of(kv.type);
  kv.value_offset = round_up(checked_product(checked_product(page_len, kv.head_dim), size), workspace::alignment);
  kv.head_bytes = kv.value_offset + round_up(checked_product(checked_product(page_len, kv.value_stride()), size), workspace::alignment);
  kv.page_bytes = checked_product(kv.head_bytes, stored_heads);
  return kv;
}

index_t kv_bytes(const packed_kv& layout, index_t num_pages) { return checked_product(layout.page_bytes, num_pages); }

}  // namespace v0
}  // namespace rapt
