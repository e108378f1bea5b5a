// Bits of any range of tokens go where the layout says and come back, and nothing beside them is touched.
#include <cpu/rig.hpp>
#include <rapt/attention/kv_layout.hpp>

namespace rapt_test {
namespace {

/// Pages of a layout in an order that is not theirs, all bytes 0xcd.
struct pages_of {
  packed_kv kv;
  index_t size;
  std::vector<std::int32_t> table;
  std::vector<std::byte> memory;

  pages_of(dtype type, index_t heads, index_t head_dim, index_t value_dim, index_t page_len, index_t num_pages)
      : kv(kv_layout(
            resolve({.model_dim = 4, .num_heads = heads, .num_kv_heads = heads, .head_dim = head_dim, .value_dim = value_dim, .kv_dtype = type}),
            heads, page_len)),
        size(size_of(type)),
        table(static_cast<std::size_t>(num_pages)),
        memory(static_cast<std::size_t>(kv_bytes(kv, num_pages)), std::byte{0xcd}) {
    for (index_t p = 0; p < num_pages; ++p) table[static_cast<std::size_t>(p)] = static_cast<std::int32_t>(num_pages - 1 - p);
    kv.base = memory.data();
  }
  transfer_params params(index_t first, index_t count, void* k, void* v) const { return {kv, table.data(), 0, first, count, k, v}; }
  /// The places of element d of a key and of a value.
  std::byte* key(index_t token, index_t head, index_t d) {
    const index_t slot = token % kv.page_len;
    return head_of(token, head) + ((slot / 16 * kv.head_dim + d) * 16 + slot % 16) * size;
  }
  std::byte* value(index_t token, index_t head, index_t d) {
    return head_of(token, head) + kv.value_offset + (kv.values().offset(token % kv.page_len, d / 16 * 16) + d % 16) * size;
  }

 private:
  std::byte* head_of(index_t token, index_t head) {
    return memory.data() + table[static_cast<std::size_t>(token / kv.page_len)] * kv.page_bytes + head * kv.head_bytes;
  }
};

TEST(transfer, any_range_of_tokens_goes_where_the_layout_says_and_comes_back) {
  cpu::context ctx({.num_threads = 1});
  std::mt19937 random(1);
  const auto below = [&](index_t n) { return static_cast<index_t>(random() % static_cast<unsigned>(n)); };
  for (const dtype type : {dtype::f16, dtype::f32, dtype::f64})
    for (const index_t head_dim : {1, 3, 7, 8, 9, 16, 21, 64})
      for (const index_t page_len : {16, 48, 64}) {
        const index_t value_dim = head_dim == 8 ? 33 : 1 + below(40), heads = 1 + below(3), len = 2 * page_len + 1 + below(page_len);
        SCOPED_TRACE(std::string(name_of(type)) + ", head_dim " + std::to_string(head_dim) + ", value_dim " + std::to_string(value_dim) +
                     ", pages of " + std::to_string(page_len));
        pages_of pages(type, heads, head_dim, value_dim, page_len, 3), expected = pages;
        const auto bytes_of = [&](index_t tokens, index_t dim) { return static_cast<std::size_t>(tokens * heads * dim * pages.size); };
        std::vector<std::byte> k(bytes_of(len, head_dim)), v(bytes_of(len, value_dim));
        for (std::byte& b : k) b = static_cast<std::byte>(random());
        for (std::byte& b : v) b = static_cast<std::byte>(random());
        const auto bytes = static_cast<std::size_t>(pages.size);
        for (index_t t = 0; t < len; ++t)
          for (index_t h = 0; h < heads; ++h) {
            for (index_t d = 0; d < head_dim; ++d)
              std::memcpy(expected.key(t, h, d), k.data() + ((t * heads + h) * head_dim + d) * pages.size, bytes);
            for (index_t d = 0; d < value_dim; ++d)
              std::memcpy(expected.value(t, h, d), v.data() + ((t * heads + h) * value_dim + d) * pages.size, bytes);
          }
        // Keys and values in ranges of their own, begun anywhere.
        for (index_t first = 0; first < len;) {
          const index_t count = std::min(len - first, 1 + below(40));
          cpu::backend::import_kv(ctx, pages.params(first, count, k.data() + bytes_of(first, head_dim), nullptr));
          first += count;
        }
        for (index_t first = 0; first < len;) {
          const index_t count = std::min(len - first, 1 + below(40));
          cpu::backend::import_kv(ctx, pages.params(first, count, nullptr, v.data() + bytes_of(first, value_dim)));
          first += count;
        }
        ASSERT_TRUE(pages.memory == expected.memory);
        for (int i = 0; i < 20; ++i) {
          const index_t first = below(len), count = below(len - first + 1);
          std::vector<std::byte> some_k(bytes_of(count, head_dim) + 1, std::byte{1}), some_v(bytes_of(count, value_dim) + 1, std::byte{2});
          cpu::backend::export_kv(ctx, pages.params(first, count, some_k.data(), some_v.data()));
          ASSERT_TRUE(std::equal(some_k.begin(), some_k.end() - 1, k.begin() + static_cast<std::ptrdiff_t>(bytes_of(first, head_dim))));
          ASSERT_TRUE(std::equal(some_v.begin(), some_v.end() - 1, v.begin() + static_cast<std::ptrdiff_t>(bytes_of(first, value_dim))));
          ASSERT_TRUE(some_k.back() == std::byte{1} && some_v.back() == std::byte{2});
        }
        ASSERT_TRUE(pages.memory == expected.memory);
      }
}

}  // namespace
}  // namespace rapt_test
