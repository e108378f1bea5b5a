// A replay on a context of any backend.
#pragma once
#include <parity/replayer.hpp>

namespace parity {

template <class Context>
replay_result replay_on(Context& ctx, const case_file& c, dtype activations, dtype kv_dtype) {
  using backend = rapt::backend_of<Context>;
  replay_result result;
  switch (activations) {
    case dtype::f64:
      replayer<double, backend>(c, ctx, kv_dtype, result).run();
      break;
    case dtype::f32:
      replayer<float, backend>(c, ctx, kv_dtype, result).run();
      break;
    case dtype::bf16:
      replayer<rapt::bf16, backend>(c, ctx, kv_dtype, result).run();
      break;
    default:
      replayer<rapt::f16, backend>(c, ctx, kv_dtype, result).run();
      break;
  }
  return result;
}

}  // namespace parity
