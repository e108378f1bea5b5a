// The emulated device, of which there are two, beside its runtime.hpp: how launches reach it, and what tests may ask and decide.
//
// Its memory is mapped by itself and accessible to nobody outside of launches and copies: a host that reads or writes it faults. It begins as NaN,
// and nothing lies right behind an allocation. All is done at once, but a copy to the host lands with a synchronisation; until then its destination
// is NaN.
#pragma once
#include <kernels/runtime/runtime.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace rapt {
inline namespace v0 {
namespace runtime {
namespace emulated {

enum class call : std::uint8_t {
  allocate,
  free,
  copy_to_device,
  copy_to_host,
  copy_on_device,
  fill,
  launch,
  synchronize,
  create_stream,
  destroy_stream,
  create_event,
  destroy_event,
  record,
  wait
};

/// Calls of this process since it began or forgot them, in their order; also those that failed.
std::vector<call> calls();
void forget_calls();
/// The call of this kind that comes after `others` of them fails, once.
void fail(call kind, int others = 0);
std::size_t allocated_bytes();

/// What the devices are to this host thread from now on; at first sm_90 with 4 multiprocessors.
void pretend(const device_properties& of_devices);

/// Runs a launch, with the device's memory accessible. Throws cuda_error where it is to fail, or the stream is not of the selected device: then
/// nothing has run.
void launch(simt::stream s, const std::function<void()>& run);

}  // namespace emulated
}  // namespace runtime
}  // namespace v0
}  // namespace rapt
