// A backend that moves bits and computes nothing: tests of state need keys, values and weights in their places, not attention.
#pragma once
#include <rapt/core/backend.hpp>
#include <rapt/core/tensor_view.hpp>

#include <cstring>
#include <new>
#include <string>
#include <vector>

namespace rapt_test {

struct bits_backend;

class bits_context {
 public:
  using backend_type = bits_backend;
  explicit bits_context(std::string numerics = "bits-v1") : numerics_(std::move(numerics)) {}
  rapt::workspace begin_call(std::size_t) { return {}; }
  rapt::sequence_rows* sequences(rapt::index_t count) {
    rows_.resize(static_cast<std::size_t>(count));
    return rows_.data();
  }
  std::string_view numerics(const rapt::attention_types&) const { return numerics_; }
  rapt::failure check_numerics(const char*, std::string_view, const rapt::attention_types&) const { return {}; }
  void check() const {}

 private:
  std::string numerics_;
  std::vector<rapt::sequence_rows> rows_;
};

struct bits_backend {
  using context = bits_context;
  using space = rapt::host_space;
  using index_t = rapt::index_t;

  static rapt::buffer allocate(context&, std::size_t bytes) {
    auto* data = static_cast<std::byte*>(::operator new(bytes + 1, std::align_val_t(64)));
    std::memset(data, 0xcd, bytes);
    return {data, bytes, [](std::byte* memory, std::size_t) { ::operator delete(memory, std::align_val_t(64)); }};
  }
  static void copy(context&, std::byte* to, const std::byte* from, std::size_t bytes) noexcept { std::memcpy(to, from, bytes); }
  static void repeat(context&, std::byte*, const std::byte*, index_t, index_t, index_t) noexcept {}
  static void project(context&, const rapt::project_params&, rapt::workspace&) noexcept {}
  static void rotate(context&, const rapt::rotate_params&, rapt::workspace&) noexcept {}
  static void append(context&, const rapt::append_params&, rapt::workspace&) noexcept {}
  static void attend(context&, const rapt::attend_params&, rapt::workspace&) noexcept {}
  static void merge(context&, const rapt::merge_params&, rapt::workspace&) noexcept {}
  static void export_kv(context&, const rapt::transfer_params& p) noexcept { transfer(p, true); }
  static void import_kv(context&, const rapt::transfer_params& p) noexcept { transfer(p, false); }
  static void pack(context&, const rapt::pack_params& p) noexcept { move_matrix(p, true); }
  static void unpack(context&, const rapt::pack_params& p) noexcept { move_matrix(p, false); }

 private:
  static void transfer(const rapt::transfer_params& p, bool out) {
    const rapt::packed_kv& kv = p.kv;
    const index_t size = rapt::size_of(kv.type);
    const auto move = [&](std::byte* packed, void* rows, index_t element) {
      std::byte* const canonical = static_cast<std::byte*>(rows) + element * size;
      std::memcpy(out ? canonical : packed, out ? packed : canonical, static_cast<std::size_t>(size));
    };
    for (index_t t = 0; t < p.count; ++t)
      for (index_t h = 0; h < kv.num_heads; ++h) {
        const index_t token = p.first + t, slot = p.pages ? token % kv.page_len : token;
        const index_t page = p.pages ? p.pages[token / kv.page_len] : p.kv_batch;
        std::byte* const head = kv.base + page * kv.page_bytes + h * kv.head_bytes;
        for (index_t d = 0; p.k && d < kv.head_dim; ++d)
          move(head + ((slot / 16 * kv.head_dim + d) * 16 + slot % 16) * size, p.k, (t * kv.num_heads + h) * kv.head_dim + d);
        for (index_t d = 0; p.v && d < kv.value_dim; ++d)
          move(head + kv.value_offset + (kv.values().offset(slot, d / 16 * 16) + d % 16) * size, p.v, (t * kv.num_heads + h) * kv.value_dim + d);
      }
  }
  static void move_matrix(const rapt::pack_params& p, bool in) {
    const rapt::operand& s = p.source;
    const index_t size = rapt::size_of(s.type);
    for (index_t row = 0; row < s.rows(); ++row)
      for (index_t h = 0; h < s.heads; ++h)
        for (index_t d = 0; d < s.dim; ++d) {
          const index_t column = p.first_column + h * s.dim + d;
          auto* const packed =
              const_cast<std::byte*>(static_cast<const std::byte*>(p.to.data)) + ((column / 16 * p.to.depth + row) * 16 + column % 16) * size;
          auto* const plain = static_cast<std::byte*>(s.data) + (s.offset(row, h) + d * s.dim_stride) * size;
          std::memcpy(in ? packed : plain, in ? plain : packed, static_cast<std::size_t>(size));
        }
  }
};
static_assert(rapt::backend<bits_backend>);

}  // namespace rapt_test
