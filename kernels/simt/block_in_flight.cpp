// What is under way in a block: copies of threads, tiles of the copy engine, products of warpgroups. Each lands as the schedule has it.
#include <kernels/simt/block.hpp>

#include <algorithm>
#include <cstring>

namespace rapt {
inline namespace v0 {
namespace simt {
namespace emulator {

void block::copy_tile(std::uint32_t barrier, unsigned bytes, std::function<void()> land) {
  if (!barrier_at(barrier, "cp.async.bulk").fenced) fail("cp.async.bulk", "the barrier's initialisation is not fenced");
  tiles_.push_back({barrier, bytes, std::move(land)});
  if (current_schedule.copies == landing::at_issue) land_tile(tiles_.size() - 1);
}

void block::land_tile(std::size_t idx) {
  const tile_copy c = std::move(tiles_[idx]);
  tiles_.erase(tiles_.begin() + static_cast<std::ptrdiff_t>(idx));
  c.land();
  phase_barrier& b = barriers_.at(c.barrier);
  b.bytes -= c.bytes;
  end_phase(b);
}

void block::issue(const copy& c) {
  std::memset(c.destination, nan_byte, copy_bytes);
  if (current_schedule.copies == landing::at_issue)
    c.land();
  else
    self_->copies.push_back(c);
}

void block::land_copies(unsigned first_group_in_flight) {
  auto& copies = self_->copies;
  const auto end = std::partition_point(copies.begin(), copies.end(), [&](const copy& c) { return c.group < first_group_in_flight; });
  if (current_schedule.copies == landing::random) std::shuffle(copies.begin(), end, random_);
  {
    const looked_at l;
    std::for_each(copies.begin(), end, [](const copy& c) { c.land(); });
  }
  copies.erase(copies.begin(), end);
}

void block::land_some() {
  if (current_schedule.copies != landing::in_order && current_schedule.copies != landing::random) return;
  const bool random = current_schedule.copies == landing::random;
  if (!tiles_.empty() && (!random || random_() % 4 == 0)) land_tile(random ? random_() % tiles_.size() : 0);
  device_thread& thread = threads_[(random ? random_() : turn_++) % threads_.size()];
  if (thread.copies.empty()) return;
  const auto it = thread.copies.begin() + static_cast<std::ptrdiff_t>(random ? random_() % thread.copies.size() : 0);
  it->land();
  thread.copies.erase(it);
}

void block::issue_product(std::uint64_t a, std::uint64_t b, std::function<void()> compute) {
  if (threads_.size() % warpgroup_size != 0) fail("wgmma", "the block is no whole warpgroups");
  device_warp& warp = own_warp();
  if (!warp.fenced) fail("wgmma", "no wgmma.fence since the warp waited last");
  issued_products& of_group = issued_[self_->idx / warpgroup_size];
  if (warp.num_products == of_group.size()) of_group.emplace_back(a, b);
  if (of_group[warp.num_products++] != std::pair(a, b)) fail("wgmma", "the warps of a warpgroup issue different products");
  warp.products.push_back({warp.group, std::move(compute)});
}

void block::wait_for_products(unsigned groups) {
  device_warp& warp = own_warp();
  warp.fenced = false;
  while (!warp.products.empty() && warp.products.front().group + groups < warp.group) {
    const product oldest = std::move(warp.products.front());
    warp.products.erase(warp.products.begin());
    const looked_at l;
    oldest.compute();
  }
}

}  // namespace emulator
}  // namespace simt
}  // namespace v0
}  // namespace rapt
