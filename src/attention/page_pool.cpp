#include <rapt/attention/page_pool.hpp>

#include <algorithm>

namespace rapt {
inline namespace v0 {

page_pool::page_pool(index_t num_pages, index_t page_len, index_t max_sequences)
    : page_len_(page_len),
      slots_(at(max_sequences)),
      references_(at(num_pages)),
      free_(at(num_pages)),
      positions_(new index_t[at(num_pages * page_len)]) {
  for (index_t i = 0; i < num_pages; ++i) free_[at(i)] = static_cast<std::int32_t>(num_pages - 1 - i);  // page 0 is taken first
  undo_.reserve(slots_.size());
  copies_.reserve(slots_.size());
}

failure page_pool::check_closed(const char* call) const {
  if (!open_) return {};
  return {errc::state, std::string("kv_cache: ") + call + " while a step is open; commit it or let it go first"};
}

int page_pool::add() {
  const auto unused = std::find_if(slots_.begin(), slots_.end(), [](const slot_state& s) { return !s.used; });
  if (unused == slots_.end())
    raise(errc::capacity, "kv_cache: " + std::to_string(slots_.size()) + " sequences are in use; max_sequences is " + std::to_string(slots_.size()));
  unused->table.reserve(references_.size());  // untouched until used
  unused->used = true;
  ++used_slots_;
  return static_cast<int>(unused - slots_.begin());
}

int page_pool::fork(int slot) {
  raise_if(check_closed("fork"));
  const int copy = add();
  const slot_state& from = slots_[at(slot)];
  slot_state& to = slots_[at(copy)];
  to.table = from.table;  // within the capacity that add() reserved
  to.kv_len = from.kv_len, to.first_explicit = from.first_explicit;
  for (const std::int32_t page : to.table) ++references_[at(page)];
  return copy;
}

void page_pool::release_page(std::int32_t page) noexcept {
  if (--references_[at(page)] == 0) free_.push_back(page);  // never past the capacity it was made with
}

void page_pool::release(slot_state& slot) noexcept {
  for (const std::int32_t page : slot.table) release_page(page);
  slot.table.clear();
  slot.kv_len = 0, slot.first_explicit = -1;
  slot.used = slot.removed = false;
  --used_slots_;
}

void page_pool::remove(int slot) noexcept {
  if (open_)
    slots_[at(slot)].removed = true;
  else
    release(slots_[at(slot)]);
}

void page_pool::release_removed() noexcept {
  for (slot_state& slot : slots_)
    if (slot.removed) release(slot);
}

void page_pool::truncate(int slot, index_t kv_len) {
  raise_if(check_closed("truncate"));
  slot_state& s = slots_[at(slot)];
  if (kv_len < 0 || kv_len > s.kv_len)
    raise(errc::range, "kv_cache: truncate to " + std::to_string(kv_len) + " tokens; 0 to " + std::to_string(s.kv_len) + " is needed");
  const auto kept = at(ceil_div(kv_len, page_len_));
  for (std::size_t i = kept; i < s.table.size(); ++i) release_page(s.table[i]);
  s.table.resize(kept);
  s.kv_len = kv_len;
  if (s.first_explicit >= kv_len) s.first_explicit = -1;
}

index_t page_pool::position(int slot, index_t index) const {
  const std::int32_t page = slots_[at(slot)].table[at(index / page_len_)];
  return positions_[at(page * page_len_ + index % page_len_)];
}

failure page_pool::check(std::span<const request> requests) const {
  if (failure f = check_closed("begin_step")) return f;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const request& r = requests[i];
    const auto where = [i] { return "kv_cache: begin_step entry " + std::to_string(i); };
    if (r.count < 0) return {errc::shape, where() + " appends " + std::to_string(r.count) + " rows; 0 or more are needed"};
    if (!r.positions.empty() && static_cast<index_t>(r.positions.size()) != r.count)
      return {errc::shape, where() + " has " + std::to_string(r.positions.size()) + " positions; one for each of its " + std::to_string(r.count) +
                               " rows is needed"};
    for (const index_t p : r.positions)
      if (p < 0 || p > max_position) return {errc::shape, where() + " has position " + std::to_string(p) + "; explicit positions are 0 to 2^62"};
    for (std::size_t j = 0; j < i; ++j)
      if (requests[j].slot == r.slot)
        return {errc::shape, where() + " names the sequence of entry " + std::to_string(j) + " again; one entry each is needed"};
  }
  index_t needed = 0;
  for (const request& r : requests) {
    needed += pages_of(r);
    if (needed <= num_free_pages()) continue;
    const index_t len = kv_len(r.slot);
    return {errc::capacity, "kv_cache: begin_step appends " + std::to_string(r.count) + " rows to a sequence of " + std::to_string(len) +
                                " tokens (" + std::to_string(ceil_div(len, page_len_)) + " pages of " + std::to_string(page_len_) + "); " +
                                std::to_string(num_free_pages()) + " of " + std::to_string(num_pages()) + " pages are free for the whole step"};
  }
  return {};
}

void page_pool::begin(std::span<const request> requests) {
  raise_if(check(requests));
  open_ = true;
  for (const request& r : requests) reserve(r);
}

bool page_pool::copies_last_page(const request& wanted) const {
  const slot_state& s = slots_[at(wanted.slot)];
  return wanted.count > 0 && s.kv_len % page_len_ != 0 && references_[at(s.table.back())] > 1;
}

index_t page_pool::pages_of(const request& wanted) const {
  const slot_state& s = slots_[at(wanted.slot)];
  if (wanted.count > num_pages() * page_len_ - s.kv_len) return num_pages() + 1;
  return ceil_div(s.kv_len + wanted.count, page_len_) - static_cast<index_t>(s.table.size()) + (copies_last_page(wanted) ? 1 : 0);
}

void page_pool::reserve(const request& wanted) {
  slot_state& s = slots_[at(wanted.slot)];
  const bool copies_last = copies_last_page(wanted);
  const index_t new_pages = pages_of(wanted) - (copies_last ? 1 : 0);
  const auto take = [&] {
    const std::int32_t page = free_.back();
    free_.pop_back();
    references_[at(page)] = 1;
    return page;
  };
  undo_.push_back({wanted.slot, s.kv_len, wanted.count, static_cast<index_t>(s.table.size()), s.first_explicit, -1});
  if (copies_last) {
    std::int32_t& last = s.table.back();
    undo_.back().replaced = last;
    const std::int32_t copy = take();
    std::copy_n(&positions_[at(last * page_len_)], page_len_, &positions_[at(copy * page_len_)]);
    copies_.push_back({last, copy});
    last = copy;  // the shared page stays referenced until commit, so that nobody writes into what a rollback gives back
  }
  for (index_t i = 0; i < new_pages; ++i) s.table.push_back(take());
  for (index_t i = 0; i < wanted.count; ++i) {
    const index_t index = s.kv_len + i, position = wanted.positions.empty() ? index : wanted.positions[at(i)];
    positions_[at(s.table[at(index / page_len_)] * page_len_ + index % page_len_)] = position;
    if (position != index && s.first_explicit < 0) s.first_explicit = index;
  }
}

void page_pool::commit() noexcept {
  for (const undo& u : undo_) {
    slots_[at(u.slot)].kv_len = u.kv_len + u.count;
    if (u.replaced >= 0) release_page(u.replaced);
  }
  undo_.clear();
  copies_.clear();
  open_ = false;
  release_removed();
}

void page_pool::rollback() noexcept {
  for (auto u = undo_.rbegin(); u != undo_.rend(); ++u) {
    slot_state& s = slots_[at(u->slot)];
    while (static_cast<index_t>(s.table.size()) > u->table_len) {
      release_page(s.table.back());
      s.table.pop_back();
    }
    s.first_explicit = u->first_explicit;
    if (u->replaced < 0) continue;
    release_page(s.table.back());
    s.table.back() = u->replaced;
  }
  undo_.clear();
  copies_.clear();
  open_ = false;
  release_removed();
}

}  // namespace v0
}  // namespace rapt
