// Contexts: the stream, the workspace, and what the device can compute.
#include <cuda/context_impl.hpp>
#include <kernels/attention_check.hpp>
#include <kernels/repeat.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {
namespace cuda {

context::impl::impl(const context_options& options) : queue(options.device, options.stream), grow(options.grow), parameters(queue) {
  const runtime::device_properties& device = queue.properties();
  const std::string architecture = "sm_" + std::to_string(device.major) + std::to_string(device.minor);
  // Nothing is compiled for newer ones, and their tensor cores may sum in an order that none of the ids names.
  if (device.major < 8 || device.major > 9)
    raise(errc::config, "cuda::context: device " + std::to_string(options.device) + " is " + architecture + "; sm_80 to sm_90 are served");
  constexpr int needed_bytes = 163 * 1024;  // what sm_80 has
  if (device.shared_bytes < needed_bytes)
    raise(errc::config, "cuda::context: device " + std::to_string(options.device) + " is " + architecture + ", whose blocks have up to " +
                            std::to_string(device.shared_bytes) + " bytes of shared memory; " + std::to_string(needed_bytes) + " are needed");
  // Enough but for calls of more than a thousand sequences: one that needs more allocates.
  constexpr index_t usual_counters = 32'768;
  zeroed_counters(usual_counters);
  description = architecture + ", " + std::to_string(device.multiprocessors) + " multiprocessors";
}

unsigned* context::impl::zeroed_counters(index_t count) {
  const auto bytes = static_cast<std::size_t>(count) * sizeof(unsigned);
  if (bytes > counters.bytes()) {
    buffer larger = queue.allocate(std::max(bytes, 2 * counters.bytes()));
    queue.fill(larger.data(), 0, larger.bytes());
    counters = std::move(larger);
  }
  return reinterpret_cast<unsigned*>(counters.data());
}

context::context(const context_options& options) : impl_(std::make_unique<impl>(options)) {}
context::~context() = default;
context::context(context&&) noexcept = default;
context& context::operator=(context&&) noexcept = default;

stream_handle context::stream() const { return impl_->queue.stream(); }
int context::num_workers() const { return impl_->queue.properties().multiprocessors; }
std::string_view context::describe() const { return impl_->description; }

std::string_view context::numerics(const attention_types& types) const {
  const bool served = (types.activations == dtype::f16 || types.activations == dtype::bf16) && types.keys == types.activations &&
                      std::max(types.head_dim, types.value_dim) <= kernels::max_head_dim;
  if (!served) return numerics_id::cpu_v1;
  return impl_->queue.properties().major >= 9 ? numerics_id::sm90_mma_v1 : numerics_id::sm80_mma_v1;
}

failure context::check_numerics(const char* caller, std::string_view id, const attention_types& types) const {
  const runtime::device_properties& device = impl_->queue.properties();
  std::vector<std::string_view> served{numerics_id::cpu_v1};
  if (const std::string_view usual = numerics(types); usual != numerics_id::cpu_v1) {
    served.push_back(usual);
    if (is_hopper(device)) served.insert(served.end(), {numerics_id::sm90_wgmma_v1, numerics_id::sm90_cublaslt_v1});
  }
  if (types.activations == dtype::f32 && types.keys != dtype::f64)
    served.push_back(device.major >= 9 ? numerics_id::sm90_3xtf32_v1 : numerics_id::sm80_3xtf32_v1);
  if (std::find(served.begin(), served.end(), id) != served.end()) return {};
  std::string message = std::string(caller) + ": numerics is " + std::string(id) + "; for activations of " + std::string(name_of(types.activations)) +
                        ", keys and values of " + std::string(name_of(types.keys)) + ", head_dim " + std::to_string(types.head_dim) +
                        " and value_dim " + std::to_string(types.value_dim) + " this device has ";
  for (const std::string_view& s : served) message += (&s == served.data() ? "" : &s == &served.back() ? " and " : ", ") + std::string(s);
  return {errc::config, message};
}

void context::synchronize() { impl_->queue.synchronize(); }
void context::check() const { impl_->queue.check(); }

std::size_t context::workspace_capacity() const { return impl_->memory.bytes(); }
void context::reserve(std::size_t bytes) {
  if (bytes > impl_->memory.bytes()) impl_->memory = backend::allocate(*this, bytes);
}
workspace context::begin_call(std::size_t bytes) {
  check();
  if (bytes > impl_->memory.bytes()) {
    if (!impl_->grow)
      raise(errc::capacity, "cuda::context: the call needs " + std::to_string(bytes) + " bytes of workspace; " +
                                std::to_string(impl_->memory.bytes()) + " are reserved and context_options.grow is false");
    reserve(bytes);
  }
  return {impl_->memory.data(), impl_->memory.bytes()};
}
sequence_rows* context::sequences(index_t count) {
  if (count > static_cast<index_t>(impl_->sequences.size())) impl_->sequences.resize(static_cast<std::size_t>(count));
  return impl_->sequences.data();
}

buffer backend::allocate(context& ctx, std::size_t bytes) { return bytes == 0 ? buffer() : ctx.internals().queue.allocate(bytes); }

// By a launch: a step's stream holds launches alone.
void backend::copy(context& ctx, std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
  repeat(ctx, to, from, 1, static_cast<index_t>(bytes), 1);
}
void backend::repeat(context& ctx, std::byte* to, const std::byte* from, index_t num_rows, index_t row_bytes, index_t times) noexcept {
  run(ctx, [&](launches& l) { kernels::repeat_heads(from, to, num_rows, row_bytes, static_cast<int>(times), l.stream()); });
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
