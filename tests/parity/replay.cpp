#include <parity/replay.hpp>

#include <parity/replayer.hpp>

namespace parity {

replay_result replay(const case_file& c, rapt::cpu::context& ctx, dtype activations, dtype kv_dtype) {
  replay_result result;
  switch (activations) {
    case dtype::f64:
      replayer<double>(c, ctx, kv_dtype, result).run();
      break;
    case dtype::f32:
      replayer<float>(c, ctx, kv_dtype, result).run();
      break;
    case dtype::bf16:
      replayer<rapt::bf16>(c, ctx, kv_dtype, result).run();
      break;
    default:
      replayer<rapt::f16>(c, ctx, kv_dtype, result).run();
      break;
  }
  return result;
}

}  // namespace parity
