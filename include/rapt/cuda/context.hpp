// The CUDA backend: device, stream and workspace of the calls made with it.
//
// Calls are given to the stream and return at once; operands lie in the device's memory. What a step needs of the host - lengths, page tables,
// positions - goes along as parameters of launches, so that between begin_step and commit the stream is given launches only.
#pragma once
#include <rapt/core/backend.hpp>
#include <rapt/core/error.hpp>
#include <rapt/core/tensor_view.hpp>

#include <memory>

// CUDA's name of what a cudaStream_t points to.
struct CUstream_st;

namespace rapt {
inline namespace v0 {
namespace cuda {

struct backend;
using stream_handle = CUstream_st*;  ///< cudaStream_t

struct context_options {
  int device = 0;
  /// The program's stream, which has to outlive the context; null: one of the context's own.
  stream_handle stream = nullptr;
  bool grow = true;  ///< false: a call that needs more workspace than was reserved throws capacity_error
};

/// Owns the workspace, and the stream where none was given. Belongs to one caller at a time; several contexts may work on one module at once. After a
/// call has thrown cuda_error, but for want of memory for the workspace, a module or a cache, what the device holds is unknown: every later call
/// throws cuda_error too. One that was moved from may only be destroyed or assigned to.
class RAPT_API context {
 public:
  using backend_type = backend;
  /// Throws cuda_error where there is no such device or no driver, config_error where the device is older than sm_80 or newer than
  /// sm_90, or its blocks have less shared memory than sm_80's.
  explicit context(const context_options& options = {});
  ~context();
  context(context&&) noexcept;
  context& operator=(context&&) noexcept;

  /// A call gives it launches alone, which a program may capture. What a call sends, lengths and page tables, the context then takes for sent: a
  /// graph has to be launched before the next call, and is that call again, with its lengths, only until another has been made.
  stream_handle stream() const;
  /// Blocks that the device runs side by side, which is what work is cut for.
  int num_workers() const;
  /// For people: "sm_90, 132 multiprocessors".
  std::string_view describe() const;
  /// The id of what this context computes where nothing else is asked for: tensor cores for f16 and bf16 with keys of the same type and heads of up
  /// to 256, "sm90-mma16816-k64-v1"; the CPU's order for all else, with the CPU's bits, "cpu-v1".
  std::string_view numerics(const attention_types& types = {}) const;
  /// config_error, beginning with `caller`, where calls of these types can not be computed under this id here.
  failure check_numerics(const char* caller, std::string_view id, const attention_types& types) const;

  /// Waits until the device has done all that it was given. Throws cuda_error, naming what failed.
  void synchronize();
  /// Throws cuda_error where something of an earlier call has failed; does not wait.
  void check() const;

  /// Makes the workspace at least this large. workspace_bytes() of the planner says what a call needs.
  void reserve(std::size_t bytes);
  std::size_t workspace_capacity() const;
  /// The workspace of one call, at least `bytes` large. Throws capacity_error where it would have to grow and may not.
  workspace begin_call(std::size_t bytes);
  /// Host scratch for the rows of a call's sequences, valid until the next call. Grows as the workspace does.
  sequence_rows* sequences(index_t count);

  class impl;
  impl& internals() const { return *impl_; }

 private:
  std::unique_ptr<impl> impl_;
};

struct RAPT_API backend {
  using context = cuda::context;
  using space = device_space;
  static constexpr std::string_view name = "cuda";

  static buffer allocate(context& ctx, std::size_t bytes);
  static void copy(context& ctx, std::byte* to, const std::byte* from, std::size_t bytes) noexcept;
  /// Each of num_rows rows `times` times, one copy behind the other.
  static void repeat(context& ctx, std::byte* to, const std::byte* from, index_t num_rows, index_t row_bytes, index_t times) noexcept;
  static void project(context& ctx, const project_params& params, workspace& scratch) noexcept;
  static void rotate(context& ctx, const rotate_params& params, workspace& scratch) noexcept;
  static void append(context& ctx, const append_params& params, workspace& scratch) noexcept;
  static void attend(context& ctx, const attend_params& params, workspace& scratch) noexcept;
  /// For people: which kernel would run.
  static std::string describe_attend(context& ctx, const attend_params& params);
  static void merge(context& ctx, const merge_params& params, workspace& scratch) noexcept;
  /// Rows to and from the host's memory. Wait for the stream.
  static void export_kv(context& ctx, const transfer_params& params);
  static void import_kv(context& ctx, const transfer_params& params);
  /// Weights from and to the host's memory. Wait for the stream.
  static void pack(context& ctx, const pack_params& params);
  static void unpack(context& ctx, const pack_params& params);
};
static_assert(rapt::backend<backend>);

}  // namespace cuda
}  // namespace v0
}  // namespace rapt
