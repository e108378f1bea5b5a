// The CPU's packed keys and values as devices have them: pages that hold for each KV head keys [page_len][head_dim], then values
// [page_len][value_dim]. NaN where nothing was put.
#pragma once
#include <contract/params_model.hpp>

#include <functional>
#include <vector>

namespace rapt_test {

struct row_cache {
  std::vector<std::byte> bytes;
  std::vector<std::int32_t> page_table;
  std::vector<int> first_pages;  ///< of each sequence, in page_table
  rapt::operand k, v;

  row_cache() = default;
  row_cache(row_cache&&) = default;
  row_cache& operator=(row_cache&&) = default;
  /// kv_lens: tokens of each sequence.
  row_cache(const rapt::packed_kv& kv, const rapt::sequence_rows* sequences, const std::vector<rapt::index_t>& kv_lens) {
    std::int32_t num_pages = 0;
    for (std::size_t n = 0; n < kv_lens.size(); ++n) {
      first_pages.push_back(static_cast<int>(page_table.size()));
      for (rapt::index_t first = 0; first < kv_lens[n]; first += kv.page_len) {
        page_table.push_back(sequences[n].pages != nullptr ? sequences[n].pages[first / kv.page_len]
                                                           : static_cast<std::int32_t>(sequences[n].kv_batch));
        num_pages = std::max(num_pages, page_table.back() + 1);
      }
    }
    const rapt::index_t head = kv.page_len * (kv.head_dim + kv.value_dim);
    bytes.assign(static_cast<std::size_t>(num_pages * kv.num_heads * head * size_of(kv.type)), std::byte{0xff});
    const auto view = [&](rapt::index_t first, rapt::index_t dim) {
      rapt::operand o;
      o.data = bytes.data() + first * size_of(kv.type), o.type = kv.type, o.heads = kv.num_heads, o.dim = dim;
      o.batch_stride = kv.num_heads * head, o.len_stride = dim, o.head_stride = head;
      return o;
    };
    k = view(0, kv.head_dim), v = view(kv.page_len * kv.head_dim, kv.value_dim);
  }

  /// f(element of the packed cache, bytes of the same element here) for keys [first, last) of a sequence.
  static void for_each_element(row_cache& c, const rapt::packed_kv& kv, const rapt::sequence_rows& s, rapt::index_t first, rapt::index_t last,
                               const std::function<void(const std::byte*, std::byte*)>& f) {
    const contract::kv_place place{&kv, &s};
    const rapt::index_t size = size_of(kv.type);
    for (rapt::index_t j = first; j < last; ++j)
      for (rapt::index_t h = 0; h < kv.num_heads; ++h) {
        const auto here = [&](const rapt::operand& o, rapt::index_t d) {
          return static_cast<std::byte*>(o.data) + (place.page(j) * o.batch_stride + place.slot(j) * o.len_stride + h * o.head_stride + d) * size;
        };
        for (rapt::index_t d = 0; d < kv.head_dim; ++d) f(kv.base + place.key_element(j, h, d) * size, here(c.k, d));
        for (rapt::index_t d = 0; d < kv.value_dim; ++d) f(kv.base + place.value_element(j, h, d) * size, here(c.v, d));
      }
  }
};

}  // namespace rapt_test
