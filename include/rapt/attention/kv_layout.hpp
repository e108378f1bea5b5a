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

namespace detail {
/// A resolved config with numerics of what `ctx` computes for these types. Throws config_error where it can not.
template <class Context>
attention_config with_numerics(const Context& ctx, attention_config c, dtype activations) {
  const attention_types types{activations, c.kv_dtype.value_or(activations), c.head_dim, c.value_dim};
  if (c.numerics.empty()) c.numerics = ctx.numerics(types);
  raise_if(ctx.check_numerics("attention_config", c.numerics, types));
  return c;
}
}  // namespace detail

/// A module's config: resolved, with kv_dtype and numerics. Throws config_error.
template <class Context>
attention_config resolve_module(const Context& ctx, const attention_config& config, dtype activations) {
  attention_config c = resolve(config);
  if (!c.kv_dtype) c.kv_dtype = activations;
  if (*c.kv_dtype == dtype::f64 && activations != dtype::f64)
    raise(errc::config, "attention_config: kv_dtype is f64; activations of type " + std::string(name_of(activations)) + " can keep f32, bf16 or f16");
  return detail::with_numerics(ctx, std::move(c), activations);
}
/// A config of keys and values that modules of this context write and read: resolved, with numerics. Throws config_error.
template <class Context>
attention_config resolve_stored(const Context& ctx, const attention_config& config) {
  return detail::with_numerics(ctx, resolve(config), config.kv_dtype.value_or(dtype::f32));
}

}  // namespace v0
}  // namespace rapt
