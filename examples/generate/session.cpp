#include "session.hpp"

#include <fstream>
#include <stdexcept>

namespace generate {

session::session(rapt::cpu::context& ctx, decoder& model, rapt::index_t max_tokens)
    : model_(model), cache_(model.make_cache(ctx, max_tokens)), sequence_(cache_.add_sequence()) {}

std::span<const float> session::feed(rapt::cpu::context& ctx, std::span<const token_id> ids) {
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  return advance(ctx);
}

std::span<const float> session::advance(rapt::cpu::context& ctx) {
  return model_.forward(ctx, cache_, sequence_, std::span(ids_).subspan(static_cast<std::size_t>(kv_len())));
}

void session::save(rapt::cpu::context& ctx, const std::string& path) const {
  std::ofstream file(path + ".ids");
  for (const token_id id : ids_) file << id << '\n';
  if (!file.flush()) throw std::runtime_error("session: cannot write " + path + ".ids");
  rapt::save_state(ctx, path, cache_, sequence_);
}

std::vector<token_id> saved_ids(const std::string& path) {
  std::ifstream file(path + ".ids");
  if (!file) throw std::runtime_error("session: cannot open " + path + ".ids");
  std::vector<token_id> ids;
  for (token_id id; file >> id;) ids.push_back(id);
  return ids;
}

void session::load(rapt::cpu::context& ctx, const std::string& path) {
  const std::vector<token_id> ids = saved_ids(path);
  rapt::load_state(ctx, path, cache_, sequence_);
  if (static_cast<rapt::index_t>(ids.size()) <= kv_len())
    throw std::runtime_error("session: " + path + ".ids has " + std::to_string(ids.size()) + " tokens, " + path + " has " + std::to_string(kv_len()) +
                             "; the next one is missing");
  ids_ = ids;
}

}  // namespace generate
