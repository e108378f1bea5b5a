#include <kernels/simt/emulator.hpp>
#include <kernels/simt/fibre.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <exception>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace rapt {
inline namespace v0 {
namespace simt {
namespace emulator {
namespace {

constexpr std::size_t shared_alignment = 1024;  // of the first byte
constexpr int poison = 0xff;                    // NaN in every floating-point type
constexpr std::size_t copy_bytes = 16;

thread_local schedule current_schedule = schedules[0];
thread_local device_limits current_limits = sm_90;

struct copy {
  unsigned group;
  std::byte* destination;
  const std::byte* source;

  void land() const {
    if (source != nullptr)
      std::memcpy(destination, source, copy_bytes);
    else
      std::memset(destination, 0, copy_bytes);
  }
};

struct device_thread : fibre {
  unsigned idx = 0;
  bool done = false;
  const char* waits_at = "";
  std::vector<copy> copies;  // in flight, oldest first
  unsigned group = 0;        // of the next copy
};

/// Some threads of a block, a bit for each: a word is a warp.
class thread_set {
 public:
  bool empty() const { return count_ == 0; }
  unsigned size() const { return count_; }
  void insert(unsigned idx) { insert(idx / warp_size, 1u << idx % warp_size); }
  /// Lanes of a warp, none of which is a member yet.
  void insert(unsigned warp, std::uint32_t lanes) {
    warps_[warp] |= lanes;
    count_ += static_cast<unsigned>(std::popcount(lanes));
  }
  void insert(const thread_set& other) {
    for (unsigned w = 0; w < max_warps; ++w) insert(w, other.warps_[w]);
  }
  void clear() { *this = {}; }
  void erase(unsigned idx) {
    warps_[idx / warp_size] &= ~(1u << idx % warp_size);
    --count_;
  }
  /// The first member from idx on, and after the last thread again from the beginning.
  unsigned first_from(unsigned idx) const {
    const unsigned begin = idx / warp_size;
    if (const std::uint32_t rest = warps_[begin] >> idx % warp_size; rest != 0) return idx + static_cast<unsigned>(std::countr_zero(rest));
    for (unsigned i = 1; i <= max_warps; ++i)
      if (const unsigned w = (begin + i) % max_warps; warps_[w] != 0) return w * warp_size + static_cast<unsigned>(std::countr_zero(warps_[w]));
    return idx;
  }
  unsigned last() const {
    unsigned w = max_warps - 1;
    while (w > 0 && warps_[w] == 0) --w;
    return w * warp_size + warp_size - 1 - static_cast<unsigned>(std::countl_zero(warps_[w]));
  }

 private:
  static constexpr unsigned max_warps = 32;
  std::uint32_t warps_[max_warps] = {};
  unsigned count_ = 0;
};

/// Lanes of a warp that have come to an instruction and wait for the rest of its mask.
struct meeting {
  const char* instruction;
  std::uint32_t arrived;
  warp_operands operands;
};

class block;
thread_local block* running = nullptr;

class block {
 public:
  block(index3 grid, unsigned num_threads, std::size_t shared_bytes, const std::function<void()>& body)
      : grid_(grid),
        body_(body),
        threads_(num_threads),
        meetings_((num_threads + warp_size - 1) / warp_size),
        shared_bytes_(shared_bytes),
        storage_(new std::byte[shared_bytes + shared_alignment]),
        random_(current_schedule.seed) {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.get());
    shared_ = storage_.get() + (shared_alignment - address % shared_alignment) % shared_alignment;
  }

  void run(index3 idx) {
    idx_ = idx;
    std::memset(shared_, poison, shared_bytes_);
    num_done_ = 0;
    for (unsigned t = 0; t < threads_.size(); ++t) {
      device_thread& thread = threads_[t];
      thread.idx = t;
      thread.done = false;
      thread.group = 0;
      thread.start(&thread_main);
      ready_.insert(t);
    }
    running = this;
    main_.switch_to(*next());
    running = nullptr;
    if (error_) std::rethrow_exception(error_);
  }

  device_thread& self() { return *self_; }
  index3 idx() const { return idx_; }
  index3 grid() const { return grid_; }
  std::byte* shared() const { return shared_; }
  std::size_t shared_bytes() const { return shared_bytes_; }

  void meet_block(const char* instruction) {
    if (at_barrier_.size() + 1 < threads_.size()) {
      at_barrier_.insert(self_->idx);
      wait(instruction);
      return;
    }
    ready_.insert(at_barrier_);
    at_barrier_.clear();
    give_way();
  }

  void meet_warp(std::uint32_t mask, const char* instruction, const void* in, void* out, void (*act)(const warp_operands&)) {
    const unsigned lane = self_->idx % warp_size;
    if ((mask >> lane & 1) == 0) fail(instruction, "the lane is not in its own mask");
    auto& open = meetings_[self_->idx / warp_size];
    auto it = std::find_if(open.begin(), open.end(),
                           [&](const meeting& m) { return m.operands.mask == mask && std::strcmp(m.instruction, instruction) == 0; });
    if (it == open.end()) {
      open.push_back({instruction, 0, {}});
      it = open.end() - 1;
      it->operands.mask = mask;
    }
    it->operands.in[lane] = in;
    it->operands.out[lane] = out;
    it->arrived |= 1u << lane;
    if (it->arrived != mask) {
      wait(instruction);
      return;
    }
    const warp_operands operands = it->operands;
    open.erase(it);
    act(operands);
    ready_.insert(self_->idx / warp_size, mask & ~(1u << lane));
    give_way();
  }

  void issue(const copy& c) {
    std::memset(c.destination, poison, copy_bytes);
    if (current_schedule.copies == landing::at_issue)
      c.land();
    else
      self_->copies.push_back(c);
  }
  void land_copies(unsigned first_group_in_flight) {
    auto& copies = self_->copies;
    const auto end = std::partition_point(copies.begin(), copies.end(), [&](const copy& c) { return c.group < first_group_in_flight; });
    if (current_schedule.copies == landing::random) std::shuffle(copies.begin(), end, random_);
    std::for_each(copies.begin(), end, [](const copy& c) { c.land(); });
    copies.erase(copies.begin(), end);
  }

  std::string where() const { return "block (" + std::to_string(idx_.x) + ", " + std::to_string(idx_.y) + ", " + std::to_string(idx_.z) + ")"; }

 private:
  static void thread_main() {
    fibre::entered();
    block& b = *running;
    device_thread& thread = *b.self_;
    try {
      b.body_();
      b.land_copies(thread.group + 1);
    } catch (...) {
      if (!b.error_) b.error_ = std::current_exception();
    }
    thread.done = true;
    ++b.num_done_;
    thread.switch_to(*b.next());
  }

  void wait(const char* instruction) {
    device_thread& me = *self_;
    me.waits_at = instruction;
    fibre* const to = next();
    if (to != &me) me.switch_to(*to);
  }

  /// A thread that others waited for goes on, unless chance has it otherwise.
  void give_way() {
    if (current_schedule.order != thread_order::random) return;
    ready_.insert(self_->idx);
    wait("");
  }

  /// The thread to run now, or the launching stack where all have ended, or where none ever will again.
  fibre* next() {
    land_some();
    if (error_) return &main_;
    if (ready_.empty()) {
      if (num_done_ != threads_.size()) error_ = std::make_exception_ptr(emulator_error(deadlock_report()));
      return &main_;
    }
    unsigned idx = 0;
    switch (current_schedule.order) {
      case thread_order::ascending:
        idx = ready_.first_from(0);
        break;
      case thread_order::descending:
        idx = ready_.last();
        break;
      case thread_order::random:
        idx = ready_.first_from(static_cast<unsigned>(random_() % threads_.size()));
        break;
    }
    ready_.erase(idx);
    self_ = &threads_[idx];
    return self_;
  }

  void land_some() {
    if (current_schedule.copies != landing::in_order && current_schedule.copies != landing::random) return;
    const bool random = current_schedule.copies == landing::random;
    device_thread& thread = threads_[(random ? random_() : turn_++) % threads_.size()];
    if (thread.copies.empty()) return;
    const auto it = thread.copies.begin() + static_cast<std::ptrdiff_t>(random ? random_() % thread.copies.size() : 0);
    it->land();
    thread.copies.erase(it);
  }

  std::string deadlock_report() const {
    std::string report = "deadlock in " + where() + ":";
    for (const device_thread& thread : threads_) {
      report += "\n  thread " + std::to_string(thread.idx);
      report += thread.done ? " has ended" : " waits at " + std::string(thread.waits_at);
    }
    return report;
  }

  const index3 grid_;
  const std::function<void()>& body_;
  std::vector<device_thread> threads_;
  thread_set ready_, at_barrier_;
  std::vector<std::vector<meeting>> meetings_;  // of each warp
  index3 idx_;
  std::size_t shared_bytes_;
  std::unique_ptr<std::byte[]> storage_;
  std::byte* shared_ = nullptr;
  device_thread* self_ = nullptr;
  fibre main_;
  std::size_t num_done_ = 0, turn_ = 0;
  std::exception_ptr error_;
  std::mt19937 random_;
};

void check_extent(unsigned got, unsigned most, const char* what) {
  if (got == 0 || got > most)
    throw emulator_error("launch: " + std::string(what) + " is " + std::to_string(got) + "; 1 to " + std::to_string(most) + " is possible on " +
                         current_limits.name);
}

}  // namespace

scoped_device::scoped_device(const schedule& s, const device_limits& limits) : schedule_before_(current_schedule), limits_before_(current_limits) {
  current_schedule = s;
  current_limits = limits;
}
scoped_device::~scoped_device() {
  current_schedule = schedule_before_;
  current_limits = limits_before_;
}

void run(index3 grid, unsigned num_threads, std::size_t shared_bytes, const std::function<void()>& thread) {
  check_extent(grid.x, current_limits.grid.x, "grid x");
  check_extent(grid.y, current_limits.grid.y, "grid y");
  check_extent(grid.z, current_limits.grid.z, "grid z");
  check_extent(num_threads, current_limits.threads, "the number of threads");
  if (shared_bytes > current_limits.shared_bytes)
    throw emulator_error("launch: a block of " + std::to_string(shared_bytes) + " bytes of shared memory; " + current_limits.name + " has " +
                         std::to_string(current_limits.shared_bytes));
  if (running != nullptr) throw emulator_error("launch: a thread of the device can not launch");
  block b(grid, num_threads, shared_bytes, thread);
  std::vector<index3> blocks;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) blocks.push_back({x, y, z});
  if (current_schedule.order == thread_order::descending) std::reverse(blocks.begin(), blocks.end());
  if (current_schedule.order == thread_order::random) std::shuffle(blocks.begin(), blocks.end(), std::mt19937(current_schedule.seed));
  for (const index3 idx : blocks) b.run(idx);
}

unsigned thread_idx() { return running->self().idx; }
index3 block_idx() { return running->idx(); }
index3 grid_extent() { return running->grid(); }
std::byte* shared_memory() { return running->shared(); }

std::byte* shared_at(std::uint32_t address, std::size_t bytes, std::size_t alignment, const char* instruction) {
  if (address % alignment != 0) fail(instruction, "the address in shared memory is not aligned");
  if (address + bytes > running->shared_bytes()) fail(instruction, "the address is outside the block's shared memory");
  return running->shared() + address;
}

void fail(const char* instruction, const char* what) {
  throw emulator_error(std::string(instruction) + ": " + what + " (" + running->where() + ", thread " + std::to_string(thread_idx()) + ")");
}

void meet_block(const char* instruction) { running->meet_block(instruction); }
void meet_warp(std::uint32_t mask, const char* instruction, const void* in, void* out, void (*act)(const warp_operands&)) {
  running->meet_warp(mask, instruction, in, out, act);
}

void copy_async(std::byte* destination, const std::byte* source) {
  if (reinterpret_cast<std::uintptr_t>(source) % copy_bytes != 0) fail("cp.async", "the source is not aligned");
  running->issue({running->self().group, destination, source});
}
void commit_copies() { ++running->self().group; }
void wait_for_copies(unsigned groups) {
  const unsigned committed = running->self().group;
  running->land_copies(committed > groups ? committed - groups : 0);
}

}  // namespace emulator
}  // namespace simt
}  // namespace v0
}  // namespace rapt
