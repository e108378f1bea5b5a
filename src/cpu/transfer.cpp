// Bits of keys and values between the packed layout and canonical rows, for state files. Nothing is computed.
#include <cpu/context_impl.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {
namespace {

template <class Bits, bool exporting>
void move_rows(const transfer_params& t) {
  const packed_kv& kv = t.kv;
  constexpr index_t size = sizeof(Bits);
  for (index_t i = 0; i < t.count; ++i) {
    const index_t index = t.first + i, page = t.pages != nullptr ? t.pages[index / kv.page_len] : t.kv_batch;
    const index_t slot = t.pages != nullptr ? index % kv.page_len : index;
    for (index_t h = 0; h < kv.num_heads; ++h) {
      std::byte* const head = kv.base + page * kv.page_bytes + h * kv.head_bytes;
      Bits* const packed = reinterpret_cast<Bits*>(head) + slot / lane_group * lane_group * kv.head_dim + slot % lane_group;
      if (t.k != nullptr) {
        Bits* const canonical = static_cast<Bits*>(t.k) + (i * kv.num_heads + h) * kv.head_dim;
        for (index_t d = 0; d < kv.head_dim; ++d) {
          if constexpr (exporting)
            canonical[d] = packed[d * lane_group];
          else
            packed[d * lane_group] = canonical[d];
        }
      }
      if (t.v == nullptr) continue;
      for (index_t column = 0; column < kv.value_dim; column += lane_group) {
        std::byte* const value = head + kv.value_offset + kv.values().offset(slot, column) * size;
        std::byte* const canonical = static_cast<std::byte*>(t.v) + ((i * kv.num_heads + h) * kv.value_dim + column) * size;
        const auto bytes = static_cast<std::size_t>(std::min(lane_group, kv.value_dim - column) * size);
        std::memcpy(exporting ? canonical : value, exporting ? value : canonical, bytes);
      }
    }
  }
}
template <bool exporting>
void move_rows_of(const transfer_params& t) {
  switch (size_of(t.kv.type)) {
    case 2:
      return move_rows<std::uint16_t, exporting>(t);
    case 4:
      return move_rows<std::uint32_t, exporting>(t);
    default:
      return move_rows<std::uint64_t, exporting>(t);
  }
}

}  // namespace

void backend::export_kv(context&, const transfer_params& params) noexcept { move_rows_of<true>(params); }
void backend::import_kv(context&, const transfer_params& params) noexcept { move_rows_of<false>(params); }

}  // namespace cpu
}  // namespace v0
}  // namespace rapt
