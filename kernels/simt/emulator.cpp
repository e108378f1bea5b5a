#include <kernels/simt/emulator.hpp>
#include <kernels/simt/fibre.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <exception>
#include <map>
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
constexpr int nan_byte = 0xff;                  // of NaN in every floating-point type
constexpr std::size_t copy_bytes = 16;
constexpr unsigned num_named_barriers = 16, warpgroup_size = 128, most_arrivals = (1u << 20) - 1;

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

/// What orders those that meet, for ThreadSanitizer: of two rounds in turn, so that who leaves one late is not ordered by arrivals at the next.
class round {
 public:
  const void* token() const { return &tokens_[number_ % 2]; }
  void ends() { ++number_; }

 private:
  char tokens_[2] = {};
  unsigned number_ = 0;
};

/// Lanes of a warp that have come to an instruction and wait for the rest of its mask.
struct meeting {
  const char* instruction;
  std::uint32_t arrived;
  warp_operands operands;
};

struct product {
  unsigned group;
  std::function<void()> compute;
};

struct device_warp {
  std::vector<meeting> meetings;
  round meets;
  std::vector<product> products;  // in flight, oldest first
  unsigned group = 0;             // of the next product
  std::size_t num_products = 0;   // issued
  bool fenced = false;            // since it waited last
};

/// What the warps of a warpgroup issue, in order.
using issued_products = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

struct named_barrier {
  unsigned num_threads = 0, arrived = 0;
  bool any = false, any_before = false;  // of predicates: in this round, in the last one
  thread_set waiting;
  round meets;
};

/// An mbarrier.
struct phase_barrier {
  unsigned count = 0, missing = 0;
  std::int64_t bytes = 0;  // expected in this phase and not there yet
  unsigned parity = 0;     // of the phase that is not over
  unsigned initialised_by = 0;
  bool fenced = false;
  thread_set waiting;
};

struct tile_copy {
  std::uint32_t barrier;
  unsigned bytes;
  std::function<void()> land;
};

class block;
thread_local block* running = nullptr;

class block {
 public:
  block(index3 grid, unsigned num_threads, std::size_t shared_bytes, const std::function<void()>& body)
      : grid_(grid),
        body_(body),
        threads_(num_threads),
        warps_((num_threads + warp_size - 1) / warp_size),
        issued_((num_threads + warpgroup_size - 1) / warpgroup_size),
        shared_bytes_(shared_bytes),
        storage_(new std::byte[shared_bytes + shared_alignment]),
        random_(current_schedule.seed) {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.get());
    shared_ = storage_.get() + (shared_alignment - address % shared_alignment) % shared_alignment;
  }

  void run(index3 idx) {
    idx_ = idx;
    std::memset(shared_, nan_byte, shared_bytes_);
    num_done_ = 0;
    for (device_warp& w : warps_) w = {};
    for (issued_products& i : issued_) i.clear();
    for (named_barrier& b : named_) b = {};
    barriers_.clear();
    for (unsigned t = 0; t < threads_.size(); ++t) {
      device_thread& thread = threads_[t];
      thread.idx = t;
      thread.done = false;
      thread.group = 0;
      thread.start(&thread_main);
      ready_.insert(t);
    }
    running = this;
    release(&idx_);
    main_.switch_to(*next());
    acquire(&num_done_);
    running = nullptr;
    if (!error_) look_for_leftovers();
    if (error_) std::rethrow_exception(error_);
  }

  device_thread& self() { return *self_; }
  index3 idx() const { return idx_; }
  index3 grid() const { return grid_; }
  std::byte* shared() const { return shared_; }
  std::size_t shared_bytes() const { return shared_bytes_; }

  void meet_block(const char* instruction) {
    const void* const token = block_meets_.token();
    release(token);
    if (at_barrier_.size() + 1 < threads_.size()) {
      at_barrier_.insert(self_->idx);
      wait(instruction);
    } else {
      ready_.insert(at_barrier_);
      at_barrier_.clear();
      block_meets_.ends();
      give_way();
    }
    acquire(token);
  }

  void meet_warp(std::uint32_t mask, const char* instruction, const void* in, void* out, void (*act)(const warp_operands&)) {
    const unsigned lane = self_->idx % warp_size;
    if ((mask >> lane & 1) == 0) fail(instruction, "the lane is not in its own mask");
    device_warp& warp = warps_[self_->idx / warp_size];
    auto& open = warp.meetings;
    const void* const token = warp.meets.token();
    release(token);
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
      acquire(token);
      return;
    }
    const warp_operands operands = it->operands;
    open.erase(it);
    warp.meets.ends();
    acquire(token);
    {
      const looked_at l;
      act(operands);
    }
    release(token);
    ready_.insert(self_->idx / warp_size, mask & ~(1u << lane));
    give_way();
  }

  bool meet_named(unsigned id, unsigned num_threads, bool waits, bool predicate, const char* instruction) {
    if (id == 0 || id >= num_named_barriers) fail(instruction, "there are barriers 1 to 15, and 0 is sync_threads");
    if (num_threads == 0 || num_threads % warp_size != 0 || num_threads > threads_.size())
      fail(instruction, "the number of threads is no whole warps of the block");
    named_barrier& b = named_[id];
    if (b.arrived != 0 && b.num_threads != num_threads) fail(instruction, "others have come to this barrier for another number of threads");
    const void* const token = b.meets.token();
    release(token);
    b.num_threads = num_threads;
    b.any |= predicate;
    if (++b.arrived < num_threads) {
      if (!waits) return false;
      b.waiting.insert(self_->idx);
      wait(instruction);
    } else {
      b.any_before = b.any, b.any = false;
      b.arrived = 0;
      ready_.insert(b.waiting);
      b.waiting.clear();
      b.meets.ends();
      give_way();
      if (!waits) return false;
    }
    acquire(token);
    return b.any_before;
  }

  void init_barrier(std::uint32_t address, unsigned count) {
    shared_at(address, 8, 8, "mbarrier.init");
    if (count == 0 || count > most_arrivals) fail("mbarrier.init", "the number of arrivals is not within 1 to 2^20 - 1");
    if (!barriers_[address].waiting.empty()) fail("mbarrier.init", "threads wait at this barrier");
    barriers_[address] = {count, count, 0, 0, self_->idx, false, {}};
  }
  void fence_barrier_init() {
    for (auto& [address, b] : barriers_)
      if (b.initialised_by == self_->idx) b.fenced = true;
  }
  phase_barrier& barrier_at(std::uint32_t address, const char* instruction) {
    shared_at(address, 8, 8, instruction);
    const auto it = barriers_.find(address);
    if (it == barriers_.end()) fail(instruction, "the barrier is not initialised");
    return it->second;
  }
  void arrive(std::uint32_t address, unsigned bytes) {
    phase_barrier& b = barrier_at(address, "mbarrier.arrive");
    if (b.missing == 0) fail("mbarrier.arrive", "more threads arrive than the barrier counts");
    release(&b);
    --b.missing;
    b.bytes += bytes;
    end_phase(b);
  }
  void wait_for_phase(std::uint32_t address, unsigned parity) {
    phase_barrier& b = barrier_at(address, "mbarrier.try_wait");
    while (b.parity == parity % 2) {
      b.waiting.insert(self_->idx);
      wait("mbarrier.try_wait");
    }
    acquire(&b);
  }
  void poison(std::byte* data, std::size_t bytes) {
    const unseen u;
    std::memset(data, nan_byte, bytes);
  }
  void copy_tile(std::uint32_t barrier, unsigned bytes, std::function<void()> land) {
    if (!barrier_at(barrier, "cp.async.bulk").fenced) fail("cp.async.bulk", "the barrier's initialisation is not fenced");
    tiles_.push_back({barrier, bytes, std::move(land)});
    if (current_schedule.copies == landing::at_issue) land_tile(tiles_.size() - 1);
  }

  unsigned elected_lane(std::uint32_t mask) const {
    if (current_schedule.order == thread_order::ascending) return static_cast<unsigned>(std::countr_zero(mask));
    if (current_schedule.order == thread_order::descending) return warp_size - 1 - static_cast<unsigned>(std::countl_zero(mask));
    for (unsigned skip = current_schedule.seed % static_cast<unsigned>(std::popcount(mask)); skip > 0; --skip) mask &= mask - 1;
    return static_cast<unsigned>(std::countr_zero(mask));
  }

  device_warp& own_warp() { return warps_[self_->idx / warp_size]; }
  void issue_product(std::uint64_t a, std::uint64_t b, std::function<void()> compute) {
    if (threads_.size() % warpgroup_size != 0) fail("wgmma", "the block is no whole warpgroups");
    device_warp& warp = own_warp();
    if (!warp.fenced) fail("wgmma", "no wgmma.fence since the warp waited last");
    issued_products& of_group = issued_[self_->idx / warpgroup_size];
    if (warp.num_products == of_group.size()) of_group.emplace_back(a, b);
    if (of_group[warp.num_products++] != std::pair(a, b)) fail("wgmma", "the warps of a warpgroup issue different products");
    warp.products.push_back({warp.group, std::move(compute)});
  }
  void fence_products() { own_warp().fenced = true; }
  void commit_products() { ++own_warp().group; }
  void wait_for_products(unsigned groups) {
    device_warp& warp = own_warp();
    warp.fenced = false;
    while (!warp.products.empty() && warp.products.front().group + groups < warp.group) {
      const product oldest = std::move(warp.products.front());
      warp.products.erase(warp.products.begin());
      const looked_at l;
      oldest.compute();
    }
  }

  void issue(const copy& c) {
    std::memset(c.destination, nan_byte, copy_bytes);
    if (current_schedule.copies == landing::at_issue)
      c.land();
    else
      self_->copies.push_back(c);
  }
  void land_copies(unsigned first_group_in_flight) {
    auto& copies = self_->copies;
    const auto end = std::partition_point(copies.begin(), copies.end(), [&](const copy& c) { return c.group < first_group_in_flight; });
    if (current_schedule.copies == landing::random) std::shuffle(copies.begin(), end, random_);
    {
      const looked_at l;
      std::for_each(copies.begin(), end, [](const copy& c) { c.land(); });
    }
    copies.erase(copies.begin(), end);
  }

  std::string where() const { return "block (" + std::to_string(idx_.x) + ", " + std::to_string(idx_.y) + ", " + std::to_string(idx_.z) + ")"; }

 private:
  static void thread_main() {
    fibre::entered();
    fibre *self, *to;
    run_thread(self, to);
    self->switch_to(*to);
  }
  /// All that a thread does; says who goes on then.
  static void run_thread(fibre*& self, fibre*& to) {
    const unseen u;
    block& b = *running;
    device_thread& thread = *b.self_;
    try {
      acquire(&b.idx_);
      {
        const looked_at l;
        b.body_();
      }
      b.land_copies(thread.group + 1);
    } catch (...) {
      if (!b.error_) b.error_ = std::current_exception();
    }
    thread.done = true;
    ++b.num_done_;
    release(&b.num_done_);
    self = &thread;
    to = b.next();
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
    while (ready_.empty() && !tiles_.empty()) land_tile(0);
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
    if (!tiles_.empty() && (!random || random_() % 4 == 0)) land_tile(random ? random_() % tiles_.size() : 0);
    device_thread& thread = threads_[(random ? random_() : turn_++) % threads_.size()];
    if (thread.copies.empty()) return;
    const auto it = thread.copies.begin() + static_cast<std::ptrdiff_t>(random ? random_() % thread.copies.size() : 0);
    it->land();
    thread.copies.erase(it);
  }

  void land_tile(std::size_t idx) {
    const tile_copy c = std::move(tiles_[idx]);
    tiles_.erase(tiles_.begin() + static_cast<std::ptrdiff_t>(idx));
    c.land();
    phase_barrier& b = barriers_.at(c.barrier);
    b.bytes -= c.bytes;
    end_phase(b);
  }

  void end_phase(phase_barrier& b) {
    if (b.missing != 0 || b.bytes != 0) return;
    b.parity ^= 1;
    b.missing = b.count;
    ready_.insert(b.waiting);
    b.waiting.clear();
  }

  /// What a block must not end with.
  void look_for_leftovers() {
    const auto found = [&](const char* what) { error_ = std::make_exception_ptr(emulator_error(where() + " has ended with " + what)); };
    if (!tiles_.empty()) found("tiles on their way");
    tiles_.clear();
    for (const named_barrier& b : named_)
      if (b.arrived != 0) found("arrivals at a barrier that nobody has waited for");
    for (std::size_t w = 0; w < warps_.size(); ++w) {
      if (!warps_[w].products.empty()) found("products in flight");
      if (warps_[w].num_products != issued_[w * warp_size / warpgroup_size].size()) found("warps of a warpgroup that have issued different products");
    }
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
  round block_meets_;
  std::vector<device_warp> warps_;
  std::vector<issued_products> issued_;  // of each warpgroup
  named_barrier named_[num_named_barriers];
  std::map<std::uint32_t, phase_barrier> barriers_;
  std::vector<tile_copy> tiles_;  // on their way, oldest first
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
  const unseen u;
  block b(grid, num_threads, shared_bytes, thread);
  std::vector<index3> blocks;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) blocks.push_back({x, y, z});
  if (current_schedule.order == thread_order::descending) std::reverse(blocks.begin(), blocks.end());
  if (current_schedule.order == thread_order::random) std::shuffle(blocks.begin(), blocks.end(), std::mt19937(current_schedule.seed));
  for (const index3 idx : blocks) b.run(idx);
}

unsigned thread_idx() {
  const unseen u;
  return running->self().idx;
}
index3 block_idx() {
  const unseen u;
  return running->idx();
}
index3 grid_extent() {
  const unseen u;
  return running->grid();
}
std::byte* shared_memory() {
  const unseen u;
  return running->shared();
}

std::byte* shared_at(std::uint32_t address, std::size_t bytes, std::size_t alignment, const char* instruction) {
  const unseen u;
  if (address % alignment != 0) fail(instruction, "the address in shared memory is not aligned");
  if (address + bytes > running->shared_bytes()) fail(instruction, "the address is outside the block's shared memory");
  return running->shared() + address;
}

void fail(const char* instruction, const char* what) {
  throw emulator_error(std::string(instruction) + ": " + what + " (" + running->where() + ", thread " + std::to_string(thread_idx()) + ")");
}

void meet_block(const char* instruction) {
  const unseen u;
  running->meet_block(instruction);
}
void meet_warp(std::uint32_t mask, const char* instruction, const void* in, void* out, void (*act)(const warp_operands&)) {
  const unseen u;
  running->meet_warp(mask, instruction, in, out, act);
}

void copy_async(std::byte* destination, const std::byte* source) {
  const unseen u;
  if (reinterpret_cast<std::uintptr_t>(source) % copy_bytes != 0) fail("cp.async", "the source is not aligned");
  running->issue({running->self().group, destination, source});
}
void commit_copies() {
  const unseen u;
  ++running->self().group;
}
void wait_for_copies(unsigned groups) {
  const unseen u;
  const unsigned committed = running->self().group;
  running->land_copies(committed > groups ? committed - groups : 0);
}

bool meet_named(unsigned id, unsigned num_threads, bool waits, bool predicate, const char* instruction) {
  const unseen u;
  return running->meet_named(id, num_threads, waits, predicate, instruction);
}

void init_barrier(std::uint32_t address, unsigned count) {
  const unseen u;
  running->init_barrier(address, count);
}
void fence_barrier_init() {
  const unseen u;
  running->fence_barrier_init();
}
void arrive(std::uint32_t address, unsigned bytes) {
  const unseen u;
  running->arrive(address, bytes);
}
void wait_for_phase(std::uint32_t address, unsigned parity) {
  const unseen u;
  running->wait_for_phase(address, parity);
}
void poison(std::byte* data, std::size_t bytes) {
  const unseen u;
  std::memset(data, nan_byte, bytes);
}
void copy_tile(std::uint32_t barrier, unsigned bytes, std::function<void()> land) {
  const unseen u;
  running->copy_tile(barrier, bytes, std::move(land));
}

unsigned elected_lane(std::uint32_t mask) {
  const unseen u;
  return running->elected_lane(mask);
}

void issue_product(std::uint64_t a, std::uint64_t b, std::function<void()> compute) {
  const unseen u;
  running->issue_product(a, b, std::move(compute));
}
void fence_products() {
  const unseen u;
  running->fence_products();
}
void commit_products() {
  const unseen u;
  running->commit_products();
}
void wait_for_products(unsigned groups) {
  const unseen u;
  running->wait_for_products(groups);
}

}  // namespace emulator
}  // namespace simt
}  // namespace v0
}  // namespace rapt
