// The CPU backend: threads, workspace and instruction set of the calls made with it.
#pragma once
#include <rapt/core/backend.hpp>
#include <rapt/core/error.hpp>
#include <rapt/core/executor.hpp>
#include <rapt/core/tensor_view.hpp>

#include <memory>
#include <optional>
#include <vector>

namespace rapt {
inline namespace v0 {
namespace cpu {

/// Instruction sets that the kernels are compiled for. All give the same bits; portable is slow (no FMA hardware is used).
enum class isa : std::uint8_t { automatic, portable, avx2, avx3, avx3_dl };
RAPT_API std::string_view name_of(isa set);
/// Those that this CPU runs, best first.
RAPT_API std::vector<isa> available_isas();

struct context_options {
  int num_threads = 0;                          ///< of the own pool, the caller included; 0: all processors that the process may use
  std::optional<executor> pool = std::nullopt;  ///< the program's threads instead of an own pool
  bool grow = true;                             ///< false: a call that needs more workspace than was reserved throws capacity_error
  cpu::isa instruction_set = isa::automatic;    ///< one that the CPU lacks is config_error
};

/// Owns threads and workspace. Belongs to one caller at a time; several contexts may work on one module at once. One that was moved from may only be
/// destroyed or assigned to.
class RAPT_API context {
 public:
  using backend_type = backend;
  explicit context(const context_options& options = {});
  ~context();
  context(context&&) noexcept;
  context& operator=(context&&) noexcept;

  int num_workers() const;
  isa instruction_set() const;
  /// For people: "avx2", "portable (slow: no FMA hardware is used)".
  std::string_view describe() const;
  /// The numeric contract's id of what this context computes where nothing else is asked for: "cpu-v1".
  std::string_view numerics(const attention_types& types = {}) const;
  /// config_error, beginning with `caller`, where calls of these types can not be computed under this id here.
  failure check_numerics(const char* caller, std::string_view id, const attention_types& types) const;
  /// Nothing of a call can fail here.
  void check() const {}

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
  using context = cpu::context;
  using space = host_space;
  static constexpr std::string_view name = "cpu";

  static buffer allocate(context& ctx, std::size_t bytes);
  static void copy(context& ctx, std::byte* to, const std::byte* from, std::size_t bytes) noexcept;
  /// Each of num_rows rows `times` times, one copy behind the other.
  static void repeat(context& ctx, std::byte* to, const std::byte* from, index_t num_rows, index_t row_bytes, index_t times) noexcept;
  static void project(context& ctx, const project_params& params, workspace& scratch) noexcept;
  static void rotate(context& ctx, const rotate_params& params, workspace& scratch) noexcept;
  static void append(context& ctx, const append_params& params, workspace& scratch) noexcept;
  static void attend(context& ctx, const attend_params& params, workspace& scratch) noexcept;
  /// For people: which driver would run, as in "keys split by segments of 512, merged upwards, f32 sums, keys and values f16".
  static std::string describe_attend(context& ctx, const attend_params& params);
  static void merge(context& ctx, const merge_params& params, workspace& scratch) noexcept;
  static void export_kv(context& ctx, const transfer_params& params) noexcept;
  static void import_kv(context& ctx, const transfer_params& params) noexcept;
  static void pack(context& ctx, const pack_params& params) noexcept;
  static void unpack(context& ctx, const pack_params& params) noexcept;
};
static_assert(rapt::backend<backend>);

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
