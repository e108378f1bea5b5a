// Which block of a cluster goes on next, how all of them meet, and how they end.
#include <kernels/simt/block_cluster.hpp>

namespace rapt {
inline namespace v0 {
namespace simt {
namespace emulator {

block_cluster::block_cluster(unsigned num_blocks, index3 grid, unsigned num_threads, std::size_t shared_bytes, const std::function<void()>& body)
    : num_threads_(std::size_t{num_blocks} * num_threads), random_(current_schedule.seed) {
  for (unsigned rank = 0; rank < num_blocks; ++rank) blocks_.push_back(std::make_unique<block>(*this, rank, grid, num_threads, shared_bytes, body));
}

void block_cluster::run(index3 first) {
  num_arrived_ = num_meetings_ = 0;
  for (const auto& b : blocks_) {
    b->begin(first);
    ++first.x;
  }
  main_.switch_to(*next(*blocks_.front()));
  running = nullptr;
  for (const auto& b : blocks_) b->end();
  if (!error_)
    for (const auto& b : blocks_) b->look_for_leftovers();
  if (error_) std::rethrow_exception(error_);
}

void block_cluster::arrive(block& of) {
  device_thread& thread = of.self();
  if (thread.meeting != 0) fail("barrier.cluster.arrive", "the thread has not waited for the meeting before");
  release(meets_.token());
  thread.meeting = num_meetings_ + 1;
  if (++num_arrived_ < num_threads_) return;
  num_arrived_ = 0;
  ++num_meetings_;
  meets_.ends();
  for (const auto& b : blocks_) b->cluster_has_met();
}

void block_cluster::wait(block& of) {
  device_thread& thread = of.self();
  if (thread.meeting == 0) fail("barrier.cluster.wait", "the thread has not arrived");
  const void* const token = thread.meeting > num_meetings_ ? meets_.token() : meets_.token_before();
  if (thread.meeting > num_meetings_)
    of.wait_for_cluster();
  else
    of.give_way();
  thread.meeting = 0;
  acquire(token);
}

fibre* block_cluster::next(block& from) {
  from.land_some();
  block* const to = error_ ? nullptr : block_to_run(from);
  if (to != nullptr) {
    running = to;
    return to->take();
  }
  if (const std::string report = deadlock_report(); !report.empty()) fails(std::make_exception_ptr(emulator_error(report)));
  return &main_;
}

block* block_cluster::block_to_run(block& from) {
  if (current_schedule.order == thread_order::random) {
    std::vector<block*> able;
    for (const auto& b : blocks_)
      if (b->can_go_on()) able.push_back(b.get());
    return able.empty() ? nullptr : able[able.size() == 1 ? 0 : random_() % able.size()];
  }
  if (from.can_go_on()) return &from;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    block& b = *blocks_[current_schedule.order == thread_order::descending ? blocks_.size() - 1 - i : i];
    if (b.can_go_on()) return &b;
  }
  return nullptr;
}

/// Of the blocks that have not ended.
std::string block_cluster::deadlock_report() const {
  std::string report;
  for (const auto& b : blocks_)
    if (!b->has_ended()) report += (report.empty() ? "" : "\n") + b->deadlock_report();
  return report;
}

}  // namespace emulator
}  // namespace simt
}  // namespace v0
}  // namespace rapt
