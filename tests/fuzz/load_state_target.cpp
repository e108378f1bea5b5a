#include <fuzz/loadable.hpp>
#include <fuzz/repair.hpp>
#include <support/bits_backend.hpp>

#include <algorithm>
#include <vector>

namespace rapt_fuzz {
namespace {

using rapt_test::bits_backend, rapt_test::bits_context;
using cache_type = rapt::basic_kv_cache<bits_backend>;
using sequence_type = rapt::basic_sequence<bits_backend>;
using projected_type = rapt::basic_projected_kv<bits_backend>;

bool same_bytes(bytes a, bytes b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

/// Every tensor whose name begins with `prefix` is in both, with the same bytes.
void expect_saved_again(bytes file, const std::vector<std::byte>& saved, std::string_view prefix) {
  const auto before = rapt::safetensors::parse(file), after = rapt::safetensors::parse(saved);
  for (const auto& t : before) {
    if (!t.name.starts_with(prefix)) continue;
    const auto again = after.find(t.name);
    expect(again && again->describe() == t.describe() && same_bytes(again->bytes, t.bytes), "what was loaded is saved as it was");
  }
}

void load_cache(bits_context& ctx, bytes file, const loadable& what) {
  cache_type cache(ctx, what.config, what.limits());
  sequence_type one = cache.add_sequence();
  std::vector<sequence_type> all;
  const rapt::index_t free_pages = cache.num_free_pages();
  if (!accepted([&] { rapt::load_state(ctx, file, cache, all); })) {
    expect(all.empty() && cache.num_sequences() == 1 && cache.num_free_pages() == free_pages, "a refused load changes nothing");
    for (rapt::index_t l = 0; l < cache.limits().num_layers; ++l) expect(cache.layer_fingerprint(l).empty(), "a refused load stamps nothing");
  } else {
    expect(static_cast<rapt::index_t>(all.size()) == what.num_sequences, "every sequence is loaded");
    if (!all.empty()) {
      const auto saved = rapt::save_state(ctx, cache, all);
      expect_saved_again(file, saved, "layers.");
      expect_saved_again(file, saved, "cache.");
    }
  }
  all.clear();
  const bool loaded = accepted([&] { rapt::load_state(ctx, file, cache, one); });
  expect(loaded || (one.kv_len() == 0 && cache.num_sequences() == 1 && cache.num_free_pages() == free_pages), "a refused load changes nothing");
}

void load_all(bytes file) {
  bits_context ctx;
  accepted([&] { rapt::load_module<float>(ctx, file); });  // of any size: the file has to bring every weight
  const std::optional<loadable> what = loadable_of(file);
  if (!what) return;
  rapt::attention_config config = what->config;
  if (!accepted([&] { projected_type(ctx, config); })) return;
  if (what->num_sequences > 0) load_cache(ctx, file, *what);
  projected_type stored(ctx, config), fixed(ctx, config);
  if (accepted_whole([&] { rapt::load_state(ctx, file, stored); }))
    expect_saved_again(file, rapt::save_state(ctx, stored), "projected.");
  else
    expect(stored.empty(), "a refused load changes nothing");
  if (accepted_whole([&] { rapt::load_static_kv(ctx, file, fixed); }))
    expect_saved_again(file, rapt::save_state(ctx, fixed), "static.");
  else
    expect(fixed.empty(), "a refused load changes nothing");
}

}  // namespace

void load_state(bytes input) {
  load_all(input);
  const std::string whole = repaired(input);
  load_all(std::as_bytes(std::span(whole)));
}

}  // namespace rapt_fuzz
