// Bits of keys and values between the packed layout and canonical rows, for state files: at the rate of the disk, so at that of memory. Values are
// copied by 16 columns. Keys are transposed, 16 tokens at a time, in squares that fill a vector register on each side.
#include <cpu/context_impl.hpp>

#include <emmintrin.h>

namespace rapt {
inline namespace v0 {
namespace cpu {
namespace {

/// Rows of a square of `Bits`, 16 bytes each.
template <class Bits>
struct square {
  static constexpr index_t side = 16 / sizeof(Bits);
  __m128i rows[side];

  static __m128i zip_low(__m128i a, __m128i b) {
    if constexpr (sizeof(Bits) == 2)
      return _mm_unpacklo_epi16(a, b);
    else if constexpr (sizeof(Bits) == 4)
      return _mm_unpacklo_epi32(a, b);
    else
      return _mm_unpacklo_epi64(a, b);
  }
  static __m128i zip_high(__m128i a, __m128i b) {
    if constexpr (sizeof(Bits) == 2)
      return _mm_unpackhi_epi16(a, b);
    else if constexpr (sizeof(Bits) == 4)
      return _mm_unpackhi_epi32(a, b);
    else
      return _mm_unpackhi_epi64(a, b);
  }
  /// Each row beside the one half a square below it.
  square zipped() const {
    square all;
    for (index_t i = 0; i < side / 2; ++i) {
      all.rows[2 * i] = zip_low(rows[i], rows[i + side / 2]);
      all.rows[2 * i + 1] = zip_high(rows[i], rows[i + side / 2]);
    }
    return all;
  }
  /// Zipping moves the lowest bit of the row's number to the column's and its highest one down: after log2(side) times they have changed places.
  square transposed() const {
    if constexpr (side == 8)
      return zipped().zipped().zipped();
    else if constexpr (side == 4)
      return zipped().zipped();
    else
      return zipped();
  }
  void load(const Bits* from, index_t stride) {
    for (index_t i = 0; i < side; ++i) rows[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i * stride));
  }
  void store(Bits* to, index_t stride) const {
    for (index_t i = 0; i < side; ++i) _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i * stride), rows[i]);
  }
};

/// One head's keys of 16 tokens: packed [head_dim][16], canonical rows token_stride elements apart.
template <class Bits, bool exporting>
void move_key_group(Bits* packed, Bits* canonical, index_t token_stride, index_t head_dim) {
  constexpr index_t side = square<Bits>::side;
  index_t d = 0;
  for (; d + side <= head_dim; d += side)
    for (index_t lane = 0; lane < lane_group; lane += side) {
      Bits* const group = packed + d * lane_group + lane;
      Bits* const rows = canonical + lane * token_stride + d;
      square<Bits> elements;
      if constexpr (exporting) {
        elements.load(group, lane_group);
        elements.transposed().store(rows, token_stride);
      } else {
        elements.load(rows, token_stride);
        elements.transposed().store(group, lane_group);
      }
    }
  for (; d < head_dim; ++d)
    for (index_t lane = 0; lane < lane_group; ++lane) {
      if constexpr (exporting)
        canonical[lane * token_stride + d] = packed[d * lane_group + lane];
      else
        packed[d * lane_group + lane] = canonical[lane * token_stride + d];
    }
}

/// The same of one token, whose lane `packed` points to.
template <class Bits, bool exporting>
void move_key(Bits* packed, Bits* canonical, index_t head_dim) {
  for (index_t d = 0; d < head_dim; ++d) {
    if constexpr (exporting)
      canonical[d] = packed[d * lane_group];
    else
      packed[d * lane_group] = canonical[d];
  }
}

template <class Bits, bool exporting>
void move_value(const packed_kv& kv, Bits* packed, Bits* canonical, index_t slot) {
  const auto move = [](Bits* in_page, Bits* row, std::size_t bytes) { std::memcpy(exporting ? row : in_page, exporting ? in_page : row, bytes); };
  const value_layout values = kv.values();
  const index_t step = lane_group * values.keys_of(values.block_of(slot));
  packed += values.offset(slot, 0);
  index_t column = 0;
  for (; column + lane_group <= kv.value_dim; column += lane_group, packed += step) move(packed, canonical + column, lane_group * sizeof(Bits));
  if (column < kv.value_dim) move(packed, canonical + column, static_cast<std::size_t>(kv.value_dim - column) * sizeof(Bits));
}

template <class Bits, bool exporting>
void move_rows(const transfer_params& t) {
  const packed_kv& kv = t.kv;
  const index_t k_stride = kv.num_heads * kv.head_dim, v_stride = kv.num_heads * kv.value_dim;
  for (index_t i = 0; i < t.count;) {
    const index_t index = t.first + i, page = t.pages != nullptr ? t.pages[index / kv.page_len] : t.kv_batch;
    const index_t slot = t.pages != nullptr ? index % kv.page_len : index;
    const bool is_group = slot % lane_group == 0 && t.count - i >= lane_group;
    const index_t num_tokens = is_group ? lane_group : 1;
    for (index_t h = 0; h < kv.num_heads; ++h) {
      std::byte* const head = kv.base + page * kv.page_bytes + h * kv.head_bytes;
      if (t.k != nullptr) {
        Bits* const packed = reinterpret_cast<Bits*>(head) + slot / lane_group * lane_group * kv.head_dim + slot % lane_group;
        Bits* const canonical = static_cast<Bits*>(t.k) + i * k_stride + h * kv.head_dim;
        if (is_group)
          move_key_group<Bits, exporting>(packed, canonical, k_stride, kv.head_dim);
        else
          move_key<Bits, exporting>(packed, canonical, kv.head_dim);
      }
      for (index_t n = 0; t.v != nullptr && n < num_tokens; ++n)
        move_value<Bits, exporting>(kv, reinterpret_cast<Bits*>(head + kv.value_offset),
                                    static_cast<Bits*>(t.v) + (i + n) * v_stride + h * kv.value_dim, slot + n);
    }
    i += num_tokens;
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
