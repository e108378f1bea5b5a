// Receivers that fit a state: what its own config and header ask for, where that is small.
#pragma once
#include <rapt/state/save_load.hpp>

#include <fuzz/targets.hpp>
#include <optional>

namespace rapt_fuzz {

struct loadable {
  rapt::attention_config config;
  rapt::index_t num_layers, num_sequences, num_tokens = 0;
  bool has_weights, has_static, has_projected;

  rapt::cache_limits limits() const {
    return {.num_layers = std::max<rapt::index_t>(num_layers, 1), .max_tokens = num_tokens + 40, .max_sequences = num_sequences + 2, .page_len = 16};
  }
};

/// Nothing where the file is refused, or too large to be made in a fuzzer.
inline std::optional<loadable> loadable_of(bytes state) {
  try {
    const rapt::detail::state_reader file(state);
    const rapt::attention_config& c = file.config();
    for (const rapt::index_t extent : {c.model_dim, c.num_heads, c.num_kv_heads, c.head_dim, c.value_dim, c.output_dim})
      if (extent > 64) return std::nullopt;
    loadable all{c, file.num_layers(), file.num_sequences(), 0, file.has_weights(), file.has_projected("static"), file.has_projected("projected")};
    if (all.num_layers > 8 || all.num_sequences > 8) return std::nullopt;
    for (rapt::index_t s = 0; s < all.num_sequences; ++s) all.num_tokens += file.kv_len(s);
    for (const char* group : {"static", "projected"})
      if (file.has_projected(group))
        if (const auto shape = file.projected(group); shape.batch * shape.len != 0 && (shape.batch > 64 || shape.len > 1024)) return std::nullopt;
    if (all.num_tokens > 1024) return std::nullopt;
    all.config.numerics.clear();
    return all;
  } catch (const rapt::error&) { return std::nullopt; }
}

/// Calls what may refuse a file as documented; false where it did.
template <class Call>
bool accepted(Call call) {
  try {
    call();
    return true;
  } catch (const rapt::format_error&) {
  } catch (const rapt::checksum_error&) {
  } catch (const rapt::version_error&) {
  } catch (const rapt::config_error&) {}
  // No capacity_error: the receivers are large enough. No shape_error, range_error, state_error: those are for callers.
  return false;
}

/// As accepted(); rows of more tokens than any memory holds are refused too, where there are no rows that would take the file's bytes.
template <class Call>
bool accepted_whole(Call call) {
  try {
    return accepted(call);
  } catch (const rapt::capacity_error&) { return false; }
}

}  // namespace rapt_fuzz
