// One block of a launch on the emulator: its threads as fibres, and all that they wait for and have under way; with others it is a block_cluster.
// Private to the emulator's sources.
#pragma once
#include <kernels/simt/emulator.hpp>
#include <kernels/simt/fibre.hpp>
#include <kernels/simt/thread_set.hpp>

#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace rapt {
inline namespace v0 {
namespace simt {
namespace emulator {

constexpr std::size_t shared_alignment = 1024;  // of the first byte
constexpr int nan_byte = 0xff;                  // of NaN in every floating-point type
constexpr std::size_t copy_bytes = 16;
constexpr unsigned num_named_barriers = 16, warpgroup_size = 128, most_arrivals = (1u << 20) - 1;

/// What launches of this host thread run under.
inline thread_local schedule current_schedule = schedules[0];

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
  unsigned meeting = 0;      // of the cluster, which it has arrived at, counted from 1; 0: it has waited for it
};

/// What orders those that meet, for ThreadSanitizer: of two rounds in turn, so that who leaves one late is not ordered by arrivals at the next.
class round {
 public:
  const void* token() const { return &tokens_[number_ % 2]; }
  const void* token_before() const { return &tokens_[(number_ + 1) % 2]; }
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

class block_cluster;

class block {
 public:
  block(block_cluster& cluster, unsigned rank, index3 grid, unsigned num_threads, std::size_t shared_bytes, const std::function<void()>& body)
      : cluster_(cluster),
        rank_(rank),
        grid_(grid),
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

  // For its cluster.
  /// All of its threads can run, from the beginning.
  void begin(index3 idx);
  /// Whether one of its threads can go on: tiles land where none could otherwise.
  bool can_go_on();
  /// The thread to run now, one of those that can go on.
  fibre* take();
  void land_some();
  bool has_ended() const { return num_done_ == threads_.size(); }
  /// What its threads have done is seen by the launching one.
  void end() { acquire(&num_done_); }
  /// What a block must not end with.
  void look_for_leftovers();
  std::string deadlock_report() const;
  void wait_for_cluster();
  void cluster_has_met();
  /// A thread that others waited for goes on, unless chance has it otherwise.
  void give_way();

  device_thread& self() { return *self_; }
  block_cluster& cluster() const { return cluster_; }
  unsigned rank() const { return rank_; }
  index3 idx() const { return idx_; }
  index3 grid() const { return grid_; }
  std::byte* shared() const { return shared_; }
  std::size_t shared_bytes() const { return shared_bytes_; }
  std::string where() const { return "block (" + std::to_string(idx_.x) + ", " + std::to_string(idx_.y) + ", " + std::to_string(idx_.z) + ")"; }

  // What the running thread asks for; emulator.hpp has the meaning of each.
  void meet_block(const char* instruction);
  void meet_warp(std::uint32_t mask, const char* instruction, const void* in, void* out, void (*act)(const warp_operands&));
  unsigned elected_lane(std::uint32_t mask) const;
  bool meet_named(unsigned id, unsigned num_threads, bool waits, bool predicate, const char* instruction);
  void init_barrier(std::uint32_t address, unsigned count);
  void fence_barrier_init();
  void arrive(std::uint32_t address, unsigned bytes);
  void wait_for_phase(std::uint32_t address, unsigned parity);
  void copy_tile(std::uint32_t barrier, unsigned bytes, std::function<void()> land);
  void issue(const copy& c);
  void land_copies(unsigned first_group_in_flight);
  void issue_product(std::uint64_t a, std::uint64_t b, std::function<void()> compute);
  void wait_for_products(unsigned groups);
  void fence_products() { own_warp().fenced = true; }
  void commit_products() { ++own_warp().group; }

 private:
  static void thread_main();
  /// All that a thread does; says who goes on then.
  static void run_thread(fibre*& self, fibre*& to);
  void wait(const char* instruction);
  device_warp& own_warp() { return warps_[self_->idx / warp_size]; }
  phase_barrier& barrier_at(std::uint32_t address, const char* instruction);
  /// Where nothing of the phase is missing: whether it is over.
  bool end_phase(phase_barrier& b);
  void land_tile(std::size_t idx);

  block_cluster& cluster_;
  const unsigned rank_;
  const index3 grid_;
  const std::function<void()>& body_;
  std::vector<device_thread> threads_;
  thread_set ready_, at_barrier_, at_cluster_;
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
  std::size_t num_done_ = 0, turn_ = 0;
  std::mt19937 random_;
};

/// That of the thread that runs; null outside of launches.
inline thread_local block* running = nullptr;

}  // namespace emulator
}  // namespace simt
}  // namespace v0
}  // namespace rapt
