// Contexts: instruction set, threads, workspace; and the memory of the CPU backend.
#include <cpu/targets.hpp>

#include <hwy/targets.h>
#include <sys/mman.h>
#include <cpu/context_impl.hpp>
#include <rapt/core/error.hpp>
#include <rapt/core/numerics.hpp>

#include <cstdlib>
#include <new>

namespace rapt {
inline namespace v0 {
namespace cpu {
namespace {
constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr index_t repeated_bytes = index_t{256} << 10;  // that a thread writes at a time

bool runs(isa set) {
  const std::int64_t found = hwy::SupportedTargets();
  switch (set) {
    case isa::portable:
      return true;
    case isa::avx2:
      return (found & HWY_AVX2) != 0;
    case isa::avx3:
      return (found & HWY_AVX3) != 0;
    case isa::avx3_dl:
      return (found & HWY_AVX3_DL) != 0;
    default:
      return false;
  }
}

isa chosen(isa wanted) {
  if (wanted == isa::automatic) return available_isas().front();
  if (runs(wanted)) return wanted;
  std::string names;
  for (const isa set : available_isas()) names += (names.empty() ? "" : ", ") + std::string(name_of(set));
  raise(errc::config, "cpu::context: instruction_set is " + std::string(name_of(wanted)) + "; this CPU has " + names);
}

bool has_avx512_bf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

executor checked(const executor& pool) {
  if (pool.num_workers < 1 || pool.run == nullptr)
    raise(errc::config, "cpu::context: pool has num_workers " + std::to_string(pool.num_workers) + (pool.run ? "" : " and no run function") +
                            "; at least 1 and a function are needed");
  return pool;
}

void free_bytes(std::byte* data, std::size_t) { std::free(data); }
}  // namespace

std::string_view name_of(isa set) {
  constexpr std::string_view names[] = {"automatic", "portable", "avx2", "avx3", "avx3_dl"};
  return names[static_cast<int>(set)];
}

std::vector<isa> available_isas() {
  std::vector<isa> found;
  for (const isa set : {isa::avx3_dl, isa::avx3, isa::avx2, isa::portable})
    if (runs(set)) found.push_back(set);
  return found;
}

namespace {
// The functions that fill a table are compiled for its instruction set as well: only one that the CPU runs may be made.
template <isa set>
const kernels& table_of() {
  static const kernels table{tiles_f32(set),        tiles_f16(set),       tiles_bf16(set),     tiles_f64(set),
                             tiles_bf16_pairs(set), row_kernels_f32(set), row_kernels_f64(set)};
  return table;
}
}  // namespace

const kernels& kernels_of(isa set) {
  switch (set) {
    case isa::avx2:
      return table_of<isa::avx2>();
    case isa::avx3:
    case isa::avx3_dl:
      return table_of<isa::avx3>();
    default:
      return table_of<isa::portable>();
  }
}

context::impl::impl(const context_options& options)
    : set(chosen(options.instruction_set)),
      table(&kernels_of(set)),
      has_bf16_pairs((set == isa::avx3 || set == isa::avx3_dl) && has_avx512_bf16()),
      grow(options.grow) {
  if (options.pool) {
    pool = checked(*options.pool);
  } else {
    own_pool.emplace(options.num_threads);
    pool = own_pool->get();
  }
}

context::context(const context_options& options) : impl_(std::make_unique<impl>(options)) {}
context::~context() = default;
context::context(context&&) noexcept = default;
context& context::operator=(context&&) noexcept = default;

int context::num_workers() const { return impl_->pool.num_workers; }
isa context::instruction_set() const { return impl_->set; }
std::string_view context::describe() const { return impl_->set == isa::portable ? "portable (slow: no FMA hardware is used)" : name_of(impl_->set); }
std::string_view context::numerics(const attention_types&) const { return numerics_id::cpu_v1; }

failure context::check_numerics(const char* caller, std::string_view id, const attention_types& types) const {
  using namespace numerics_id;
  const auto refused = [&](const std::string& why) {
    return failure{errc::config, std::string(caller) + ": numerics is " + std::string(id) + "; " + why};
  };
  if (id == cpu_v1) return {};
  if (id != cpu_bf16dot_v1) return refused("this backend has " + std::string(cpu_v1) + " and " + std::string(cpu_bf16dot_v1));
  if (types.activations != dtype::bf16 || types.keys != dtype::bf16)
    return refused("it is for bf16; activations are " + std::string(name_of(types.activations)) + ", keys and values " +
                   std::string(name_of(types.keys)));
  if (impl_->has_bf16_pairs) return {};
  if (!has_avx512_bf16()) return refused("this CPU does not have AVX512_BF16, which it needs");
  return refused("instruction set avx3 is needed; the context's is " + std::string(name_of(impl_->set)));
}
std::size_t context::workspace_capacity() const { return impl_->memory.bytes(); }

void context::reserve(std::size_t bytes) {
  if (bytes > impl_->memory.bytes()) impl_->memory = backend::allocate(*this, bytes);
}

workspace context::begin_call(std::size_t bytes) {
  if (bytes > impl_->memory.bytes()) {
    if (!impl_->grow)
      raise(errc::capacity, "cpu::context: the call needs " + std::to_string(bytes) + " bytes of workspace; " +
                                std::to_string(impl_->memory.bytes()) + " are reserved and context_options.grow is false");
    reserve(bytes);
  }
  return {impl_->memory.data(), impl_->memory.bytes()};
}

sequence_rows* context::sequences(index_t count) {
  if (count > static_cast<index_t>(impl_->sequences.size())) impl_->sequences.resize(static_cast<std::size_t>(count));
  return impl_->sequences.data();
}

buffer backend::allocate(context&, std::size_t bytes) {
  if (bytes == 0) return {};
  const bool large = bytes >= huge_page;
  void* data = nullptr;
  if (posix_memalign(&data, large ? huge_page : static_cast<std::size_t>(workspace::alignment), bytes) != 0) throw std::bad_alloc();
  if (large) madvise(data, bytes, MADV_HUGEPAGE);  // a wish: plain reads of large caches gain 10 to 25 %
  return {static_cast<std::byte*>(data), bytes, free_bytes};
}

void backend::copy(context&, std::byte* to, const std::byte* from, std::size_t bytes) noexcept { std::memcpy(to, from, bytes); }

void backend::repeat(context& ctx, std::byte* to, const std::byte* from, index_t num_rows, index_t row_bytes, index_t times) noexcept {
  const index_t bytes = row_bytes * times, rows_of_unit = ceil_div(repeated_bytes, bytes), num_units = ceil_div(num_rows, rows_of_unit);
  for_each_unit(ctx, no_scratch{}, workers_for(ctx, num_units, num_rows * bytes), num_units, [&](no_scratch, index_t unit) {
    const index_t end = std::min(num_rows, (unit + 1) * rows_of_unit);
    for (index_t row = unit * rows_of_unit; row < end; ++row)
      for (index_t i = 0; i < times; ++i) std::memcpy(to + row * bytes + i * row_bytes, from + row * row_bytes, static_cast<std::size_t>(row_bytes));
  });
}

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
