// How far the reading or writing of a long file is, on a terminal.
#pragma once
#include <rapt/state/progress.hpp>

#include <string>

namespace rapt_state {

/// "PATH: 37 %" on stderr while a file is read or written; nothing where that is no terminal, and nothing of it is left in the end.
class progress_line {
 public:
  explicit progress_line(const std::string& path);
  ~progress_line();
  progress_line(const progress_line&) = delete;
  progress_line& operator=(const progress_line&) = delete;
  /// To be called while this object lives.
  rapt::progress_function function();

 private:
  void show(const rapt::progress& p);
  const std::string path_;
  const bool on_terminal_;
  int percent_ = -1;
};

}  // namespace rapt_state
