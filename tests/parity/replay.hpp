// Replays a case: one module and its state, step by step, in one dtype of activations and one of the cache.
#pragma once
#include <parity/comparison.hpp>

#include <rapt/cpu/context.hpp>

namespace parity {

struct replay_result {
  std::vector<comparison> comparisons;
  std::vector<std::string> failures;  ///< "step 3 (forward): y1[0, 2]: got ..."; empty: passed
};

/// Never throws for what a case or the library does wrong: that is a failure in the result.
replay_result replay(const case_file& c, rapt::cpu::context& ctx, dtype activations, dtype kv_dtype);

}  // namespace parity
