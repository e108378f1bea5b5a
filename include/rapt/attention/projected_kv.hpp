// Keys and values that are written whole: by store(), or given (static K/V of cross-attention).
#pragma once
#include <rapt/attention/fingerprint.hpp>
#include <rapt/attention/kv_layout.hpp>
#include <rapt/core/backend.hpp>
#include <rapt/core/operand_check.hpp>

#include <algorithm>
#include <string>

namespace rapt {
inline namespace v0 {

/// [batch, kv_len, stored heads, dim]; page b holds batch row b. stored heads is num_kv_heads, or 1 that serves all query heads.
template <class Backend>
class basic_projected_kv {
 public:
  using context = typename Backend::context;

  /// Empty; config.kv_dtype must be set. store() allocates what it needs, before it writes; reserve() does so beforehand.
  basic_projected_kv(context& ctx, const attention_config& config) : config_(resolve_stored(ctx, config)), numerics_(config_.numerics) {
    layout_ = kv_layout(config_, config_.num_kv_heads, lane_group);
  }

  /// Static keys and values: k [batch, kv_len, num_kv_heads or 1, head_dim], v [batch, kv_len, the same, value_dim], any floating dtype and strides,
  /// rounded once to kv_dtype; keys are taken as they are (no norm, no RoPE). `store` into them is state_error. Throws shape_error,
  /// config_error.
  template <class K, class V>
  static basic_projected_kv from(context& ctx, const attention_config& config, const tensor_view<K, 4, typename Backend::space>& k,
                                 const tensor_view<V, 4, typename Backend::space>& v) {
    basic_projected_kv kv(ctx, config);
    const operand ko = operand_of(k), vo = operand_of(v);
    const attention_config& c = kv.config_;
    raise_if(check_input({"projected_kv::from", "k"}, ko, {.dim = c.head_dim}));
    if (ko.heads != c.num_kv_heads && ko.heads != 1)
      raise(errc::shape, "projected_kv::from: k has " + std::to_string(ko.heads) + " heads; " + std::to_string(c.num_kv_heads) + " or 1 are needed");
    raise_if(check_input({"projected_kv::from", "v"}, vo, {ko.batch, ko.len, ko.heads, c.value_dim}));
    kv.prepare(ctx, ko.batch, ko.len, ko.heads);
    kv.write(ctx, ko, vo);
    kv.set_extent(ko.batch, ko.len, {});
    kv.is_static_ = true;
    return kv;
  }

  bool empty() const { return !filled_; }
  bool is_static() const { return is_static_; }
  index_t batch() const { return batch_; }
  index_t kv_len() const { return kv_len_; }
  index_t stored_heads() const { return layout_.num_heads; }
  const attention_config& config() const { return config_; }
  const std::string& numerics() const { return numerics_; }
  /// Of the weights that made the contents; empty for static ones.
  const fingerprint& made_by() const { return made_by_; }
  std::size_t bytes() const { return memory_.bytes(); }
  /// Forgets the contents, keeps the memory. state_error on static ones.
  void clear() {
    require_not_static("clear");
    batch_ = kv_len_ = 0;
    filled_ = false;
    made_by_ = {};
  }
  /// Room for contents up to this size, so that store() does not allocate. state_error where contents would be lost: clear() first.
  void reserve(context& ctx, index_t batch, index_t kv_len) {
    if (filled_) raise(errc::state, "projected_kv: reserve on one that is filled; clear it first");
    grow(ctx, batch, kv_len, config_.num_kv_heads);
  }

  /// Canonical bits of one batch row: k [kv_len, stored heads, head_dim], v [kv_len, stored heads, value_dim] of kv_dtype.
  void export_row(context& ctx, index_t row, void* k, void* v) const { Backend::export_kv(ctx, {layout_, nullptr, row, 0, kv_len_, k, v}); }
  /// The reverse of export_row for every row at once: k and v hold [batch, kv_len, stored_heads, dim].
  static basic_projected_kv import(context& ctx, const attention_config& config, index_t batch, index_t kv_len, index_t stored_heads, const void* k,
                                   const void* v, bool is_static, const fingerprint& made_by) {
    basic_projected_kv kv(ctx, config);
    kv.prepare(ctx, batch, kv_len, stored_heads);
    const packed_kv& l = kv.layout_;
    const index_t size = size_of(l.type), k_row = kv_len * stored_heads * l.head_dim * size, v_row = kv_len * stored_heads * l.value_dim * size;
    for (index_t b = 0; kv_len > 0 && b < batch; ++b)
      Backend::import_kv(ctx, {l, nullptr, b, 0, kv_len, const_cast<std::byte*>(static_cast<const std::byte*>(k)) + b * k_row,
                               const_cast<std::byte*>(static_cast<const std::byte*>(v)) + b * v_row});
    kv.set_extent(batch, kv_len, made_by);
    kv.is_static_ = is_static;
    return kv;
  }

  /// For loaders: the contents were made under these ids.
  void note_numerics(const std::string& ids) { numerics_ = merged_numerics(numerics_, ids); }

  // For forward, not for callers.
  failure check_writable() const {
    if (!is_static_) return {};
    return {errc::state, "store: these keys and values are static; a projected_kv made without them is needed"};
  }
  /// The layout of such contents, without memory.
  packed_kv layout_for(index_t kv_len, index_t stored_heads) const {
    return kv_layout(config_, stored_heads, std::max(lane_group, round_up(kv_len, lane_group)));
  }
  /// Memory and layout for new contents; the old ones are gone.
  void prepare(context& ctx, index_t batch, index_t kv_len, index_t stored_heads) {
    grow(ctx, batch, kv_len, stored_heads);
    layout_ = layout_for(kv_len, stored_heads);
    layout_.base = memory_.data();
    filled_ = false;
  }
  void set_extent(index_t batch, index_t kv_len, const fingerprint& made_by) {
    batch_ = batch, kv_len_ = kv_len, made_by_ = made_by;
    filled_ = true;
  }
  const packed_kv& layout() const { return layout_; }

 private:
  void require_not_static(const char* call) const {
    if (is_static_) raise(errc::state, std::string("projected_kv: ") + call + " on static keys and values");
  }
  void grow(context& ctx, index_t batch, index_t kv_len, index_t stored_heads) {
    // Rows without tokens are never read: a file may claim any number of them without bringing a byte.
    const index_t num_pages = kv_len > 0 ? batch : std::min<index_t>(batch, 1);
    const auto bytes = static_cast<std::size_t>(kv_bytes(layout_for(kv_len, stored_heads), num_pages));
    if (bytes > memory_.bytes()) memory_ = Backend::allocate(ctx, bytes), filled_ = false;
    layout_.base = memory_.data();
  }
  void write(context& ctx, const operand& k, const operand& v) {
    if (k.rows() == 0) return;
    sequence_rows* const rows = ctx.sequences(k.batch);
    for (index_t b = 0; b < k.batch; ++b) {
      rows[b] = {};
      rows[b].first_row = b * k.len, rows[b].num_rows = k.len, rows[b].kv_batch = b;
    }
    append_params p;
    p.accumulator = layout_.type == dtype::f64 || k.type == dtype::f64 ? dtype::f64 : dtype::f32;
    p.k = k, p.v = v, p.kv = layout_, p.sequences = rows, p.num_sequences = k.batch;
    run_in_workspace(ctx, [&](workspace& scratch) { Backend::append(ctx, p, scratch); });
  }

  attention_config config_;
  std::string numerics_;
  buffer memory_;
  packed_kv layout_;
  index_t batch_ = 0, kv_len_ = 0;
  fingerprint made_by_;
  bool filled_ = false, is_static_ = false;
};

using projected_kv = basic_projected_kv<cpu::backend>;

}  // namespace v0
}  // namespace rapt
