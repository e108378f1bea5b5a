// Replays a case: one module and its state, step by step, in one dtype of activations and one of the cache.
#pragma once
#include <parity/comparison.hpp>

#include <functional>

namespace parity {

struct replay_result {
  std::vector<comparison> comparisons;
  std::vector<std::string> failures;  ///< "step 3 (forward): y1[0, 2]: got ..."; empty: passed
};

/// What cases are replayed on.
struct target {
  std::string name;  ///< "avx2", "cuda"
  /// Never throws for what a case or the library does wrong: that is a failure in the result. `num_threads` is 1 or 2, where the target has threads.
  std::function<replay_result(const case_file&, dtype activations, dtype kv_dtype, int num_threads)> replay;
};
/// Those of this program, or those of the names wanted. Throws refusal where there is none of a name.
std::vector<target> targets(const std::vector<std::string>& wanted);

}  // namespace parity
