#include <rapt/attention/kv_cache.hpp>

#include <limits>

namespace rapt {
inline namespace v0 {
namespace {
failure check(const cache_limits& l) {
  const auto wrong = [](const char* field, index_t came, const char* needed) {
    return failure{errc::config, std::string("cache_limits: ") + field + " is " + std::to_string(came) + "; " + needed + " is needed"};
  };
  if (l.num_layers < 1) return wrong("num_layers", l.num_layers, "at least 1");
  if (l.max_tokens < 1) return wrong("max_tokens", l.max_tokens, "at least 1");
  if (l.max_sequences < 1 || l.max_sequences > std::numeric_limits<int>::max()) return wrong("max_sequences", l.max_sequences, "1 to 2^31 - 1");
  if (l.page_len < lane_group || l.page_len % lane_group != 0 || l.page_len > (index_t{1} << 30))
    return wrong("page_len", l.page_len, "a multiple of 16 up to 2^30");
  return {};
}
}  // namespace

index_t num_pages_for(const cache_limits& limits) {
  raise_if(check(limits));
  // Each sequence wastes at most page_len - 1 slots of its last page. Forks that part in one step hold the page that they shared until it ends: a
  // page more for every two sequences.
  index_t slots = 0;
  if (!multiply_fits(limits.max_sequences, limits.page_len - 1, slots) || __builtin_add_overflow(slots, limits.max_tokens, &slots) ||
      __builtin_add_overflow(slots, limits.max_sequences / 2 * limits.page_len, &slots) ||
      slots / limits.page_len > std::numeric_limits<std::int32_t>::max())
    raise(errc::capacity, "cache_limits: " + std::to_string(limits.max_tokens) + " tokens in pages of " + std::to_string(limits.page_len) +
                              " need more than 2^31 - 1 pages");
  return slots / limits.page_len;
}

std::size_t cache_bytes(const attention_config& config, const cache_limits& limits) {
  const index_t num_pages = num_pages_for(limits);
  const attention_config c = resolve(config);
  const index_t layer = kv_bytes(kv_layout(c, c.num_kv_heads, limits.page_len), num_pages);
  index_t bytes = 0;
  if (!multiply_fits(layer, limits.num_layers, bytes))
    raise(errc::capacity,
          "cache_limits: " + std::to_string(limits.num_layers) + " layers of " + std::to_string(layer) + " bytes; less than 2^63 is needed");
  return static_cast<std::size_t>(bytes);
}

}  // namespace v0
}  // namespace rapt
