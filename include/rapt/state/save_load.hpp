// Saves modules, stored keys and values, and caches to state files (docs/state-files.md), and loads each back into its own place.
//
//   save_state(ctx, path, parts...)            writes one file at once and durably; whatever is thrown, the old file is as it was
//   save_state(ctx, parts...)                  the same bytes in memory
//   save_state(ctx, [path,] options, parts...) with a progress function, which may stop it: cancelled_error
//   load_state(ctx, from, ...)                 from a path or from bytes; whatever is thrown, the receiver is as it was
//
// Parts, in any combination: a module (its weights), projected_kv (static or stored), a kv_cache followed by its sequences. Keys and values of caches
// pass by in pieces: beside the cache a save or load to or from a file takes a few MiB, and 8 bytes a token.
// Errors of loading: io_error, format_error, checksum_error, version_error; config_error where config or weights differ; capacity_error; state_error
// where the receiver is static or a step of its cache is open; cancelled_error.
#pragma once
#include <rapt/attention/kv_cache.hpp>
#include <rapt/attention/multi_head_attention.hpp>
#include <rapt/attention/projected_kv.hpp>
#include <rapt/state/file_weights.hpp>
#include <rapt/state/state_file.hpp>

#include <utility>

namespace rapt {
inline namespace v0 {
namespace detail {

/// Puts the parts of one save into a builder; a cache is remembered for the sequences behind it.
template <class Backend>
class state_parts {
 public:
  using context = typename Backend::context;
  explicit state_parts(context& ctx) : ctx_(ctx) {}

  template <class T>
  void put(const multi_head_attention<T, Backend>& module) {
    builder_.describe(module.config(), module.config().numerics);
    builder_.add_weights(module.weights(ctx_));
  }
  void put(const basic_projected_kv<Backend>& kv) {
    if (kv.empty()) raise(errc::state, "save_state: a projected_kv that holds nothing");
    const attention_config& c = kv.config();
    builder_.describe(c, kv.numerics());
    const kv_shape shape{*c.kv_dtype, kv.batch(), kv.kv_len(), kv.stored_heads(), c.head_dim, c.value_dim};
    const index_t row = shape.len * shape.heads * size_of(shape.type), k_row = row * c.head_dim, v_row = row * c.value_dim;
    // A row is one of the batch.
    const auto export_rows = [](index_t first, std::span<std::byte> to, index_t row_bytes, auto export_row) {
      for (index_t i = 0; i < static_cast<index_t>(to.size()) / row_bytes; ++i) export_row(first + i, to.data() + i * row_bytes);
    };
    builder_.add_projected(
        kv.is_static() ? "static" : "projected", shape, kv.made_by(),
        [=, this, &kv](index_t first, std::span<std::byte> to) {
          export_rows(first, to, k_row, [&](index_t b, std::byte* k) { kv.export_row(ctx_, b, k, nullptr); });
        },
        [=, this, &kv](index_t first, std::span<std::byte> to) {
          export_rows(first, to, v_row, [&](index_t b, std::byte* v) { kv.export_row(ctx_, b, nullptr, v); });
        });
  }
  void put(const basic_kv_cache<Backend>& cache) {
    if (cache_) raise(errc::state, "save_state: two caches; one file holds one");
    cache_ = &cache;
    builder_.describe(cache.config(), cache.numerics());
    const cache_limits& limits = cache.limits();
    builder_.add_cache(limits.num_layers, limits.page_len, limits.max_tokens, cache.config().num_kv_heads);
    for (index_t l = 0; l < limits.num_layers; ++l) builder_.add_layer_fingerprint(l, cache.layer_fingerprint(l));
  }
  void put(const basic_sequence<Backend>& sequence) {
    if (!cache_ || !cache_->owns(sequence)) raise(errc::state, "save_state: a sequence stands behind the cache that it belongs to");
    const attention_config& c = cache_->config();
    const index_t number = num_sequences_++, len = sequence.kv_len();
    builder_.add_sequence(number, len, [&sequence](index_t first, std::span<std::byte> to) {
      for (std::size_t i = 0; i < to.size() / sizeof(index_t); ++i) {
        const index_t position = sequence.position(first + static_cast<index_t>(i));
        std::memcpy(to.data() + i * sizeof position, &position, sizeof position);
      }
    });
    const index_t k_row = c.num_kv_heads * c.head_dim * size_of(*c.kv_dtype), v_row = c.num_kv_heads * c.value_dim * size_of(*c.kv_dtype);
    for (index_t l = 0; l < cache_->limits().num_layers; ++l)
      builder_.add_layer(
          l, number, {*c.kv_dtype, 1, len, c.num_kv_heads, c.head_dim, c.value_dim},
          [this, &sequence, l, k_row](index_t first, std::span<std::byte> to) {
            cache_->export_layer(ctx_, sequence, l, first, static_cast<index_t>(to.size()) / k_row, to.data(), nullptr);
          },
          [this, &sequence, l, v_row](index_t first, std::span<std::byte> to) {
            cache_->export_layer(ctx_, sequence, l, first, static_cast<index_t>(to.size()) / v_row, nullptr, to.data());
          });
  }
  void put(const std::vector<basic_sequence<Backend>>& sequences) {
    for (const basic_sequence<Backend>& s : sequences) put(s);
  }
  const safetensors::writer& finish() {
    if (cache_ && num_sequences_ == 0) raise(errc::state, "save_state: a cache without sequences");
    return builder_.finish();
  }

 private:
  context& ctx_;
  state_builder builder_;
  const basic_kv_cache<Backend>* cache_ = nullptr;
  index_t num_sequences_ = 0;
};

/// Positions that need not be told: those that rows have by themselves.
inline bool are_indices(std::span<const index_t> positions) {
  for (std::size_t i = 0; i < positions.size(); ++i)
    if (positions[i] != static_cast<index_t>(i)) return false;
  return true;
}

/// Loads the file's sequences into `receivers`, all or none. An empty sequence of the cache is filled; any other handle is replaced, and its sequence
/// stays until the new one is complete.
template <class Backend>
void load_sequences(typename Backend::context& ctx, state_reader& file, basic_kv_cache<Backend>& cache,
                    std::span<basic_sequence<Backend>* const> receivers, const load_options& options) {
  cache.begin_step(std::span<const step_entry<Backend>>());  // state_error where a step is open, before anything is done
  const index_t num_layers = cache.limits().num_layers, n = static_cast<index_t>(receivers.size());
  std::vector<fingerprint> made_by;
  bool any = false;
  for (index_t i = 0; i < n; ++i) any |= file.kv_len(i) > 0;
  for (index_t l = 0; l < num_layers; ++l) {
    made_by.push_back(file.made_by(std::to_string(l), any));
    if (any) file.require_weights("layer " + std::to_string(l), made_by.back(), cache.layer_fingerprint(l), options);
  }

  std::vector<basic_sequence<Backend>> fresh(receivers.size());
  std::vector<step_entry<Backend>> entries;
  std::vector<std::vector<index_t>> positions(receivers.size());
  for (std::size_t i = 0; i < receivers.size(); ++i) {
    const bool fill = cache.owns(*receivers[i]) && receivers[i]->kv_len() == 0;
    if (!fill) fresh[i] = cache.add_sequence();
    entries.push_back({fill ? *receivers[i] : fresh[i], file.kv_len(static_cast<index_t>(i)), {}});
  }
  cache.begin_step(entries);  // is there room? Closed again at once: the positions are not known before they are read.
  for (std::size_t i = 0; i < receivers.size(); ++i) {
    positions[i] = file.positions(static_cast<index_t>(i));
    if (!are_indices(positions[i])) entries[i].positions = positions[i];
  }
  // From here on pages are written to that nobody sees before commit; where anything is thrown they are free again.
  basic_step<Backend> step = cache.begin_step(entries);
  for (index_t l = 0; l < num_layers; ++l) step.copy_shared_pages(ctx, l);
  file.read_layers(
      [&](const layer_rows& rows) {
        cache.import_rows(ctx, step, rows.layer, static_cast<std::size_t>(rows.sequence), rows.first, rows.count, {rows.k, rows.v});
      },
      options.on_progress);
  if (any) cache.note_numerics(file.numerics());
  for (index_t l = 0; l < num_layers; ++l) step.mark_forwarded(l, made_by[static_cast<std::size_t>(l)]);
  step.commit();
  for (std::size_t i = 0; i < receivers.size(); ++i)
    if (fresh[i].valid()) *receivers[i] = std::move(fresh[i]);
}

template <class Backend>
state_reader open_for_cache(const state_source& from, const basic_kv_cache<Backend>& cache, const load_options& options) {
  state_reader file(from);
  file.require_config(cache.config());
  file.require_numerics(cache.numerics(), options);
  if (file.num_layers() != cache.limits().num_layers)
    raise(errc::config, file.where() + "layers: the file has a cache of " + std::to_string(file.num_layers()) + "; the receiver has " +
                            std::to_string(cache.limits().num_layers));
  return file;
}

template <class Backend>
void load_projected(typename Backend::context& ctx, const state_source& from, const char* group, basic_projected_kv<Backend>& kv,
                    const load_options& options) {
  const bool is_static = std::string_view(group) == "static";
  state_reader file(from);
  file.require_config(kv.config());
  file.require_numerics(kv.numerics(), options);
  const kv_shape shape = file.projected(group);
  const fingerprint made_by = is_static ? fingerprint() : file.made_by(group, true);
  if (!is_static) file.require_weights(group, made_by, kv.made_by(), options);
  file.read(options.on_progress);
  const std::string name = std::string(group) + ".";
  basic_projected_kv<Backend> loaded = basic_projected_kv<Backend>::import(ctx, kv.config(), shape.batch, shape.len, shape.heads,
                                                                           file.data(name + "k"), file.data(name + "v"), is_static, made_by);
  loaded.note_numerics(file.numerics());
  kv = std::move(loaded);
}

}  // namespace detail

/// One file with all the parts. Throws io_error, state_error (nothing to save, a sequence without its cache), config_error (parts of two configs),
/// capacity_error (more than a file can describe), cancelled_error.
template <class Context, class... Parts>
void save_state(Context& ctx, const std::string& path, const save_options& options, const Parts&... parts) {
  detail::state_parts<backend_of<Context>> all(ctx);
  (all.put(parts), ...);
  all.finish().to_file(path, options);
}
template <class Context, class... Parts>
void save_state(Context& ctx, const std::string& path, const Parts&... parts) {
  save_state(ctx, path, save_options(), parts...);
}
/// The bytes of that file.
template <class Context, class... Parts>
std::vector<std::byte> save_state(Context& ctx, const save_options& options, const Parts&... parts) {
  detail::state_parts<backend_of<Context>> all(ctx);
  (all.put(parts), ...);
  return all.finish().to_bytes(options);
}
template <class Context, class First, class... Parts>
requires(!std::convertible_to<const First&, std::string>) std::vector<std::byte> save_state(Context& ctx, const First& first, const Parts&... parts) {
  return save_state(ctx, save_options(), first, parts...);
}

/// The only sequence of the file. An empty sequence of the cache is filled; any other handle is replaced once the new sequence is complete (until
/// then the cache needs room for both).
template <class Context>
void load_state(Context& ctx, const state_source& from, basic_kv_cache<backend_of<Context>>& cache, basic_sequence<backend_of<Context>>& into,
                const load_options& options = {}) {
  detail::state_reader file = detail::open_for_cache(from, cache, options);
  if (file.num_sequences() != 1)
    raise(errc::config, file.where() + "sequences: the file has " + std::to_string(file.num_sequences()) + "; 1 was asked for (load into a vector)");
  basic_sequence<backend_of<Context>>* const receiver = &into;
  detail::load_sequences<backend_of<Context>>(ctx, file, cache, std::span(&receiver, 1), options);
}
/// All sequences of the file, in their order, as new ones; the vector's old contents go when the new are complete.
template <class Context>
void load_state(Context& ctx, const state_source& from, basic_kv_cache<backend_of<Context>>& cache,
                std::vector<basic_sequence<backend_of<Context>>>& sequences, const load_options& options = {}) {
  using sequence_type = basic_sequence<backend_of<Context>>;
  detail::state_reader file = detail::open_for_cache(from, cache, options);
  std::vector<sequence_type> loaded(static_cast<std::size_t>(file.num_sequences()));
  std::vector<sequence_type*> receivers;
  for (sequence_type& s : loaded) receivers.push_back(&s);
  detail::load_sequences<backend_of<Context>>(ctx, file, cache, receivers, options);
  sequences.swap(loaded);
}

/// Keys and values that store() wrote (projected.*).
template <class Context>
void load_state(Context& ctx, const state_source& from, basic_projected_kv<backend_of<Context>>& kv, const load_options& options = {}) {
  raise_if(kv.check_writable());
  detail::load_projected(ctx, from, "projected", kv, options);
}
/// Static keys and values (static.*), which are parameters and no cache.
template <class Context>
void load_static_kv(Context& ctx, const state_source& from, basic_projected_kv<backend_of<Context>>& kv, const load_options& options = {}) {
  detail::load_projected(ctx, from, "static", kv, options);
}

/// Weights of the same config, in any of the layouts.
template <class Context, class T>
void load_state(Context& ctx, const state_source& from, multi_head_attention<T, backend_of<Context>>& module, const load_options& options = {}) {
  detail::state_reader file(from);
  file.require_config(module.config());
  file.require_numerics(module.config().numerics, options);
  if (!file.has_weights()) raise(errc::format, file.where() + "holds no weights");
  file.read(options.on_progress);
  multi_head_attention<T, backend_of<Context>> loaded(ctx, module.config(), file.weights());
  std::swap(module, loaded);  // nvcc warns of lines that begin with "module"
}
/// A module of what the file says: config and weights. Throws as load_state.
template <class T, class Context>
multi_head_attention<T, backend_of<Context>> load_module(Context& ctx, const state_source& from) {
  detail::state_reader file(from);
  if (!file.has_weights()) raise(errc::format, file.where() + "holds no weights");
  file.read();
  return {ctx, file.config(), file.weights()};
}
/// The config of whatever the file holds. Throws as load_state.
RAPT_API attention_config load_config(const state_source& from);

}  // namespace v0
}  // namespace rapt
