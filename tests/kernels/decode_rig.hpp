// Launches of decode over an attention_rig, and the bits that they give.
#pragma once
#include <kernels/attend_decode.hpp>
#include <tests/kernels/gpu_order_model.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace rapt_test {

/// Memory for launches of one shape: NaN at first, counters 0 again after each.
template <class T>
class decode_launcher {
 public:
  /// `more_keys` than the rig has, and one query more, are allowed for.
  explicit decode_launcher(const attention_rig<T>& rig, int more_keys = 0) {
    for (const auto& l : rig.shape.sequences) {
      limits_.max_q_len = std::max(limits_.max_q_len, more_keys > 0 ? l.q_len + 1 : l.q_len);
      limits_.max_kv_len = std::max(limits_.max_kv_len, l.kv_len + more_keys);
    }
    const auto sizes = rapt::kernels::decode_sizes_of(rig.problem, limits_);
    acc_.assign(static_cast<std::size_t>(sizes.acc), std::numeric_limits<float>::quiet_NaN());
    max_and_sum_.assign(static_cast<std::size_t>(sizes.max_and_sum), std::numeric_limits<float>::quiet_NaN());
    counters_.assign(static_cast<std::size_t>(sizes.counters), 0);
  }
  /// By attend_decode, or what takes its place.
  template <class Kernel>
  void run(attention_rig<T>& rig, const Kernel& attend_by) {
    attend_by(rig.problem, limits_, rapt::kernels::decode_memory{acc_.data(), max_and_sum_.data(), counters_.data()});
    for (const unsigned counter : counters_) ASSERT_EQ(counter, 0u) << "the next launch would begin in the middle";
  }

 private:
  rapt::kernels::decode_limits limits_;
  std::vector<float> acc_, max_and_sum_;
  std::vector<unsigned> counters_;
};
/// Bits of a row, and of its lse.
template <class T>
std::vector<std::uint32_t> bits_of(const attention_rig<T>& rig, int sequence, int query, int head) {
  std::vector<std::uint32_t> bits;
  for (int d = 0; d < rig.shape.values(); ++d) bits.push_back(rig.row(sequence, query, head)[d].bits);
  bits.push_back(rapt::simt::bits_of(rig.row_lse(sequence, query, head)));
  return bits;
}
template <class T>
std::vector<std::vector<std::uint32_t>> all_bits(const attention_rig<T>& rig) {
  std::vector<std::vector<std::uint32_t>> all;
  for_each_row(rig, [&](int s, int i, int h) { all.push_back(bits_of(rig, s, i, h)); });
  return all;
}
template <class T>
void expect_bits_of_the_model(const attention_rig<T>& rig) {
  for_each_row(rig, [&](int s, int i, int h) {
    if (testing::Test::HasFatalFailure()) return;
    const auto row = gpu_order_model<T>(rig, s, i, h).row();
    std::vector<std::uint32_t> expected(row.bits.begin(), row.bits.end());
    expected.push_back(rapt::simt::bits_of(row.lse));
    ASSERT_EQ(bits_of(rig, s, i, h), expected) << "sequence " << s << ", query " << i << ", head " << h;
  });
}

// What holds of attend_decode and of what takes its place.

template <class T, class Kernel>
void expect_zeros_where_nothing_is_seen(const Kernel& by, bool sinks) {
  attention_rig<T> rig({.sequences = {{3, 2}, {0, 9, 2}, {2, 0, 3}}, .num_heads = 2, .causal = true, .sinks = sinks});
  decode_launcher<T>(rig).run(rig, by);
  for (const auto& [sequence, query] : {std::pair{0, 0}, {2, 0}, {2, 1}})
    for (int h = 0; h < 2; ++h) {
      auto expected = std::vector<std::uint32_t>(65, 0);
      expected[64] = rapt::simt::bits_of(-std::numeric_limits<float>::infinity());
      EXPECT_EQ(bits_of(rig, sequence, query, h), expected) << sequence << ' ' << query;
    }
  EXPECT_NE(bits_of(rig, 0, 1, 0)[0], 0u);
}
template <class T, class Kernel>
void expect_nothing_beside_the_rows(const Kernel& by) {
  attention_rig<T> rig({.sequences = {{1, 70}, {2, 10, 2}}, .num_heads = 3, .head_dim = 72, .value_dim = 40, .causal = true});
  for (T& x : rig.out) x.bits = 0x5a5a;
  decode_launcher<T>(rig).run(rig, by);
  EXPECT_EQ(std::count_if(rig.out.begin(), rig.out.end(), [](T x) { return x.bits != 0x5a5a; }), 3 * 3 * 40);
}
/// Values of each of `keys`, below 130, and of the last one.
template <class T, class Kernel>
void expect_values_to_reach_only_queries_that_see_them(const Kernel& by, const std::vector<int>& keys) {
  const attention_shape shape{.sequences = {{4, 130}}, .num_heads = 2, .num_kv_heads = 1, .causal = true, .window_left = 100};
  attention_rig<T> clean(shape);
  decode_launcher<T>(clean).run(clean, by);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (const int key : keys) {
      attention_rig<T> rig(shape);
      rig.value(0, key, 0)[key % 64] = T(bad);
      rig.value(0, 129, 0)[3] = T(-bad);
      decode_launcher<T>(rig).run(rig, by);
      expect_bits_of_the_model(rig);
      for_each_row(rig, [&](int, int i, int h) {
        const bool sees = rig.sees(0, h, i, key);
        EXPECT_EQ(std::isfinite(static_cast<float>(rig.row(0, i, h)[key % 64])), !sees) << key << ' ' << i;
        if (!sees && i < 3) { EXPECT_EQ(bits_of(rig, 0, i, h), bits_of(clean, 0, i, h)) << key << ' ' << i; }
      });
    }
}

}  // namespace rapt_test
