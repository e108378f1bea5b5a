// The books of a cache: which pages each sequence holds, how often a page is shared, and a step that can be taken back. Host memory only.
#pragma once
#include <rapt/core/error.hpp>
#include <rapt/core/params.hpp>

#include <memory>
#include <span>
#include <vector>

namespace rapt {
inline namespace v0 {

/// Sequences are numbered slots. Pages are shared by fork and copied on the first write. At most one step is open at a time; while one is, lengths
/// and tables may not change otherwise (state_error). Nothing here allocates after construction and add().
class RAPT_API page_pool {
 public:
  page_pool(index_t num_pages, index_t page_len, index_t max_sequences);

  /// An empty sequence. capacity_error where max_sequences are in use.
  int add();
  /// A sequence with the same contents; shares every page.
  int fork(int slot);
  /// Releases the slot and its pages; while a step is open, when that ends.
  void remove(int slot) noexcept;
  /// Cuts back to kv_len tokens, 0 <= kv_len <= what there is (range_error).
  void truncate(int slot, index_t kv_len);

  struct request {
    int slot;
    index_t count;                       ///< rows to append, 0 or more
    std::span<const index_t> positions;  ///< [count], or empty: the index
  };
  struct page_copy {
    std::int32_t from, to;
  };
  /// Opens a step: pages for all requests, shared last pages replaced. Throws capacity_error, shape_error or state_error, and then nothing has
  /// changed.
  void begin(std::span<const request> requests);
  /// What begin() would throw; nothing where it would open a step.
  failure check(std::span<const request> requests) const;
  /// Contents that the caller must copy before the step's first write.
  std::span<const page_copy> copies() const { return copies_; }
  /// Lengths advance by what was asked; the step is closed.
  void commit() noexcept;
  /// As if begin() had not been called.
  void rollback() noexcept;
  bool step_is_open() const { return open_; }

  index_t kv_len(int slot) const { return slots_[at(slot)].kv_len; }
  const std::int32_t* pages(int slot) const { return slots_[at(slot)].table.data(); }
  index_t position(int slot, index_t index) const;
  /// False where some token of the sequence has a position other than its index (those of the open step included).
  bool positions_are_default(int slot) const { return slots_[at(slot)].first_explicit < 0; }
  /// Position of every slot of every page, [num_pages][page_len].
  const index_t* positions() const { return positions_.get(); }

  index_t num_pages() const { return static_cast<index_t>(references_.size()); }
  index_t num_free_pages() const { return static_cast<index_t>(free_.size()); }
  index_t page_len() const { return page_len_; }
  index_t num_sequences() const { return used_slots_; }
  index_t max_sequences() const { return static_cast<index_t>(slots_.size()); }

 private:
  struct slot_state {
    std::vector<std::int32_t> table;
    index_t kv_len = 0;
    index_t first_explicit = -1;  ///< index of the first token whose position is not its index; -1: none
    bool used = false, removed = false;
  };
  struct undo {  ///< of one request
    int slot;
    index_t kv_len, count, table_len, first_explicit;
    std::int32_t replaced;  ///< the shared page that was copied, or -1
  };
  static std::size_t at(index_t i) { return static_cast<std::size_t>(i); }
  failure check_closed(const char* call) const;
  void release_page(std::int32_t page) noexcept;
  void release(slot_state& slot) noexcept;
  void release_removed() noexcept;
  bool copies_last_page(const request& wanted) const;
  /// Pages that a request takes; more than there are where it could never be served.
  index_t pages_of(const request& wanted) const;
  void reserve(const request& wanted);

  index_t page_len_;
  std::vector<slot_state> slots_;
  std::vector<std::int32_t> references_;  ///< per page; 0: free
  std::vector<std::int32_t> free_;
  std::unique_ptr<index_t[]> positions_;
  std::vector<undo> undo_;
  std::vector<page_copy> copies_;
  index_t used_slots_ = 0;
  bool open_ = false;
};

}  // namespace v0
}  // namespace rapt
