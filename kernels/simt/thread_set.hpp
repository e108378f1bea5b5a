// Some threads of a block of the emulator's.
#pragma once
#include <kernels/simt/extent.hpp>

#include <bit>

namespace rapt {
inline namespace v0 {
namespace simt {
namespace emulator {

/// A bit for each thread: a word is a warp.
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

}  // namespace emulator
}  // namespace simt
}  // namespace v0
}  // namespace rapt
