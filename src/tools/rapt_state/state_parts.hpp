// What the commands read of a state beside its tensors.
#pragma once
#include <rapt/attention/fingerprint.hpp>
#include <rapt/state/safetensors.hpp>
#include <rapt/state/state_file.hpp>

#include <state/state_names.hpp>

namespace rapt_state {

inline constexpr std::string_view rapt_prefix = "rapt.";

/// Pads carry nothing.
inline bool is_pad(std::string_view name) { return name.starts_with("pad."); }
/// A file that load_state could read: rapt's, with a config. A program may use the writer for tensors of its own.
inline bool is_state(const rapt::safetensors::file& file) { return file.is_rapt_state() && file.find_metadata(rapt::detail::config_key); }

/// Of the weights in the file, as a module made of them would have it; empty where there are none.
rapt::fingerprint fingerprint_of_weights(const rapt::safetensors::file& file, const rapt::attention_config& config);

/// Reads the data and throws where loading every part of the file, into receivers that fit, would refuse something.
void check_contents(rapt::detail::state_reader state, const rapt::progress_function& on_progress = {});

/// Opens a file, with a line of progress.
rapt::safetensors::file open_file(const std::string& path, bool mmap = true);

}  // namespace rapt_state
