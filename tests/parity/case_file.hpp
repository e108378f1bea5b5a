// A parity case as plain values: what fixtures/README.md describes, read from one safetensors file. Whatever is not known there is refused.
#pragma once
#include <rapt/attention/config.hpp>
#include <rapt/core/dtype.hpp>
#include <rapt/core/error.hpp>

#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace parity {

using rapt::dtype, rapt::index_t;

/// The file, not the library, is at fault: a key that is not known, a tensor that is missing, a call that rapt's API can not express.
struct refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Elements widened without loss, in the member that fits `type`.
struct tensor {
  dtype type = dtype::f64;
  std::vector<index_t> shape;
  std::vector<double> values;     ///< floating types
  std::vector<index_t> integers;  ///< i64
  std::vector<char> truths;       ///< boolean

  index_t size() const;
};

enum class cache_use { none, replace, append, use };
using stride_map = std::map<std::string, std::vector<index_t>>;
using name = std::optional<std::string>;

struct forward_step {
  std::string x;
  name x_kv, kv_lens, mask, mask_kind, positions, expect, expect_lse;
  cache_use cache = cache_use::none;
  bool reuse_first_head_kv = false, only_cache_first_head_kv = false, add_input = false;
  std::optional<index_t> peak_mem_factor;
  std::optional<std::vector<std::pair<index_t, index_t>>> sequences;  ///< (id, rows)
  stride_map strides;
};
struct attend_step {
  std::string q, k, v;
  name kv_lens, mask, mask_kind, positions, expect, expect_lse;
  stride_map strides;
};
struct merge_step {
  std::vector<std::string> out, lse;
  name expect, expect_lse;
};
struct expect_cache_step {
  name kv, k, v;  ///< kv, or k and v
  std::optional<index_t> sequence;
};
struct truncate_step {
  index_t kv_len;
  std::optional<index_t> sequence;
};
struct clear_cache_step {
  std::optional<index_t> sequence;
};
struct save_load_step {};
struct fork_step {
  index_t from, to;
};
struct set_static_kv_step {
  std::string k, v;
};
struct construct_step {
  std::string config_json;  ///< for config_from_json, the case's config with the step's differences
  std::vector<std::string> weights;
};
struct step {
  std::string op;
  std::variant<forward_step, attend_step, merge_step, expect_cache_step, truncate_step, clear_cache_step, save_load_step, fork_step,
               set_static_kv_step, construct_step>
      call;
  std::optional<std::string> error;  ///< expect_error: the type that the call must throw
};

/// What a growing cache must hold, at least 1 of each.
struct cache_room {
  index_t tokens, sequences;
};

struct case_file {
  std::string path, case_name;
  std::vector<dtype> dtypes;     ///< of activations
  std::vector<dtype> kv_dtypes;  ///< of the cache; empty: that of the activations
  index_t page_len = 64;
  rapt::attention_config config;
  std::vector<std::string> weights;
  std::vector<step> steps;
  std::map<std::string, tensor> tensors;

  bool has_module() const;
  /// For every row that the case ever appends, in each fork too.
  cache_room room() const;
  /// Throws refusal where the file lacks it.
  const tensor& at(const std::string& tensor_name) const;
  const tensor* find(const std::string& tensor_name) const;
  const tensor& input(const std::string& input_name) const { return at("inputs." + input_name); }
};

/// Throws refusal, and what rapt throws for a file or config that it can not read.
case_file read_case(const std::string& path);

/// f64, f32, bf16 or f16 by its name; throws refusal.
dtype dtype_named(const std::string& text);

}  // namespace parity
