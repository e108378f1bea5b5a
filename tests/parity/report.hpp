// What a run has found: the table while it runs, the summary behind it, and all of it as JSON.
#pragma once
#include <parity/replay.hpp>

#include <ostream>

namespace parity {

/// One case in one dtype of activations and cache, on one instruction set.
struct row {
  std::string case_name, isa;
  dtype activations = dtype::f64, kv_dtype = dtype::f64;
  int num_threads = 1;
  bool refused = false;  ///< the file was never replayed: nothing above but the name is set
  replay_result result;

  bool passed() const { return result.failures.empty(); }
  /// "f32", or "f32 kv bf16".
  std::string dtypes() const;
  /// The comparison nearest to its bound; null where the case expects errors alone.
  const comparison* tightest() const;
};

class report {
 public:
  /// quiet: rows that failed, and the summary.
  report(std::ostream& out, bool quiet) : out_(out), quiet_(quiet) {}
  void add(row r);
  /// Returns the exit status: 1 where something failed or nothing was found. The last line is "N passed, M failed".
  int finish(index_t num_files);
  void write_json(const std::string& path) const;

 private:
  std::ostream& out_;
  bool quiet_, has_heading_ = false;
  std::size_t name_width_ = 34;
  std::vector<row> rows_;
};

}  // namespace parity
