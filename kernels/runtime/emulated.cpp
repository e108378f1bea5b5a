// runtime.hpp and tensor_map.hpp by an emulated device.
#include <kernels/runtime/emulated.hpp>
#include <kernels/runtime/runtime.hpp>
#include <kernels/runtime/tensor_map.hpp>
#include <kernels/simt/emulator.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

// What handles point to.
struct CUstream_st {
  int device;
};
struct CUevent_st {
  CUstream_st* recorded = nullptr;
  std::size_t num_downloads = 0;  ///< of the device, when it was recorded
};

namespace rapt {
inline namespace v0 {
namespace runtime {
namespace {

using emulated::call;

constexpr int poison = 0xff;  // NaN in every floating-point type
constexpr std::size_t alignment = 256;
constexpr int num_devices = 2;
thread_local device_properties properties{4, 9, 0, static_cast<int>(simt::emulator::sm_90.shared_bytes)};
thread_local int selected_device = 0;

struct allocation {
  void* mapping;
  std::size_t mapped_bytes;  ///< without the page behind, which stays inaccessible
  std::size_t bytes;
};
/// A copy to the host that has not landed.
struct download {
  stream of;
  std::size_t number;
  std::byte* to;
  std::vector<std::byte> bytes;
};
struct fault {
  call kind;
  int others;
};

class device {
 public:
  std::mutex mutex;
  std::vector<call> calls;
  std::vector<fault> faults;
  std::map<std::byte*, allocation> allocations;
  std::vector<download> downloads;
  std::size_t num_downloads = 0;
  int open = 0;  ///< launches and copies that run

  /// Notes a call; true where it is to fail.
  bool comes(call kind) {
    calls.push_back(kind);
    const auto it = std::find_if(faults.begin(), faults.end(), [&](const fault& f) { return f.kind == kind; });
    if (it == faults.end() || it->others-- > 0) return false;
    faults.erase(it);
    return true;
  }
  bool holds(const void* data, std::size_t bytes) const {
    const auto* const begin = static_cast<const std::byte*>(data);
    const auto after = std::find_if(allocations.begin(), allocations.end(), [&](const auto& a) { return begin < a.first + a.second.bytes; });
    return after != allocations.end() && begin >= after->first && bytes <= after->second.bytes - static_cast<std::size_t>(begin - after->first);
  }
  void protect(int access) const {
    for (const auto& [data, a] : allocations) mprotect(a.mapping, a.mapped_bytes, access);
  }
  template <class Lands>
  void land(Lands lands) {
    const auto rest = std::stable_partition(downloads.begin(), downloads.end(), lands);
    for (auto d = downloads.begin(); d != rest; ++d) std::memcpy(d->to, d->bytes.data(), d->bytes.size());
    downloads.erase(downloads.begin(), rest);
  }
};
device& the_device() {
  static device d;
  return d;
}

/// While it lives, the device's memory is accessible.
class access {
 public:
  explicit access(device& d) : device_(d) {
    const std::lock_guard lock(d.mutex);
    if (d.open++ == 0) d.protect(PROT_READ | PROT_WRITE);
  }
  access(const access&) = delete;
  access& operator=(const access&) = delete;
  ~access() {
    const std::lock_guard lock(device_.mutex);
    if (--device_.open == 0) device_.protect(PROT_NONE);
  }

 private:
  device& device_;
};

failure said(const char* function, const char* what) { return {errc::cuda, std::string(function) + ": " + what}; }

/// A call that does nothing but perhaps fail.
failure plain_call(call kind, const char* function) {
  device& d = the_device();
  const std::lock_guard lock(d.mutex);
  return d.comes(kind) ? said(function, "unspecified failure") : failure{};
}
void noted(call kind) noexcept {
  device& d = the_device();
  const std::lock_guard lock(d.mutex);
  d.calls.push_back(kind);
}

}  // namespace

namespace emulated {

std::vector<call> calls() {
  device& d = the_device();
  const std::lock_guard lock(d.mutex);
  return d.calls;
}
void forget_calls() {
  device& d = the_device();
  const std::lock_guard lock(d.mutex);
  d.calls.clear();
}
void fail(call kind, int others) {
  device& d = the_device();
  const std::lock_guard lock(d.mutex);
  d.faults.push_back({kind, others});
}
std::size_t allocated_bytes() {
  device& d = the_device();
  const std::lock_guard lock(d.mutex);
  std::size_t bytes = 0;
  for (const auto& [data, a] : d.allocations) bytes += a.bytes;
  return bytes;
}
void pretend(const device_properties& of_devices) { properties = of_devices; }
void launch(stream s, const std::function<void()>& run) {
  raise_if(plain_call(call::launch, "cudaLaunchKernel"));
  if (s != nullptr && s->device != selected_device) raise_if(said("cudaLaunchKernel", "invalid resource handle"));
  const access while_it_runs(the_device());
  run();
}

}  // namespace emulated

failure describe_device(int index, device_properties& to) {
  if (index < 0 || index >= num_devices) return said("cudaDeviceGetAttribute", "invalid device ordinal");
  to = properties;
  return {};
}
failure select_device(int index) {
  if (index < 0 || index >= num_devices) return said("cudaSetDevice", "invalid device ordinal");
  selected_device = index;
  return {};
}

failure allocate(std::size_t bytes, void*& to) {
  device& d = the_device();
  const std::lock_guard lock(d.mutex);
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const auto out_of_memory = [] { return said("cudaMalloc", "out of memory"); };
  if (d.comes(call::allocate) || bytes > PTRDIFF_MAX / 2) return out_of_memory();
  if (bytes == 0) {
    to = nullptr;
    return {};
  }
  const std::size_t mapped_bytes = (bytes + page - 1) / page * page;
  void* const mapping = mmap(nullptr, mapped_bytes + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return out_of_memory();
  mprotect(mapping, mapped_bytes, PROT_READ | PROT_WRITE);
  std::memset(mapping, poison, mapped_bytes);
  if (d.open == 0) mprotect(mapping, mapped_bytes, PROT_NONE);
  auto* const data = static_cast<std::byte*>(mapping) + mapped_bytes - (bytes + alignment - 1) / alignment * alignment;
  d.allocations[data] = {mapping, mapped_bytes, bytes};
  to = data;
  return {};
}
void free(void* data) noexcept {
  device& d = the_device();
  const std::lock_guard lock(d.mutex);
  d.calls.push_back(call::free);
  const auto it = d.allocations.find(static_cast<std::byte*>(data));
  if (it == d.allocations.end()) return;
  munmap(it->second.mapping, it->second.mapped_bytes + static_cast<std::size_t>(sysconf(_SC_PAGESIZE)));
  d.allocations.erase(it);
}

failure copy(void* to, const void* from, std::size_t bytes, direction way, stream s) {
  device& d = the_device();
  const access while_it_runs(d);
  const std::lock_guard lock(d.mutex);
  const call kind = way == direction::to_device ? call::copy_to_device : way == direction::to_host ? call::copy_to_host : call::copy_on_device;
  if (d.comes(kind)) return said("cudaMemcpyAsync", "unspecified failure");
  if (bytes == 0) return {};
  if ((way != direction::to_host && !d.holds(to, bytes)) || (way != direction::to_device && !d.holds(from, bytes)))
    return said("cudaMemcpyAsync", "invalid argument");
  if (way != direction::to_host) {
    std::memmove(to, from, bytes);
    return {};
  }
  const auto* const begin = static_cast<const std::byte*>(from);
  d.downloads.push_back({s, d.num_downloads++, static_cast<std::byte*>(to), {begin, begin + bytes}});
  std::memset(to, poison, bytes);
  return {};
}
failure fill(void* to, int byte, std::size_t bytes, stream) {
  device& d = the_device();
  const access while_it_runs(d);
  const std::lock_guard lock(d.mutex);
  if (d.comes(call::fill)) return said("cudaMemsetAsync", "unspecified failure");
  if (bytes == 0) return {};
  if (!d.holds(to, bytes)) return said("cudaMemsetAsync", "invalid argument");
  std::memset(to, byte, bytes);
  return {};
}

failure create_stream(stream& to) {
  if (failure f = plain_call(call::create_stream, "cudaStreamCreateWithFlags")) return f;
  to = new CUstream_st{selected_device};
  return {};
}
void destroy(stream s) noexcept {
  noted(call::destroy_stream);
  device& d = the_device();
  const std::lock_guard lock(d.mutex);
  d.land([&](const download& x) { return x.of == s; });
  delete s;
}
failure synchronize(stream s) {
  if (failure f = plain_call(call::synchronize, "cudaStreamSynchronize")) return f;
  device& d = the_device();
  const std::lock_guard lock(d.mutex);
  d.land([&](const download& x) { return x.of == s; });
  return {};
}

failure create_event(event& to) {
  if (failure f = plain_call(call::create_event, "cudaEventCreateWithFlags")) return f;
  to = new CUevent_st;
  return {};
}
void destroy(event e) noexcept {
  noted(call::destroy_event);
  delete e;
}
failure record(event e, stream s) {
  if (failure f = plain_call(call::record, "cudaEventRecord")) return f;
  device& d = the_device();
  const std::lock_guard lock(d.mutex);
  *e = {s, d.num_downloads};
  return {};
}
failure wait(stream, event) { return plain_call(call::wait, "cudaStreamWaitEvent"); }
failure synchronize(event e) {
  if (failure f = plain_call(call::synchronize, "cudaEventSynchronize")) return f;
  device& d = the_device();
  const std::lock_guard lock(d.mutex);
  d.land([&](const download& x) { return x.of == e->recorded && x.number < e->num_downloads; });
  return {};
}

failure describe_tensor(const tensor_layout& layout, tensor_map& to) {
  if (failure f = check_layout(layout)) return f;
  static_assert(sizeof layout <= sizeof to);
  std::memcpy(to.opaque, &layout, sizeof layout);
  return {};
}
tensor_layout layout_of(const tensor_map& map) {
  tensor_layout layout;
  std::memcpy(static_cast<void*>(&layout), map.opaque, sizeof layout);
  return layout;
}

failure last_error() { return {}; }

}  // namespace runtime
}  // namespace v0
}  // namespace rapt
