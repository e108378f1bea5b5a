// The streaming cache: many sequences, many layers, paged; grown by steps that commit or never happened.
#pragma once
#include <rapt/attention/fingerprint.hpp>
#include <rapt/attention/kv_layout.hpp>
#include <rapt/attention/page_pool.hpp>
#include <rapt/core/backend.hpp>

#include <initializer_list>
#include <memory>
#include <utility>

namespace rapt {
inline namespace v0 {

struct cache_limits {
  index_t num_layers = 1;
  index_t max_tokens = 0;  ///< over all sequences, however they are spread; forks share pages until they differ
  index_t max_sequences = 1;
  index_t page_len = 64;              ///< tokens in a page, a multiple of 16
  std::span<std::byte> storage = {};  ///< memory of the backend for keys and values, cache_bytes() large, 64-byte aligned; default: the cache's own
};

/// Pages that hold max_tokens tokens spread over max_sequences sequences in any way. Throws config_error or capacity_error.
RAPT_API index_t num_pages_for(const cache_limits& limits);
/// Bytes of keys and values that a cache of this config (kv_dtype set) and limits takes; exact. The books (page tables, positions) are extra: 12
/// bytes a page, 8 a token.
RAPT_API std::size_t cache_bytes(const attention_config& config, const cache_limits& limits);

template <class Backend>
class basic_kv_cache;
template <class Backend>
class basic_step;

namespace detail {
template <class Backend>
struct cache_core {
  attention_config config;  ///< resolved, with kv_dtype and numerics
  cache_limits limits;
  page_pool pool;
  buffer memory;
  packed_kv layout;  ///< of layer 0
  index_t layer_bytes = 0;
  std::string numerics;
  std::vector<fingerprint> fingerprints;  ///< per layer; empty: nothing appended yet

  // The open step.
  std::vector<page_pool::request> requests;
  std::vector<sequence_rows> rows;
  std::vector<index_t> row_positions;
  std::vector<fingerprint> forwarded;  ///< per layer: whose forward has run
  index_t num_rows = 0, next_layer = 0;
  bool positions_are_default = true;
};
}  // namespace detail

/// One sequence of a cache. Move-only; the sequence leaves the cache with it. Usable as long as it lives, even where the cache object is gone.
template <class Backend>
class basic_sequence {
 public:
  basic_sequence() = default;
  basic_sequence(basic_sequence&& other) noexcept : core_(std::move(other.core_)), slot_(std::exchange(other.slot_, -1)) {}
  basic_sequence& operator=(basic_sequence&& other) noexcept {
    basic_sequence taken(std::move(other));
    std::swap(core_, taken.core_);
    std::swap(slot_, taken.slot_);
    return *this;
  }
  ~basic_sequence() {
    if (core_) core_->pool.remove(slot_);
  }

  /// False for a handle that was default-constructed or moved from; every other call on it is state_error.
  bool valid() const { return core_ != nullptr; }
  /// Tokens that are committed.
  index_t kv_len() const { return core("kv_len").pool.kv_len(slot_); }
  /// Position of token `index`.
  index_t position(index_t index) const {
    if (index < 0 || index >= kv_len())
      raise(errc::range, "sequence: position of token " + std::to_string(index) + "; 0 to " + std::to_string(kv_len() - 1) + " is needed");
    return core_->pool.position(slot_, index);
  }
  bool positions_are_default() const { return core("positions_are_default").pool.positions_are_default(slot_); }
  /// Another sequence with the same tokens; pages are shared and copied when one of the two writes. state_error while a step is open,
  /// capacity_error where max_sequences are in use.
  basic_sequence fork() const {
    const int copy = core("fork").pool.fork(slot_);
    return {core_, copy};
  }
  /// Cuts back to kv_len tokens. range_error outside [0, kv_len()]; state_error while a step is open.
  void truncate(index_t kv_len) { core("truncate").pool.truncate(slot_, kv_len); }

 private:
  friend class basic_kv_cache<Backend>;
  basic_sequence(std::shared_ptr<detail::cache_core<Backend>> core, int slot) : core_(std::move(core)), slot_(slot) {}
  detail::cache_core<Backend>& core(const char* call) const {
    if (!core_) raise(errc::state, std::string("sequence: ") + call + " on a handle that was moved from");
    return *core_;
  }
  std::shared_ptr<detail::cache_core<Backend>> core_;
  int slot_ = -1;
};

template <class Backend>
struct step_entry {
  const basic_sequence<Backend>& sequence;
  index_t count;                            ///< rows to append
  std::span<const index_t> positions = {};  ///< [count]; default: the index. Read during begin_step only
};

/// Canonical rows of one entry, k [count, num_kv_heads, head_dim] and v [count, num_kv_heads, value_dim], for import_layer.
struct kv_bits {
  const void* k = nullptr;
  const void* v = nullptr;
};

/// Where one layer's forward reads and appends; see basic_step::layer.
template <class Backend>
struct step_layer {
  basic_step<Backend>* step;
  index_t layer;
};

/// Rows being appended to several sequences in every layer. Layers are forwarded in order, then commit() advances all lengths at once; a step that is
/// destroyed without commit never happened. Its rows are packed: those of the first entry, then of the second, ...
template <class Backend>
class basic_step {
 public:
  basic_step(basic_step&& other) noexcept : core_(std::move(other.core_)) {}
  basic_step& operator=(basic_step&&) = delete;
  ~basic_step() {
    if (core_) core_->pool.rollback();
  }

  /// Rows of all entries together.
  index_t num_rows() const { return core("num_rows").num_rows; }
  /// The source for layer `index`'s forward. range_error outside the cache's layers.
  step_layer<Backend> layer(index_t index) {
    if (index < 0 || index >= core("layer").limits.num_layers)
      raise(errc::range, "step: layer " + std::to_string(index) + "; the cache has layers 0 to " + std::to_string(core_->limits.num_layers - 1));
    return {this, index};
  }
  /// state_error naming the first layer that was not forwarded, before any change; otherwise can not fail. The step is over.
  void commit() {
    detail::cache_core<Backend>& c = core("commit");
    if (c.next_layer != c.limits.num_layers)
      raise(errc::state, "step: commit before layer " + std::to_string(c.next_layer) + " was forwarded; the cache has " +
                             std::to_string(c.limits.num_layers) + " layers");
    if (c.num_rows > 0)
      for (std::size_t l = 0; l < c.fingerprints.size(); ++l) c.fingerprints[l] = c.forwarded[l];
    c.pool.commit();
    core_.reset();
  }

  // For forward and state files, not for callers.
  detail::cache_core<Backend>& core(const char* call) const {
    if (!core_) raise_if(check_open(call));
    return *core_;
  }
  failure check_open(const char* call) const {
    if (core_) return {};
    return {errc::state, std::string("step: ") + call + " on a step that is over or was moved from"};
  }
  /// What forward must find before it writes: state_error where `layer` is not the next, config_error where another module made the layer's contents.
  failure check_layer(index_t layer, const fingerprint& made_by, bool accept_other_weights) const {
    const detail::cache_core<Backend>& c = core("forward");
    if (layer != c.next_layer)
      return {errc::state, "step: layer " + std::to_string(layer) + " is forwarded; layer " + std::to_string(c.next_layer) + " is next"};
    const fingerprint& stamp = c.fingerprints[static_cast<std::size_t>(layer)];
    if (!stamp.empty() && !(stamp == made_by) && !accept_other_weights)
      return {errc::config, "step: layer " + std::to_string(layer) + " holds keys and values of weights " + stamp.hex() + "; this module's are " +
                                made_by.hex() + " (forward_options.accept_other_weights allows it)"};
    return {};
  }
  /// Copies the layer's shared pages that the step will write: before the layer's first write.
  void copy_shared_pages(typename Backend::context& ctx, index_t layer) {
    const detail::cache_core<Backend>& c = core("forward");
    std::byte* const base = c.layout.base + layer * c.layer_bytes;
    const auto bytes = static_cast<std::size_t>(c.layout.page_bytes);
    for (const page_pool::page_copy& copy : c.pool.copies())
      Backend::copy(ctx, base + copy.to * c.layout.page_bytes, base + copy.from * c.layout.page_bytes, bytes);
  }
  void mark_forwarded(index_t layer, const fingerprint& made_by) {
    core_->forwarded[static_cast<std::size_t>(layer)] = made_by;
    core_->next_layer = layer + 1;
  }
  packed_kv layer_kv(index_t layer) const {
    packed_kv kv = core("layer_kv").layout;
    kv.base += layer * core_->layer_bytes;
    if (!core_->positions_are_default) kv.positions = core_->pool.positions(), kv.position_stride = kv.page_len;
    return kv;
  }

 private:
  friend class basic_kv_cache<Backend>;
  explicit basic_step(std::shared_ptr<detail::cache_core<Backend>> core) : core_(std::move(core)) {}
  std::shared_ptr<detail::cache_core<Backend>> core_;
};

/// Keys and values of many sequences in many layers. One caller at a time.
template <class Backend>
class basic_kv_cache {
 public:
  using sequence_type = basic_sequence<Backend>;
  using step_type = basic_step<Backend>;
  using entry = step_entry<Backend>;

  /// config.kv_dtype must be set (a module's config() has it). Throws config_error, capacity_error, shape_error
  /// (storage that is not aligned to 64 bytes).
  basic_kv_cache(typename Backend::context& ctx, const attention_config& config, const cache_limits& limits) {
    const std::size_t bytes = cache_bytes(config, limits);
    const attention_config resolved = resolve_stored(ctx, config);
    if (!limits.storage.empty() && limits.storage.size() < bytes)
      raise(errc::capacity, "kv_cache: storage has " + std::to_string(limits.storage.size()) + " bytes; " + std::to_string(bytes) + " are needed");
    if (reinterpret_cast<std::uintptr_t>(limits.storage.data()) % workspace::alignment != 0)
      raise(errc::shape, "kv_cache: storage is not 64-byte aligned");
    const index_t num_pages = num_pages_for(limits);
    core_ = std::make_shared<core>(core{resolved,
                                        limits,
                                        page_pool(num_pages, limits.page_len, limits.max_sequences),
                                        {},
                                        {},
                                        0,
                                        resolved.numerics,
                                        std::vector<fingerprint>(static_cast<std::size_t>(limits.num_layers)),
                                        {},
                                        {},
                                        {},
                                        {},
                                        0,
                                        0,
                                        true});
    core_->memory = limits.storage.empty() ? Backend::allocate(ctx, bytes) : buffer(limits.storage.data(), bytes, nullptr);
    core_->layout = kv_layout(resolved, resolved.num_kv_heads, limits.page_len);
    core_->layout.base = core_->memory.data();
    core_->layer_bytes = kv_bytes(core_->layout, num_pages);
    core_->requests.reserve(static_cast<std::size_t>(limits.max_sequences));
    core_->rows.reserve(static_cast<std::size_t>(limits.max_sequences));
    core_->forwarded.resize(static_cast<std::size_t>(limits.num_layers));
  }

  /// An empty sequence. capacity_error where max_sequences are in use.
  sequence_type add_sequence() { return {core_, checked("add_sequence").pool.add()}; }

  /// Reserves room in all layers for rows of several sequences, or throws (capacity_error, shape_error, state_error) with nothing changed.
  step_type begin_step(std::initializer_list<entry> entries) { return begin_step(std::span(entries.begin(), entries.size())); }
  step_type begin_step(std::span<const entry> entries) {
    core& c = checked("begin_step");
    raise_if(fill_requests(entries));
    c.pool.begin(c.requests);
    step_type step(core_);  // from here on an exception rolls back
    fill_rows();
    return step;
  }
  /// What begin_step would throw; nothing where it would open a step.
  failure check_step(std::initializer_list<entry> entries) const { return check_step(std::span(entries.begin(), entries.size())); }
  failure check_step(std::span<const entry> entries) const {
    if (failure f = check_held("begin_step")) return f;
    if (failure f = fill_requests(entries)) return f;
    return core_->pool.check(core_->requests);
  }

  const attention_config& config() const { return checked("config").config; }
  const cache_limits& limits() const { return checked("limits").limits; }
  /// Tokens that one sequence alone could hold; at least max_tokens.
  index_t capacity() const { return checked("capacity").pool.num_pages() * core_->pool.page_len(); }
  index_t num_free_pages() const { return checked("num_free_pages").pool.num_free_pages(); }
  index_t num_sequences() const { return checked("num_sequences").pool.num_sequences(); }
  /// Keys and values of all layers.
  const std::byte* data() const { return checked("data").memory.data(); }
  std::size_t bytes() const { return checked("bytes").memory.bytes(); }
  /// The id of the order of operations that made the contents; two where loaded contents came from another.
  const std::string& numerics() const { return checked("numerics").numerics; }
  /// Of the weights that made a layer's contents; empty where nothing has been appended.
  const fingerprint& layer_fingerprint(index_t layer) const { return checked("layer_fingerprint").fingerprints.at(static_cast<std::size_t>(layer)); }

  /// state_error for a cache that was moved from.
  failure check_held(const char* call) const {
    if (core_) return {};
    return {errc::state, std::string("kv_cache: ") + call + " on a cache that was moved from"};
  }
  /// True for the cache's own sequences.
  bool owns(const sequence_type& s) const { return s.core_ && s.core_ == core_; }

  /// Bits of tokens first.. of one sequence and layer, canonical: k [count, num_kv_heads, head_dim], v [count, num_kv_heads, value_dim] of kv_dtype.
  void export_layer(typename Backend::context& ctx, const sequence_type& s, index_t layer, index_t first, index_t count, void* k, void* v) const {
    checked("export_layer");
    if (s.core_ != core_ || layer < 0 || layer >= core_->limits.num_layers || first < 0 || count < 0 || count > s.kv_len() - first)
      raise(errc::range, "kv_cache: export of tokens " + std::to_string(first) + " + " + std::to_string(count) + " of layer " +
                             std::to_string(layer) + "; they must exist in a sequence of this cache");
    Backend::export_kv(ctx, {layer_base(layer), core_->pool.pages(s.slot_), 0, first, count, k, v});
  }
  /// The bits of one layer for every entry of an open step, in order of layers; stands in for a forward. `made_by` stamps the layer at commit.
  void import_layer(typename Backend::context& ctx, step_type& step, index_t layer, std::span<const kv_bits> bits, const fingerprint& made_by) {
    core& c = checked("import_layer");
    if (step.core_ != core_ || c.rows.size() != bits.size())
      raise(errc::state, "kv_cache: import_layer needs an open step of this cache, and keys and values for each of its entries");
    raise_if(step.check_layer(layer, made_by, true));
    step.copy_shared_pages(ctx, layer);
    for (std::size_t i = 0; i < bits.size(); ++i) import_rows(ctx, step, layer, i, 0, c.rows[i].num_rows, bits[i]);
    step.mark_forwarded(layer, made_by);
  }
  /// A part of that: the bits of rows first.. of one entry, keys or values or both. Copying shared pages and marking the layer is left to the caller.
  void import_rows(typename Backend::context& ctx, step_type& step, index_t layer, std::size_t entry, index_t first, index_t count,
                   const kv_bits& bits) {
    const sequence_rows& rows = step.core("import_rows").rows[entry];
    Backend::import_kv(ctx, {layer_base(layer), rows.pages, 0, rows.kv_len + first, count, const_cast<void*>(bits.k), const_cast<void*>(bits.v)});
  }
  /// For loaders: contents made under these ids have come in.
  void note_numerics(const std::string& ids) { core_->numerics = merged_numerics(core_->numerics, ids); }

 private:
  using core = detail::cache_core<Backend>;
  core& checked(const char* call) const {
    if (!core_) raise_if(check_held(call));
    return *core_;
  }
  /// The step's entries as the pool takes them.
  failure fill_requests(std::span<const entry> entries) const {
    if (core_->pool.step_is_open()) return {errc::state, "kv_cache: begin_step while a step is open; commit it or let it go first"};
    if (static_cast<index_t>(entries.size()) > core_->limits.max_sequences)
      return {errc::shape, "kv_cache: begin_step has " + std::to_string(entries.size()) + " entries; the cache has at most " +
                               std::to_string(core_->limits.max_sequences) + " sequences"};
    core_->requests.clear();
    for (const entry& e : entries) {
      if (e.sequence.core_ != core_)
        return {errc::state, "kv_cache: begin_step entry " + std::to_string(core_->requests.size()) +
                                 " names a sequence of another cache, or one that was moved from"};
      core_->requests.push_back({e.sequence.slot_, e.count, e.positions});
    }
    return {};
  }
  packed_kv layer_base(index_t layer) const {
    packed_kv kv = core_->layout;
    kv.base += layer * core_->layer_bytes;
    return kv;
  }
  void fill_rows() {
    core& c = *core_;
    c.rows.clear(), c.row_positions.clear();
    c.num_rows = 0, c.next_layer = 0;
    c.positions_are_default = true;
    for (const page_pool::request& r : c.requests) {
      c.positions_are_default &= c.pool.positions_are_default(r.slot);
      sequence_rows rows;
      rows.first_row = c.num_rows, rows.num_rows = r.count;
      rows.pages = c.pool.pages(r.slot);
      rows.kv_len = c.pool.kv_len(r.slot);
      rows.first_position = rows.kv_len;
      rows.dropout_sequence = static_cast<index_t>(c.rows.size());
      c.rows.push_back(rows);
      c.num_rows += r.count;
      c.row_positions.insert(c.row_positions.end(), r.positions.begin(), r.positions.end());
    }
    const index_t* next = c.row_positions.data();  // stable from here on
    for (std::size_t i = 0; i < c.rows.size(); ++i)
      if (!c.requests[i].positions.empty()) c.rows[i].positions = std::exchange(next, next + c.rows[i].num_rows);
  }
  std::shared_ptr<core> core_;
};

using kv_cache = basic_kv_cache<cpu::backend>;
using sequence = basic_sequence<cpu::backend>;
using step = basic_step<cpu::backend>;

}  // namespace v0
}  // namespace rapt
