// What prefill gives for fixed problems: part of bench/gpu/parity.cu.
#pragma once
#include <bench/gpu/probes.hpp>
#include <kernels/attend_prefill.hpp>

#include <algorithm>

namespace rapt_bench {

/// `batch` sequences of q_len, q_len - 9, ... queries and kv_len, kv_len - 37, ... keys.
struct prefill_case {
  const char* name;
  int batch, q_len, kv_len, num_heads, num_kv_heads, head_dim, value_dim;
  rapt::index_t window_left, window_right;
  int page_len;                            // 0: no pages
  bool softcap, alibi, added, gap, sinks;  // gap: rows that are no whole 16 bytes
};
inline constexpr rapt::index_t none = rapt::no_window;
inline constexpr prefill_case prefill_cases[] = {
    {"causal", 1, 130, 130, 2, 1, 64, 64, none, 0, 0, false, false, false, false, false},
    {"full", 1, 65, 255, 1, 1, 64, 64, none, none, 0, false, false, false, false, false},
    {"segments", 1, 64, 1100, 1, 1, 64, 64, none, 0, 0, false, false, false, false, false},
    {"super-segments", 1, 8, 8400, 1, 1, 64, 64, none, none, 0, false, false, false, false, false},
    {"more queries than keys", 1, 200, 129, 1, 1, 64, 64, none, 0, 0, false, false, false, false, false},
    {"causal", 1, 130, 130, 2, 1, 128, 128, none, 0, 0, false, false, false, false, false},
    {"segments", 1, 64, 1100, 1, 1, 128, 128, none, 0, 0, false, false, false, false, false},
    {"super-segments", 1, 8, 8400, 1, 1, 128, 128, none, none, 0, false, false, false, false, false},
    {"pages", 4, 140, 700, 2, 1, 128, 128, none, 0, 16, false, false, false, false, false},
    {"pages and a window", 3, 70, 1300, 2, 2, 64, 64, 600, 0, 48, false, false, false, false, false},
    {"pages", 2, 100, 600, 2, 1, 96, 96, none, 0, 64, false, false, false, false, false},
    {"pages", 2, 100, 600, 2, 1, 192, 128, none, 0, 64, false, false, false, false, false},
    {"pages", 2, 100, 600, 2, 1, 256, 256, none, 0, 80, false, false, false, false, false},
    {"two windows", 2, 100, 300, 1, 1, 80, 40, 60, 30, 0, false, false, false, false, false},
    {"softcap", 2, 100, 300, 2, 1, 128, 128, none, 0, 0, true, false, false, false, false},
    {"ALiBi and sinks", 2, 100, 300, 2, 1, 64, 64, none, 0, 16, false, true, false, false, true},
    {"additive mask", 2, 100, 300, 2, 1, 192, 192, none, none, 0, false, false, true, false, false},
    {"everything", 2, 100, 600, 2, 1, 256, 200, 500, 0, 32, true, true, true, false, true},
    {"odd rows", 2, 100, 150, 2, 1, 71, 33, none, 0, 0, false, false, false, true, false},
};

/// The output, then lse.
template <class T>
std::vector<std::uint32_t> prefilled(const prefill_case& c) {
  using rapt::index_t;
  generator random(static_cast<std::uint64_t>(c.head_dim + c.kv_len));
  std::vector<rapt::kernels::sequence> sequences;
  int rows = 0, keys = 0, entries = 0;
  for (int i = 0; i < c.batch; ++i) {
    rapt::kernels::sequence s;
    s.q_len = std::max(1, c.q_len - 9 * i), s.kv_len = std::max(1, c.kv_len - 37 * i), s.first_position = s.kv_len - s.q_len;
    s.first_row = rows, s.first_key = c.page_len != 0 ? entries : keys;
    s.mask_offset = index_t{i} * c.q_len * c.kv_len;
    rows += s.q_len, keys += s.kv_len, entries += c.page_len != 0 ? (s.kv_len + c.page_len - 1) / c.page_len : 0;
    sequences.push_back(s);
  }
  std::vector<std::int32_t> pages;
  for (int i = 0; i < entries; ++i) pages.push_back(entries - 1 - i);
  const auto elements = [&](index_t size) {
    std::vector<T> x(static_cast<std::size_t>(size));
    for (T& element : x) element = T(random.normal());
    return device_array<T>(x);
  };
  const auto floats = [&](index_t size) {
    std::vector<float> x(static_cast<std::size_t>(size));
    for (float& element : x) element = random.normal();
    return device_array<float>(x);
  };
  const int gap = c.gap ? 3 : 0, q_stride = c.num_heads * c.head_dim + gap, out_stride = c.num_heads * c.value_dim + gap;
  const index_t of_keys = index_t{c.page_len} * c.head_dim, of_head = of_keys + index_t{c.page_len} * c.value_dim, of_page = c.num_kv_heads * of_head;
  const int k_stride = c.num_kv_heads * c.head_dim + gap, v_stride = c.num_kv_heads * c.value_dim + gap;
  device_array<rapt::kernels::sequence> descriptions(sequences);
  device_array<std::int32_t> table(pages.empty() ? std::vector<std::int32_t>(1) : pages);
  device_array<T> q = elements(index_t{rows} * q_stride), k = elements(c.page_len != 0 ? entries * of_page : index_t{keys} * k_stride),
                  v = elements(index_t{keys} * v_stride);
  device_array<T> out(static_cast<std::size_t>(rows) * static_cast<std::size_t>(out_stride));
  device_array<float> lse(static_cast<std::size_t>(rows * c.num_heads)), slopes = floats(c.num_heads), sinks = floats(c.num_heads),
                                                                         added = floats(index_t{c.batch} * c.q_len * c.kv_len);
  rapt::kernels::attention_problem<T> p;
  p.q = {q.data(), 0, q_stride, c.head_dim}, p.out = {out.data(), 0, out_stride, c.value_dim};
  p.lse = {lse.data(), 0, 1, rows};
  p.k = {k.data(), 0, k_stride, c.head_dim}, p.v = {v.data(), 0, v_stride, c.value_dim};
  if (c.page_len != 0) {
    p.k = {k.data(), of_page, c.head_dim, of_head}, p.v = {k.data() + of_keys, of_page, c.value_dim, of_head};
    p.page_table = table.data(), p.page_len = c.page_len;
  }
  p.sequences = descriptions.data(), p.num_sequences = c.batch;
  p.num_heads = c.num_heads, p.num_kv_heads = c.num_kv_heads, p.head_dim = c.head_dim, p.value_dim = c.value_dim;
  p.softmax_scale = 0.11;
  p.window_left = c.window_left, p.window_right = c.window_right;
  if (c.softcap) p.softcap = 2.5;
  if (c.alibi) p.alibi_slopes_log2 = slopes.data();
  if (c.sinks) p.sink_logits_log2 = sinks.data();
  if (c.added) p.mask = {nullptr, added.data(), 0, c.kv_len, 1};
  constexpr unsigned num_blocks = 2;
  device_array<float> workspace(rapt::kernels::prefill_workspace_bytes(p, num_blocks) / sizeof(float));
  device_array<unsigned> counter(std::vector<unsigned>(1));
  rapt::kernels::attend_prefill(p, workspace.data(), counter.data(), num_blocks, nullptr);
  std::vector<std::uint32_t> words;
  for (const T x : out.download()) words.push_back(x.bits);
  for (const float x : lse.download()) words.push_back(bits(x));
  return words;
}

template <class T>
void prefill_all(records& all, const char* type) {
  for (const prefill_case& c : prefill_cases) all[std::string(type) + " prefill d" + std::to_string(c.head_dim) + " " + c.name] = prefilled<T>(c);
}

}  // namespace rapt_bench
