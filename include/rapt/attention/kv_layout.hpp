// How keys and values lie in memory: one layout for caches, stored projections and the scratch of a call.
#pragma once
#include <rapt/attention/config.hpp>
#include <rapt/core/params.hpp>

namespace rapt {
inline namespace v0 {

/// The layout (base null) of pages of page_len tokens for a resolved config with kv_dtype. capacity_error where a page exceeds 2^63 bytes.
RAPT_API packed_kv kv_layout(const attention_config& config, index_t stored_heads, index_t page_len);
/// num_pages * page_bytes, or capacity_error where that does not fit 2^63.
RAPT_API index_t kv_bytes(const packed_kv& layout, index_t num_pages);

/// A config of keys and values that modules of this context write and read: resolved, with numerics. Throws config_error.
template <class Context>
attention_config resolve_stored(const Context& ctx, const attention_config& config) {
  attention_config c = resolve(config);
  if (c.numerics.empty()) c.numerics = ctx.numerics();
  if (c.kv_dtype) raise_if(ctx.check_numerics("attention_config", c.numerics, *c.kv_dtype, *c.kv_dtype));
  return c;
}

}  // namespace v0
}  // namespace rapt
