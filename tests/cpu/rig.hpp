// Operands, packed caches and calls for the tests of the CPU backend.
#pragma once
#include <rapt/cpu/context.hpp>
#include <rapt/ops/attend_reference.hpp>

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace rapt_test {
using namespace rapt;

template <class T>
std::vector<T> random_values(std::uint64_t seed, index_t n, double scale = 1) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> normal(0, scale);
  std::vector<T> values;
  for (index_t i = 0; i < n; ++i) {
    if constexpr (sizeof(T) == 2)
      values.push_back(T(static_cast<float>(normal(generator))));
    else
      values.push_back(static_cast<T>(normal(generator)));
  }
  return values;
}

template <class T>
double as_double(T x) {
  if constexpr (sizeof(T) == 2)
    return static_cast<double>(static_cast<float>(x));
  else
    return static_cast<double>(x);
}

/// Rows [len, heads, dim], contiguous.
template <class T>
operand rows_of(const std::vector<T>& data, index_t len, index_t heads, index_t dim) {
  return operand_of(view(const_cast<T*>(data.data()), index_t{1}, len, heads, dim));
}

template <class T>
testing::AssertionResult same_bits(const std::vector<T>& got, const std::vector<T>& expected) {
  if (got.size() != expected.size()) return testing::AssertionFailure() << got.size() << " elements, expected " << expected.size();
  for (std::size_t i = 0; i < got.size(); ++i)
    if (std::memcmp(&got[i], &expected[i], sizeof(T)) != 0)
      return testing::AssertionFailure() << "element " << i << ": got " << as_double(got[i]) << ", expected " << as_double(expected[i]);
  return testing::AssertionSuccess();
}

template <class T>
double max_abs(const std::vector<T>& x) {
  double max = 0;
  for (const T v : x) max = std::max(max, std::abs(as_double(v)));
  return max;
}
template <class T>
double max_difference(const std::vector<T>& got, const std::vector<double>& expected) {
  double max = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isinf(expected[i]) && as_double(got[i]) == expected[i]) continue;
    const double difference = std::abs(as_double(got[i]) - expected[i]);
    max = difference <= max ? max : difference;  // a NaN stays
  }
  return max;
}

/// Runs an operation as ops do: measured, then with exactly that much workspace. The measure must be what it takes.
template <class Params>
void run(cpu::context& ctx, void (*operation)(cpu::context&, const Params&, workspace&), const Params& params) {
  workspace measure;
  operation(ctx, params, measure);
  workspace room = ctx.begin_call(measure.peak_bytes());
  workspace scratch(room.take<std::byte>(0), measure.peak_bytes());
  operation(ctx, params, scratch);
  EXPECT_EQ(scratch.peak_bytes(), measure.peak_bytes());
}

/// Keys and values of one sequence in pages of page_len tokens (0: one page), in shuffled order, every byte 0xff (a NaN) before anything is written.
class packed_cache {
 public:
  packed_cache(dtype type, index_t heads, index_t head_dim, index_t value_dim, index_t capacity, index_t page_len) {
    kv.type = type, kv.num_heads = heads, kv.head_dim = head_dim, kv.value_dim = value_dim;
    kv.page_len = page_len > 0 ? page_len : round_up(capacity, lane_group);
    kv.value_offset = round_up(kv.page_len * head_dim * size_of(type), 64);
    kv.head_bytes = kv.value_offset + round_up(kv.page_len * kv.value_stride() * size_of(type), 64);
    kv.page_bytes = kv.head_bytes * heads;
    const index_t num_pages = ceil_div(capacity, kv.page_len);
    for (index_t i = 0; i < num_pages; ++i) pages.push_back(static_cast<std::int32_t>((i * 7 + 3) % num_pages));
    if (num_pages % 7 == 0)
      for (index_t i = 0; i < num_pages; ++i) pages[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(num_pages - 1 - i);
    memory = cpu::backend::allocate(ctx_, static_cast<std::size_t>(kv.page_bytes * num_pages));
    std::memset(memory.data(), 0xff, memory.bytes());
    kv.base = memory.data();
    if (page_len > 0) sequence.pages = pages.data();
  }

  template <class T>
  void append(cpu::context& ctx, const std::vector<T>& k, const std::vector<T>& v, index_t first, index_t count) {
    append_params p;
    p.accumulator = accumulator_of(dtype_of<T>);
    p.k = rows_of(k, first + count, kv.num_heads, kv.head_dim), p.v = rows_of(v, first + count, kv.num_heads, kv.value_dim);
    sequence.first_row = first, sequence.num_rows = count, sequence.kv_len = first;
    p.kv = kv, p.sequences = &sequence, p.num_sequences = 1;
    run(ctx, cpu::backend::append, p);
    sequence.kv_len = sequence.visible_len = first + count;
  }

  packed_kv kv;
  std::vector<std::int32_t> pages;
  buffer memory;
  sequence_rows sequence;

 private:
  cpu::context ctx_{{.num_threads = 1}};
};

/// Causal attention of the last `count` of q's rows to a cache.
template <class T>
struct cached_attention {
  index_t heads, num_rows;
  attend_params p;
  sequence_rows sequence;
  std::vector<T> out;
  std::vector<accumulator_t<T>> lse;

  cached_attention(cpu::context& ctx, const packed_cache& cache, const std::vector<T>& q, index_t q_heads, index_t first, index_t count,
                   attend_params options = {})
      : heads(q_heads), num_rows(count), p(options), sequence(cache.sequence) {
    const index_t value_dim = cache.kv.value_dim, head_dim = cache.kv.head_dim;
    out.resize(static_cast<std::size_t>(count * heads * value_dim));
    lse.resize(static_cast<std::size_t>(count * heads));
    p.accumulator = accumulator_of(dtype_of<T>);
    p.q = rows_of(q, first + count, heads, head_dim);
    p.q.data = const_cast<T*>(q.data()) + first * heads * head_dim;
    p.out = rows_of(out, count, heads, value_dim);
    p.lse = lse_operand_of(view(lse.data(), index_t{1}, heads, count));
    sequence.first_row = 0, sequence.num_rows = count, sequence.kv_len = sequence.visible_len = first + count, sequence.first_position = first;
    p.kv = cache.kv, p.sequences = &sequence, p.num_sequences = 1, p.num_kv_heads = cache.kv.num_heads;
    p.softmax_scale = 1 / std::sqrt(static_cast<double>(head_dim));
    if (p.window_right == no_window) p.window_right = 0;
    run(ctx, cpu::backend::attend, p);
  }
};

}  // namespace rapt_test
