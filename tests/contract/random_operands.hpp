// Random operands for the contract's tests. All memory that an operation must not read is filled with NaNs, all that it must not write is watched.
#pragma once
#include <contract/storage_model.hpp>
#include <cpu/context_impl.hpp>
#include <rapt/cpu/context.hpp>

#include <gtest/gtest.h>

#include <initializer_list>
#include <iterator>
#include <map>
#include <string>
#include <vector>

namespace rapt_test::contract {

/// SplitMix64 (Steele et al. 2014): a counter and a mix, so that a case is its seed.
class random_source {
 public:
  explicit random_source(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du) {}
  std::uint64_t bits() {
    std::uint64_t x = state_ += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  /// 0 .. n - 1
  index_t below(index_t n) { return static_cast<index_t>(bits() % static_cast<std::uint64_t>(n)); }
  index_t between(index_t low, index_t high) { return low + below(high - low + 1); }
  bool chance(double p) { return uniform() < p; }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  double symmetric() { return 2 * uniform() - 1; }
  template <class T>
  T pick(std::initializer_list<T> of) {
    return of.begin()[below(static_cast<index_t>(of.size()))];
  }
  template <class T>
  T pick(const std::vector<T>& of) {
    return of[static_cast<std::size_t>(below(static_cast<index_t>(of.size())))];
  }

 private:
  std::uint64_t state_;
};

/// Bytes that read as NaN in every dtype, 64-byte aligned from the start.
class nan_memory {
 public:
  nan_memory() = default;
  explicit nan_memory(index_t bytes) : bytes_(static_cast<std::size_t>(bytes) + 64, std::byte{0xff}) {}
  std::byte* data() { return bytes_.data() + (64 - reinterpret_cast<std::uintptr_t>(bytes_.data()) % 64) % 64; }
  bool operator==(const nan_memory&) const = delete;

 private:
  std::vector<std::byte> bytes_;
};

/// [batch, len, heads, dim] with gaps between the elements now and then.
class random_tensor {
 public:
  rapt::operand o;

  random_tensor() = default;
  random_tensor(random_source& random, dtype type, index_t batch, index_t len, index_t heads, index_t dim, bool gaps = true) {
    o.type = type, o.batch = batch, o.len = len, o.heads = heads, o.dim = dim;
    const auto gap = [&] { return gaps && random.chance(0.3) ? random.between(1, 5) : 0; };
    o.dim_stride = 1 + (gap() > 4 ? 1 : 0);
    o.head_stride = o.dim * o.dim_stride + gap();
    o.len_stride = o.heads * o.head_stride + gap();
    o.batch_stride = o.len * o.len_stride + gap();
    first_ = gap();  // aligned to the element alone
    bytes_.assign(static_cast<std::size_t>((first_ + o.batch * o.batch_stride + 1) * size_of(type)), std::byte{0xff});
    o.data = bytes_.data() + first_ * size_of(type);
  }
  random_tensor(random_tensor&&) = default;
  random_tensor& operator=(random_tensor&&) = default;

  random_tensor& fill(random_source& random, double magnitude) {
    for (index_t row = 0; row < o.rows(); ++row)
      for (index_t h = 0; h < o.heads; ++h)
        for (index_t d = 0; d < o.dim; ++d) store<double>(o.type, o.data, o.offset(row, h) + d * o.dim_stride, magnitude * random.symmetric());
    return *this;
  }
  /// Some elements become NaNs, none of them the canonical one.
  void spoil(random_source& random) {
    for (index_t n = random.between(1, 8); n > 0; --n) {
      const index_t at = o.offset(random.below(o.rows()), random.below(o.heads)) + random.below(o.dim) * o.dim_stride;
      std::memset(static_cast<std::byte*>(o.data) + at * size_of(o.type), 0xff, static_cast<std::size_t>(size_of(o.type)));
    }
  }
  /// Another with the same bytes.
  random_tensor copy() const {
    random_tensor other;
    other.bytes_ = bytes_, other.first_ = first_, other.o = o;
    other.o.data = other.bytes_.data() + first_ * size_of(o.type);
    return other;
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  index_t first_ = 0;
  std::vector<std::byte> bytes_;
};

/// Packed keys and values: pages in shuffled order for each sequence, filled by hand.
class random_kv {
 public:
  rapt::packed_kv kv;
  std::vector<std::vector<std::int32_t>> tables;  ///< per sequence; empty: page n holds all of sequence n

  random_kv() = default;
  /// page_len 0: one page for each sequence.
  random_kv(random_source& random, dtype type, index_t heads, index_t head_dim, index_t value_dim, index_t page_len,
            const std::vector<index_t>& lens) {
    index_t longest = 1, num_pages = static_cast<index_t>(lens.size());
    for (const index_t len : lens) longest = std::max(longest, len);
    kv.type = type, kv.num_heads = heads, kv.head_dim = head_dim, kv.value_dim = value_dim;
    kv.page_len = page_len > 0 ? page_len : (longest + 15) / 16 * 16;
    const auto up = [](index_t bytes) { return (bytes + 63) / 64 * 64; };
    kv.value_offset = up(kv.page_len * head_dim * size_of(type));
    kv.head_bytes = kv.value_offset + up(kv.page_len * ((value_dim + 15) / 16 * 16) * size_of(type));
    kv.page_bytes = kv.head_bytes * heads;
    if (page_len > 0) {
      num_pages = 1;  // page 0 belongs to nobody
      for (const index_t len : lens) num_pages += (len + page_len - 1) / page_len;
      std::vector<std::int32_t> shuffled;
      for (index_t i = 1; i < num_pages; ++i) shuffled.push_back(static_cast<std::int32_t>(i));
      for (std::size_t i = shuffled.size(); i > 1; --i)
        std::swap(shuffled[i - 1], shuffled[static_cast<std::size_t>(random.below(static_cast<index_t>(i)))]);
      for (const index_t len : lens) {
        const auto count = static_cast<std::ptrdiff_t>((len + page_len - 1) / page_len);
        tables.emplace_back(shuffled.end() - count, shuffled.end());
        shuffled.resize(shuffled.size() - static_cast<std::size_t>(count));
      }
    }
    bytes_ = num_pages * kv.page_bytes;
    memory_ = nan_memory(bytes_);
    kv.base = memory_.data();
  }
  const std::int32_t* pages(std::size_t sequence) const { return tables.empty() ? nullptr : tables[sequence].data(); }
  std::vector<std::byte> bytes() const { return {kv.base, kv.base + bytes_}; }
  void restore(const std::vector<std::byte>& bytes) { std::copy(bytes.begin(), bytes.end(), kv.base); }
  index_t num_pages() const { return bytes_ / kv.page_bytes; }

 private:
  index_t bytes_ = 0;
  nan_memory memory_;
};

/// A context for each instruction set and number of threads, made once. Where an instruction set lacks vdpbf16ps its kernels do the same one by one.
inline rapt::cpu::context& context_for(rapt::cpu::isa set, int num_threads) {
  static std::map<std::pair<rapt::cpu::isa, int>, std::unique_ptr<rapt::cpu::context>> contexts;
  auto& made = contexts[{set, num_threads}];
  if (!made) made = std::make_unique<rapt::cpu::context>(rapt::cpu::context_options{.num_threads = num_threads, .instruction_set = set});
  if (set == rapt::cpu::isa::portable || set == rapt::cpu::isa::avx2) made->internals().has_bf16_pairs = true;
  return *made;
}

/// Instruction sets, best first, whose contexts have what a call needs.
inline std::vector<rapt::cpu::isa> usable_isas(bool bf16_pairs) {
  std::vector<rapt::cpu::isa> sets = rapt::cpu::available_isas();
  std::erase_if(sets, [&](rapt::cpu::isa set) { return bf16_pairs && !context_for(set, 1).internals().has_bf16_pairs; });
  return sets;
}

/// Runs an operation as callers do: measure, begin the call, run; the measure must have been enough.
template <class Operation>
void run_measured(rapt::cpu::context& ctx, Operation operation) {
  rapt::workspace measure;
  operation(measure);
  rapt::workspace scratch = ctx.begin_call(measure.peak_bytes());
  operation(scratch);
  EXPECT_LE(scratch.peak_bytes(), measure.peak_bytes());
}

/// Calls run(ctx) on every instruction set, once on one thread and once on several.
template <class Run>
void on_every_context(random_source& random, Run run, bool bf16_pairs = false) {
  for (const rapt::cpu::isa set : usable_isas(bf16_pairs))
    for (const int num_threads : {1, static_cast<int>(random.between(2, 4))}) {
      SCOPED_TRACE(std::string(rapt::cpu::name_of(set)) + ", " + std::to_string(num_threads) + " threads");
      run(context_for(set, num_threads));
      if (testing::Test::HasFailure()) return;
    }
}

/// Values and differences over all comparisons of the process; printed at its end.
struct comparison_counts {
  std::uint64_t bytes = 0, differing = 0;
  ~comparison_counts() {
    if (bytes > 0)
      std::printf("[contract] %llu bytes compared, %llu differ\n", static_cast<unsigned long long>(bytes),
                  static_cast<unsigned long long>(differing));
  }
};
inline comparison_counts& comparisons() {
  static comparison_counts counts;
  return counts;
}

/// Every byte the same; the message names the first that is not.
inline void expect_same_bytes(const std::vector<std::byte>& got, const std::vector<std::byte>& expected, dtype type, const char* what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  index_t differing = 0, first = -1;
  for (std::size_t i = 0; i < got.size(); ++i)
    if (got[i] != expected[i]) {
      if (first < 0) first = static_cast<index_t>(i);
      ++differing;
    }
  comparisons().bytes += got.size(), comparisons().differing += static_cast<std::uint64_t>(differing);
  if (differing == 0) return;
  const index_t i = first / size_of(type);
  ADD_FAILURE() << what << ": " << differing << " of " << got.size() << " bytes differ, first in element " << i << ": got "
                << load<double>(type, got.data(), i) << ", expected " << load<double>(type, expected.data(), i);
}

}  // namespace rapt_test::contract
