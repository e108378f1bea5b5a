// What the program rapt-state does. Every command throws where a file is bad, and writes its answer to `out`; nothing else is
// printed but a line of progress, where stderr is a terminal.
#pragma once
#include <rapt/state/safetensors.hpp>

#include <ostream>
#include <string>
#include <vector>

namespace rapt_state {

/// Tells what a file holds, as text or as one JSON object.
void inspect(const std::string& path, bool as_json, std::ostream& out);

/// Everything that can be checked without the program that the file is for. Throws where something is wrong; returns what was checked, in words.
std::string verify(const std::string& path, bool must_be_state);

/// Names what differs, bit by bit; true where nothing does.
bool compare(const std::string& a, const std::string& b, std::ostream& out);

/// Writes the tensors of a state as a safetensors file without rapt's metadata and pads; what the metadata says goes to keys without "rapt.".
void export_plain(const std::string& from, const std::string& to);

struct import_options {
  std::string layout = "state";  ///< whose names the weights have: state, hugging-face, torch, tabpfn
  std::string prefix;            ///< before the names of the other layouts
  std::string config;            ///< JSON; empty: the metadata key `config`
  std::string numerics;          ///< empty: the metadata key `numerics`, else cpu-v1 where there is nothing that was computed
};
/// Writes a state from a safetensors file of others.
void import_plain(const std::string& from, const std::string& to, const import_options& options);

/// Text of a file for a terminal: control characters become '?'.
std::string printable(std::string_view text);

}  // namespace rapt_state
