#include <rapt/state/save_load.hpp>

#include <tools/rapt_state/commands.hpp>
#include <tools/rapt_state/state_parts.hpp>

namespace rapt_state {

void check_contents(rapt::detail::state_reader state) {
  const auto made_by = [&](const std::string& what, bool has_contents) { static_cast<void>(state.made_by(what, has_contents)); };
  bool any = false;
  for (rapt::index_t s = 0; s < state.num_sequences(); ++s) any |= state.kv_len(s) > 0;
  for (rapt::index_t l = 0; l < state.num_layers(); ++l) made_by(std::to_string(l), any);
  if (state.has_projected("projected")) made_by("projected", true);
  for (rapt::index_t s = 0; s < state.num_sequences(); ++s) static_cast<void>(state.positions(s));
  state.read();
  if (state.has_weights()) static_cast<void>(state.weights());
}

std::string verify(const std::string& path, bool must_be_state) {
  const rapt::safetensors::file file = rapt::safetensors::open(path, {.mmap = true});
  if (must_be_state && !is_state(file))
    rapt::raise(rapt::errc::format, "verify: " + path + ": no state of rapt: the metadata key '" +
                                        std::string(file.is_rapt_state() ? "rapt.config" : "rapt.format") + "' is missing");
  if (!file.is_rapt_state()) return "ok, " + std::to_string(file.size()) + " tensors, no checksums";
  if (is_state(file)) check_contents(rapt::detail::state_reader(path));
  return "ok, " + std::to_string(file.size()) + " tensors, all checksums hold";
}

}  // namespace rapt_state
