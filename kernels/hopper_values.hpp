// Values that are not finite, in tiles that some row sees in part: 0 times NaN is NaN on a tensor core, so a row that does not see such a key must
// not meet it there. They are taken out of the tile, and what they add to rows that see them is added apart.
#pragma once
#include <kernels/hopper_tile.hpp>
#include <kernels/simt/warp.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// acc += weight * value for each value that is not finite and each of the thread's two rows that sees its key. `first_key`: of the tile.
template <class Shape>
RAPT_DEVICE void add_not_finite(float (&acc)[Shape::head_dim / 2], const simt::mma_a (&weights)[Shape::keys / 16],
                                const typename hopper_storage<Shape>::key_tile& v, int first_key, key_range low, key_range high) {
  using T = typename Shape::element;
  const unsigned lane = simt::lane_idx();
  // In memory, where an index that is no constant does no harm: this is rare.
  simt::mma_a all[Shape::keys / 16];
  RAPT_UNROLL for (int k = 0; k < Shape::keys / 16; ++k) all[k] = weights[k];
  RAPT_NO_UNROLL for (int line = 0; line < Shape::keys; ++line) {
    const int i = line % 16, key = first_key + line;
    float weight[2];
    RAPT_UNROLL for (int r = 0; r < 2; ++r) {
      const std::uint32_t own = all[line / 16].registers[i / 8 * 2 + r];
      const std::uint32_t pair = simt::shuffle(own, lane / 4 * 4 + static_cast<unsigned>(i) % 8 / 2);
      weight[r] = simt::widen<T>(static_cast<std::uint16_t>(i % 2 != 0 ? pair >> 16 : pair & 0xffffu));
    }
    const bool seen[2] = {key >= low.first && key < low.last, key >= high.first && key < high.last};
    RAPT_UNROLL for (int n = 0; n < Shape::head_dim / 8; ++n) {
      const unsigned chunk = static_cast<unsigned>((n % 8) ^ (line % 8));
      const std::uint32_t pair = *reinterpret_cast<const std::uint32_t*>(v.boxes[n / 8] + line * 64 + chunk * 8 + lane % 4 * 2);
      const std::uint32_t rest = pair ^ finite_halves<T>(pair);
      RAPT_UNROLL for (int e = 0; e < 2; ++e) {
        const auto half = static_cast<std::uint16_t>(rest >> 16 * e);
        if (half == 0) continue;
        RAPT_UNROLL for (int r = 0; r < 2; ++r) if (seen[r]) acc[n * 4 + r * 2 + e] += weight[r] * simt::widen<T>(half);
      }
    }
  }
}

/// Makes a tile of values, of which some are not finite, one that every row may be multiplied with. All consumers call it, with nothing in flight on
/// `acc`; barrier `Id` is theirs.
template <class Shape, int Id>
RAPT_DEVICE void take_out_not_finite(typename hopper_storage<Shape>::key_tile& v, float (&acc)[Shape::head_dim / 2],
                                     const simt::mma_a (&weights)[Shape::keys / 16], unsigned consumer, int first_key, key_range low,
                                     key_range high) {
  add_not_finite<Shape>(acc, weights, v, first_key, low, high);
  // Until all have looked.
  simt::sync_named<Id>(Shape::consumers);
  auto* const all = reinterpret_cast<eight_elements*>(v.boxes);
  RAPT_NO_UNROLL for (unsigned i = consumer; i < Shape::boxes * Shape::keys * 8; i += Shape::consumers)
      RAPT_UNROLL for (std::uint32_t& word : all[i].words) word = finite_halves<typename Shape::element>(word);
  simt::fence_async_proxy();
  simt::sync_named<Id>(Shape::consumers);
}

}  // namespace kernels
}  // namespace v0
}  // namespace rapt
