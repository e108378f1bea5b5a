// Launches, and what kernels call: each of these looks at the running block.
#include <kernels/simt/block_cluster.hpp>

#include <algorithm>
#include <cstring>

namespace rapt {
inline namespace v0 {
namespace simt {
namespace emulator {
namespace {

thread_local device_limits current_limits = sm_90;

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

void run(index3 grid, unsigned num_threads, std::size_t shared_bytes, const std::function<void()>& thread, unsigned cluster_blocks) {
  check_extent(grid.x, current_limits.grid.x, "grid x");
  check_extent(grid.y, current_limits.grid.y, "grid y");
  check_extent(grid.z, current_limits.grid.z, "grid z");
  check_extent(num_threads, current_limits.threads, "the number of threads");
  check_extent(cluster_blocks, current_limits.cluster, "the number of blocks of a cluster");
  if (grid.x % cluster_blocks != 0)
    throw emulator_error("launch: grid x is " + std::to_string(grid.x) + ", which is no whole clusters of " + std::to_string(cluster_blocks));
  if (shared_bytes > current_limits.shared_bytes)
    throw emulator_error("launch: a block of " + std::to_string(shared_bytes) + " bytes of shared memory; " + current_limits.name + " has " +
                         std::to_string(current_limits.shared_bytes));
  if (running != nullptr) throw emulator_error("launch: a thread of the device can not launch");
  const unseen u;
  block_cluster cluster(cluster_blocks, grid, num_threads, shared_bytes, thread);
  std::vector<index3> first_blocks;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; x += cluster_blocks) first_blocks.push_back({x, y, z});
  if (current_schedule.order == thread_order::descending) std::reverse(first_blocks.begin(), first_blocks.end());
  if (current_schedule.order == thread_order::random) std::shuffle(first_blocks.begin(), first_blocks.end(), std::mt19937(current_schedule.seed));
  for (const index3 first : first_blocks) cluster.run(first);
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
void arrive_cluster() {
  const unseen u;
  running->cluster().arrive(*running);
}
void wait_cluster() {
  const unseen u;
  running->cluster().wait(*running);
}
unsigned cluster_rank() {
  const unseen u;
  return running->rank();
}
std::byte* shared_of_block(std::byte* address, std::size_t bytes, unsigned rank) {
  const unseen u;
  const std::ptrdiff_t offset = address - running->shared();
  if (offset < 0 || static_cast<std::size_t>(offset) + bytes > running->shared_bytes())
    fail("mapa", "the address is outside the block's shared memory");
  if (!running->cluster().has_met()) fail("mapa", "the cluster has not met yet: its blocks may not have begun");
  const block* const other = running->cluster().at(rank);
  if (other == nullptr) fail("mapa", "the cluster has no block of this rank");
  return other->shared() + offset;
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
