// How a save or a load says how far it is, and how it is told to stop.
#pragma once
#include <cstdint>
#include <functional>

namespace rapt {
inline namespace v0 {

struct progress {
  std::uint64_t done = 0, total = 0;  ///< bytes of the file
};
/// Called on the thread of the call, about every MiB, and once at the end with done == total, when nothing that others can see has changed yet.
/// Returns whether to go on: false ends the call by cancelled_error, and what it throws ends the call as it is; either way nothing has changed. It
/// must leave what is being saved or loaded alone.
using progress_function = std::function<bool(const progress&)>;

struct save_options {
  progress_function on_progress = {};
};

}  // namespace v0
}  // namespace rapt
