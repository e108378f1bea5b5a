#include <rapt/state/save_load.hpp>

#include <tools/rapt_state/commands.hpp>
#include <tools/rapt_state/progress_line.hpp>
#include <tools/rapt_state/state_parts.hpp>

namespace rapt_state {

void check_contents(rapt::detail::state_reader state, const rapt::progress_function& on_progress) {
  const auto made_by = [&](const std::string& what, bool has_contents) { static_cast<void>(state.made_by(what, has_contents)); };
  bool any = false;
  for (rapt::index_t s = 0; s < state.num_sequences(); ++s) any |= state.kv_len(s) > 0;
  for (rapt::index_t l = 0; l < state.num_layers(); ++l) made_by(std::to_string(l), any);
  if (state.has_projected("projected")) made_by("projected", true);
  for (rapt::index_t s = 0; s < state.num_sequences(); ++s) static_cast<void>(state.positions(s));
  state.read(on_progress);
  if (state.has_weights()) static_cast<void>(state.weights());
}

rapt::safetensors::file open_file(const std::string& path, bool mmap) {
  progress_line line(path);
  return rapt::safetensors::open(path, {.mmap = mmap, .on_progress = line.function()});
}

std::string verify(const std::string& path, bool must_be_state) {
  const rapt::safetensors::file file = open_file(path);
  if (must_be_state && !is_state(file))
    rapt::raise(rapt::errc::format, "verify: " + path + ": no state of rapt: the metadata key '" +
                                        std::string(file.is_rapt_state() ? "rapt.config" : "rapt.format") + "' is missing");
  if (!file.is_rapt_state()) return "ok, " + std::to_string(file.size()) + " tensors, no checksums";
  if (is_state(file)) {
    progress_line line(path);
    check_contents(rapt::detail::state_reader(path), line.function());
  }
  return "ok, " + std::to_string(file.size()) + " tensors, all checksums hold";
}

}  // namespace rapt_state
