// Barriers that have a name or lie in shared memory: those of some threads of a block, and phases that count arrivals and bytes.
#include <kernels/simt/block.hpp>

namespace rapt {
inline namespace v0 {
namespace simt {
namespace emulator {

bool block::meet_named(unsigned id, unsigned num_threads, bool waits, bool predicate, const char* instruction) {
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

void block::init_barrier(std::uint32_t address, unsigned count) {
  shared_at(address, 8, 8, "mbarrier.init");
  if (count == 0 || count > most_arrivals) fail("mbarrier.init", "the number of arrivals is not within 1 to 2^20 - 1");
  if (!barriers_[address].waiting.empty()) fail("mbarrier.init", "threads wait at this barrier");
  barriers_[address] = {count, count, 0, 0, self_->idx, false, {}};
}

void block::fence_barrier_init() {
  for (auto& [address, b] : barriers_)
    if (b.initialised_by == self_->idx) b.fenced = true;
}

phase_barrier& block::barrier_at(std::uint32_t address, const char* instruction) {
  shared_at(address, 8, 8, instruction);
  const auto it = barriers_.find(address);
  if (it == barriers_.end()) fail(instruction, "the barrier is not initialised");
  return it->second;
}

void block::arrive(std::uint32_t address, unsigned bytes) {
  phase_barrier& b = barrier_at(address, "mbarrier.arrive");
  if (b.missing == 0) fail("mbarrier.arrive", "more threads arrive than the barrier counts");
  release(&b);
  --b.missing;
  b.bytes += bytes;
  if (end_phase(b)) give_way();
}

void block::wait_for_phase(std::uint32_t address, unsigned parity) {
  phase_barrier& b = barrier_at(address, "mbarrier.try_wait");
  while (b.parity == parity % 2) {
    b.waiting.insert(self_->idx);
    wait("mbarrier.try_wait");
  }
  acquire(&b);
}

bool block::end_phase(phase_barrier& b) {
  if (b.missing != 0 || b.bytes != 0) return false;
  b.parity ^= 1;
  b.missing = b.count;
  ready_.insert(b.waiting);
  b.waiting.clear();
  return true;
}

}  // namespace emulator
}  // namespace simt
}  // namespace v0
}  // namespace rapt
