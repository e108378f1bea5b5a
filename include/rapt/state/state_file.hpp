// State files without types of modules and backends: what save_state and load_state are made of. Programs use save_load.hpp.
#pragma once
#include <rapt/attention/fingerprint.hpp>
#include <rapt/attention/weights.hpp>
#include <rapt/state/progress.hpp>
#include <rapt/state/safetensors.hpp>

#include <memory>

namespace rapt {
inline namespace v0 {

/// Where a state comes from: a path, or bytes, beginning at any address, that outlive the call.
class state_source {
 public:
  state_source(const char* path) : path_(path) {}
  state_source(const std::string& path) : path_(path) {}
  state_source(std::span<const std::byte> bytes) : bytes_(bytes), is_path_(false) {}
  state_source(std::span<std::byte> bytes) : bytes_(bytes), is_path_(false) {}
  state_source(const std::vector<std::byte>& bytes) : bytes_(bytes), is_path_(false) {}

  bool is_path() const { return is_path_; }
  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::string path_;
  std::span<const std::byte> bytes_;
  bool is_path_ = true;
};

struct load_options {
  /// Loads keys and values made by other weights than those that the receiver holds already.
  bool accept_other_weights = false;
  /// Refuses contents that were computed in another order of operations than the context's.
  bool require_same_numerics = false;
  progress_function on_progress = {};
};

namespace detail {

/// Keys and values of one layer of a sequence, or of a whole one-shot cache: [.., len, heads, dim].
struct kv_shape {
  dtype type = dtype::f32;
  index_t batch = 1, len = 0, heads = 0, head_dim = 0, value_dim = 0;
};

/// Rows of one layer of a sequence, as they come from a file: keys or values, the other is null.
struct layer_rows {
  index_t layer, sequence, first, count;
  const void *k, *v;
};

/// Collects the parts of a state. Fill functions are called while it is written.
class RAPT_API state_builder {
 public:
  using fill_function = safetensors::writer::row_function;
  /// Config and numerics id of a part; config_error where another part has another config.
  void describe(const attention_config& config, const std::string& numerics);
  void add_weights(std::vector<named_tensor> weights);
  /// group: "static" or "projected".
  void add_projected(const std::string& group, const kv_shape& shape, const fingerprint& made_by, fill_function k, fill_function v);
  void add_cache(index_t num_layers, index_t page_len, index_t max_tokens, index_t stored_heads);
  void add_layer_fingerprint(index_t layer, const fingerprint& made_by);
  void add_sequence(index_t sequence, index_t len, fill_function positions);
  void add_layer(index_t layer, index_t sequence, const kv_shape& shape, fill_function k, fill_function v);
  /// Completes the metadata; once, at the end.
  const safetensors::writer& finish();

 private:
  safetensors::writer writer_;
  std::string config_, numerics_;
  bool described_ = false;
  std::vector<std::vector<named_tensor>> weights_;  ///< the writer points to their bytes
};

/// A state file being loaded: opened and its header checked by the constructor; then read whole by read(), or the layers of its cache by
/// read_layers().
class RAPT_API state_reader {
 public:
  explicit state_reader(const state_source& from);
  state_reader(state_reader&&) noexcept;
  ~state_reader();

  const attention_config& config() const;
  const std::string& numerics() const;
  /// config_error naming field and both values where the file's config is not `receiver`.
  void require_config(const attention_config& receiver) const;
  void require_numerics(std::string_view of_receiver, const load_options& options) const;
  /// config_error unless the file's keys and values may follow those of `receiver` in this layer ("layer 3"; "projected").
  void require_weights(const std::string& what, const fingerprint& of_file, const fingerprint& receiver, const load_options& options) const;

  bool has_weights() const;
  bool has_projected(const std::string& group) const;
  index_t num_layers() const;
  index_t num_sequences() const;
  /// format_error where the file does not hold that.
  kv_shape projected(const std::string& group) const;
  /// what: "0", "1", ... for a layer, "projected". format_error where it is malformed, or missing though there are contents; else empty.
  fingerprint made_by(const std::string& what, bool has_contents) const;
  index_t kv_len(index_t sequence) const;

  /// [kv_len]; format_error where one is negative or above 2^62. Reads and verifies these tensors alone; not after read().
  std::vector<index_t> positions(index_t sequence) const;
  /// Reads and verifies all data and gives the layers' rows, each layer's in order but layers in the file's. Where it throws, what came must be
  /// forgotten.
  void read_layers(const std::function<void(const layer_rows&)>& take, const progress_function& on_progress) const;
  /// Reads and verifies all data; weights() and data() are there from then on.
  void read(const progress_function& on_progress = {});
  attention_weights weights() const;
  const void* data(const std::string& tensor) const;
  const std::string& where() const;

 private:
  struct contents;
  std::unique_ptr<contents> contents_;
};

}  // namespace detail
}  // namespace v0
}  // namespace rapt
