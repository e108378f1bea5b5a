// Calls to the CUDA runtime: all that rapt makes go through here. CUDA implements them (cuda.cu), and so does an emulated device (emulated.cpp); what
// is linked decides. Whatever fails says so as errc::cuda with the name of CUDA's function, and has changed nothing that the host can see.
#pragma once
#include <kernels/simt/extent.hpp>
#include <rapt/core/error.hpp>

#include <cstddef>

namespace rapt {
inline namespace v0 {
namespace runtime {

using simt::stream;
using event = CUevent_st*;

struct device_properties {
  int multiprocessors = 0, major = 0, minor = 0;  ///< sm_90: major 9, minor 0
  int shared_bytes = 0;                           ///< the most that a block may have
};
/// Whether it has what was compiled for sm_90a alone.
constexpr bool is_hopper(const device_properties& device) { return device.major == 9 && device.minor == 0; }
[[nodiscard]] failure describe_device(int device, device_properties& to);
/// For all further calls of this host thread.
[[nodiscard]] failure select_device(int device);

/// At least 256-byte aligned; contents are undefined at first.
[[nodiscard]] failure allocate(std::size_t bytes, void*& to);
void free(void* data) noexcept;

enum class direction { to_device, to_host, on_device };
/// In the order of the stream. A copy to the host is there after a synchronisation; one from the host has been read when this returns, unless that
/// memory is page-locked.
[[nodiscard]] failure copy(void* to, const void* from, std::size_t bytes, direction way, stream s);
[[nodiscard]] failure fill(void* to, int byte, std::size_t bytes, stream s);

/// A stream that does not wait for the default stream.
[[nodiscard]] failure create_stream(stream& to);
void destroy(stream s) noexcept;
/// Waits for all that the stream was given, and says what of it failed.
[[nodiscard]] failure synchronize(stream s);

[[nodiscard]] failure create_event(event& to);
void destroy(event e) noexcept;
[[nodiscard]] failure record(event e, stream s);
/// What the stream is given from now on begins after what the event recorded.
[[nodiscard]] failure wait(stream s, event e);
[[nodiscard]] failure synchronize(event e);

/// What a launch left behind, which is forgotten.
[[nodiscard]] failure last_error();

}  // namespace runtime
}  // namespace v0
}  // namespace rapt
