// A block: which of its threads runs next, who waits for whom at sync_threads and within a warp, and how it ends.
#include <kernels/simt/block_cluster.hpp>

#include <algorithm>
#include <bit>
#include <cstring>

namespace rapt {
inline namespace v0 {
namespace simt {
namespace emulator {

void block::begin(index3 idx) {
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
    thread.group = thread.meeting = 0;
    thread.start(&thread_main);
    ready_.insert(t);
  }
  release(&idx_);
}

void block::meet_block(const char* instruction) {
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

void block::meet_warp(std::uint32_t mask, const char* instruction, const void* in, void* out, void (*act)(const warp_operands&)) {
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

unsigned block::elected_lane(std::uint32_t mask) const {
  if (current_schedule.order == thread_order::ascending) return static_cast<unsigned>(std::countr_zero(mask));
  if (current_schedule.order == thread_order::descending) return warp_size - 1 - static_cast<unsigned>(std::countl_zero(mask));
  for (unsigned skip = current_schedule.seed % static_cast<unsigned>(std::popcount(mask)); skip > 0; --skip) mask &= mask - 1;
  return static_cast<unsigned>(std::countr_zero(mask));
}

void block::thread_main() {
  fibre::entered();
  fibre *self, *to;
  run_thread(self, to);
  self->switch_to(*to);
}

void block::run_thread(fibre*& self, fibre*& to) {
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
  } catch (...) { b.cluster_.fails(std::current_exception()); }
  thread.done = true;
  ++b.num_done_;
  release(&b.num_done_);
  // Others may not look at it any more.
  if (b.has_ended()) std::memset(b.shared_, nan_byte, b.shared_bytes_);
  self = &thread;
  to = b.cluster_.next(b);
}

void block::wait(const char* instruction) {
  device_thread& me = *self_;
  me.waits_at = instruction;
  fibre* const to = cluster_.next(*this);
  if (to != &me) me.switch_to(*to);
}

void block::give_way() {
  if (current_schedule.order != thread_order::random) return;
  ready_.insert(self_->idx);
  wait("");
}

void block::wait_for_cluster() {
  at_cluster_.insert(self_->idx);
  wait("barrier.cluster.wait");
}
void block::cluster_has_met() {
  ready_.insert(at_cluster_);
  at_cluster_.clear();
}

bool block::can_go_on() {
  while (ready_.empty() && !tiles_.empty()) land_tile(0);
  return !ready_.empty();
}

fibre* block::take() {
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

void block::look_for_leftovers() {
  const auto found = [&](const char* what) { cluster_.fails(std::make_exception_ptr(emulator_error(where() + " has ended with " + what))); };
  if (!tiles_.empty()) found("tiles on their way");
  tiles_.clear();
  for (const named_barrier& b : named_)
    if (b.arrived != 0) found("arrivals at a barrier that nobody has waited for");
  for (const device_thread& thread : threads_)
    if (thread.meeting != 0) found("arrivals at its cluster that were not waited for");
  for (std::size_t w = 0; w < warps_.size(); ++w) {
    if (!warps_[w].products.empty()) found("products in flight");
    if (warps_[w].num_products != issued_[w * warp_size / warpgroup_size].size()) found("warps of a warpgroup that have issued different products");
  }
}

std::string block::deadlock_report() const {
  std::string report = "deadlock in " + where() + ":";
  for (const device_thread& thread : threads_) {
    report += "\n  thread " + std::to_string(thread.idx);
    report += thread.done ? " has ended" : " waits at " + std::string(thread.waits_at);
  }
  return report;
}

}  // namespace emulator
}  // namespace simt
}  // namespace v0
}  // namespace rapt
