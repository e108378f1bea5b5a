// A kernel's launch on a device, for simt::launch: the kernel's address, and those of its parameters.
#pragma once
#include <kernels/runtime/runtime.hpp>

namespace rapt {
inline namespace v0 {
namespace runtime {

/// In the order of the stream; says what was refused. What goes wrong later is said by synchronize.
[[nodiscard]] failure launch(const void* kernel, unsigned cluster_blocks, simt::index3 grid, unsigned num_threads, std::size_t shared_bytes,
                             void** params, stream s);

}  // namespace runtime
}  // namespace v0
}  // namespace rapt
