// What a context holds, and how an operation gives its launches to the stream.
#pragma once
#include <cuda/parameters.hpp>
#include <kernels/runtime/matmul.hpp>
#include <rapt/cuda/context.hpp>

#include <optional>
#include <string>

namespace rapt {
inline namespace v0 {
namespace cuda {

/// Of the rotary embedding, in the device's memory, as long as they are made from the same.
struct kept_angles {
  std::vector<std::byte> made_from;
  buffer memory;
};

class context::impl {
 public:
  explicit impl(const context_options& options);

  runtime::queue queue;
  bool grow;
  std::string description;
  buffer memory;  ///< the workspace
  std::vector<sequence_rows> sequences;
  parameter_store parameters;
  kept_angles angles;
  buffer counters;  ///< 0 between launches
  std::optional<runtime::matmul_library> cublaslt;  ///< from the first product on

  /// So many, each 0 until a launch of this call changes it, and 0 again when that has ended. Throws cuda_error.
  unsigned* zeroed_counters(index_t count);
};

/// An operation's launches. What fails is kept for the context's check().
class launches {
 public:
  launches(context& ctx, runtime::stream stream) : impl_(ctx.internals()), stream_(stream) { impl_.parameters.begin_operation(); }

  /// Where the array will lie for kernels that are launched after flush().
  template <class T>
  const T* send(const std::vector<T>& array) {
    return array.empty() ? nullptr : impl_.parameters.send(std::span<const T>(array), impl_.queue);
  }
  void flush() { impl_.parameters.flush(stream_); }
  runtime::stream stream() const { return stream_; }
  context::impl& internals() const { return impl_; }

 private:
  context::impl& impl_;
  runtime::stream stream_;
};

/// f(launches&) in the order of the stream.
template <class F>
void run(context& ctx, F f) noexcept {
  ctx.internals().queue.run([&](runtime::stream stream) {
    launches to(ctx, stream);
    f(to);
  });
}

/// Calls f(T{}) for the type of this name, one of f16 and bf16.
template <class F>
void with_half(dtype type, F f) {
  if (type == dtype::f16)
    f(f16{});
  else
    f(bf16{});
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
