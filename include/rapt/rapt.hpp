// Everything for the CPU: the functional core, the module with its cache, and state files.
#pragma once
#include <rapt/attention/kv_cache.hpp>
#include <rapt/attention/multi_head_attention.hpp>
#include <rapt/attention/planner.hpp>
#include <rapt/attention/projected_kv.hpp>
#include <rapt/attention/weights.hpp>
#include <rapt/core/executor.hpp>
#include <rapt/core/tensor_view.hpp>
#include <rapt/cpu/context.hpp>
#include <rapt/ops/attend.hpp>
#include <rapt/ops/attend_reference.hpp>
#include <rapt/ops/heads.hpp>
#include <rapt/ops/merge.hpp>
#include <rapt/ops/project.hpp>
#include <rapt/state/file_weights.hpp>
#include <rapt/state/safetensors.hpp>
#include <rapt/state/save_load.hpp>
#include <rapt/version.hpp>

namespace rapt {
inline namespace v0 {
// Compiled into the library; programs need not compile them.
extern template class RAPT_API multi_head_attention<double, cpu::backend>;
extern template class RAPT_API multi_head_attention<float, cpu::backend>;
extern template class RAPT_API multi_head_attention<bf16, cpu::backend>;
extern template class RAPT_API multi_head_attention<f16, cpu::backend>;
}  // namespace v0
}  // namespace rapt
