#include <unistd.h>

#include <iostream>
#include <tools/rapt_state/commands.hpp>
#include <tools/rapt_state/progress_line.hpp>

namespace rapt_state {
namespace {
constexpr const char* clear_line = "\r\x1b[K";
}

progress_line::progress_line(const std::string& path) : path_(printable(path)), on_terminal_(isatty(STDERR_FILENO) == 1) {}
progress_line::~progress_line() {
  if (percent_ >= 0) std::cerr << clear_line << std::flush;
}

rapt::progress_function progress_line::function() {
  if (!on_terminal_) return {};
  return [this](const rapt::progress& p) {
    show(p);
    return true;
  };
}

void progress_line::show(const rapt::progress& p) {
  // A file of one piece is done at its first word.
  if (p.done == p.total && percent_ < 0) return;
  const int percent = static_cast<int>(static_cast<double>(p.done) / static_cast<double>(p.total) * 100);
  if (percent == percent_) return;
  percent_ = percent;
  std::cerr << clear_line << path_ << ": " << percent << " %" << std::flush;
}

}  // namespace rapt_state
