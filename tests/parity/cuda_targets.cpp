// A CUDA device; in tests the emulated one.
#include <rapt/cuda.hpp>

#include <parity/replay_on.hpp>
#include <support/cuda_placement.hpp>

namespace parity {

std::vector<target> targets(const std::vector<std::string>& wanted) {
  for (const std::string& name : wanted)
    if (name != "cuda") throw refusal("--isa " + name + ": this program replays on cuda");
  auto ctx = std::make_shared<rapt::cuda::context>();
  return {{"cuda", [ctx](const case_file& c, dtype activations, dtype kv_dtype, int) { return replay_on(*ctx, c, activations, kv_dtype); }}};
}

}  // namespace parity
