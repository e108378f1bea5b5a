// One text being written: the cache, the tokens so far, and both together in files that another process goes on from.
#pragma once
#include <string>
#include <vector>

#include "decoder.hpp"

namespace generate {

class session {
 public:
  session(rapt::cpu::context& ctx, decoder& model, rapt::index_t max_tokens);

  /// Feeds tokens; returns the logits of what follows them.
  std::span<const float> feed(rapt::cpu::context& ctx, std::span<const token_id> ids);
  /// A token that has been chosen but not fed yet: a saved text ends with it.
  void choose(token_id id) { ids_.push_back(id); }
  /// Feeds the tokens chosen last.
  std::span<const float> advance(rapt::cpu::context& ctx);

  /// Keys and values of all layers to `path`, the tokens to `path`.ids (one number a line).
  void save(rapt::cpu::context& ctx, const std::string& path) const;
  /// Goes on where save() was called, in this or another process.
  void load(rapt::cpu::context& ctx, const std::string& path);

  const std::vector<token_id>& ids() const { return ids_; }
  const rapt::kv_cache& cache() const { return cache_; }
  rapt::index_t kv_len() const { return sequence_.kv_len(); }

 private:
  decoder& model_;
  rapt::kv_cache cache_;
  rapt::sequence sequence_;
  std::vector<token_id> ids_;  // those in the cache, and the ones chosen since
};

/// The tokens that save() wrote beside `path`.
std::vector<token_id> saved_ids(const std::string& path);

}  // namespace generate
