// What decode and append give for fixed problems: part of bench/gpu/parity.cu.
#pragma once
#include <bench/gpu/probes.hpp>
#include <kernels/append.hpp>
#include <kernels/attend_decode.hpp>
#if !defined(__CUDACC__) || defined(RAPT_SM_90A)
#include <kernels/attend_decode_clusters.hpp>
#define RAPT_CLUSTERS 1
#endif

#include <algorithm>
#include <memory>

namespace rapt_bench {

/// A batch of `batch` sequences of kv_len, kv_len - 37, ... keys in pages of 48 tokens, q_len queries each.
struct decode_case {
  int batch, q_len, kv_len, num_heads, num_kv_heads;
  bool window, general;  // general: softcap, ALiBi and sinks
};
inline constexpr decode_case decode_cases[] = {{1, 1, 1, 1, 1, false, false},     {3, 1, 700, 8, 2, false, false}, {2, 4, 1100, 12, 3, false, false},
                                               {1, 1, 17000, 4, 1, false, false}, {2, 3, 9000, 2, 1, true, false}, {2, 2, 600, 4, 2, false, true}};

template <class T>
class paged_cache {
 public:
  static constexpr int page_len = 48;

  paged_cache(const decode_case& c, int head_dim, generator& random) : head_dim_(head_dim), num_kv_heads_(c.num_kv_heads) {
    std::vector<rapt::kernels::sequence> sequences;
    int entries = 0;
    for (int i = 0; i < c.batch; ++i) {
      rapt::kernels::sequence s;
      s.first_row = i * c.q_len, s.q_len = c.q_len, s.kv_len = std::max(c.q_len, c.kv_len - 37 * i), s.first_position = s.kv_len - s.q_len;
      s.first_key = entries;
      entries += (s.kv_len + page_len - 1) / page_len;
      sequences.push_back(s);
    }
    std::vector<std::int32_t> table;
    for (int i = 0; i < entries; ++i) table.push_back(entries - 1 - i);
    std::vector<T> elements(static_cast<std::size_t>(entries * page_stride()));
    for (T& x : elements) x = T(random.normal());
    sequences_ = std::make_unique<device_array<rapt::kernels::sequence>>(sequences);
    table_ = std::make_unique<device_array<std::int32_t>>(table);
    elements_ = std::make_unique<device_array<T>>(elements);
  }

  rapt::index_t head_stride() const { return rapt::index_t{2} * page_len * head_dim_; }
  rapt::index_t page_stride() const { return num_kv_heads_ * head_stride(); }
  rapt::kernels::heads_view<T> keys() { return {elements_->data(), page_stride(), head_dim_, head_stride()}; }
  rapt::kernels::heads_view<T> values() { return {elements_->data() + page_len * head_dim_, page_stride(), head_dim_, head_stride()}; }
  const rapt::kernels::sequence* sequences() { return sequences_->data(); }
  const std::int32_t* table() { return table_->data(); }
  std::vector<T> download() const { return elements_->download(); }

 private:
  int head_dim_, num_kv_heads_;
  std::unique_ptr<device_array<rapt::kernels::sequence>> sequences_;
  std::unique_ptr<device_array<std::int32_t>> table_;
  std::unique_ptr<device_array<T>> elements_;
};

inline std::vector<float> random_floats(generator& random, int size) {
  std::vector<float> x(static_cast<std::size_t>(size));
  for (float& element : x) element = random.normal();
  return x;
}
template <class T>
void add_words(std::vector<std::uint32_t>& words, const std::vector<T>& elements) {
  for (const T x : elements) {
    if constexpr (std::is_same_v<T, float>)
      words.push_back(bits(x));
    else
      words.push_back(x.bits);
  }
}

/// The output, then lse, of attend_decode or what takes its place.
template <class T, class Launch>
std::vector<std::uint32_t> decoded(const decode_case& c, int head_dim, const Launch& launch) {
  generator random(static_cast<std::uint64_t>(head_dim + c.kv_len));
  paged_cache<T> cache(c, head_dim, random);
  const int rows = c.batch * c.q_len, elements = rows * c.num_heads * head_dim;
  std::vector<T> queries;
  for (const float x : random_floats(random, elements)) queries.push_back(T(x));
  device_array<T> q(queries), out(static_cast<std::size_t>(elements));
  device_array<float> lse(static_cast<std::size_t>(rows * c.num_heads)), slopes(random_floats(random, c.num_heads)),
      sinks(random_floats(random, c.num_heads));
  rapt::kernels::attention_problem<T> p;
  p.q = {q.data(), 0, c.num_heads * head_dim, head_dim}, p.out = {out.data(), 0, c.num_heads * head_dim, head_dim};
  const auto k = cache.keys(), v = cache.values();
  p.k = {k.data, k.outer_stride, k.row_stride, k.head_stride}, p.v = {v.data, v.outer_stride, v.row_stride, v.head_stride};
  p.lse = {lse.data(), 0, c.num_heads, 1};
  p.sequences = cache.sequences(), p.num_sequences = c.batch, p.page_table = cache.table(), p.page_len = cache.page_len;
  p.num_heads = c.num_heads, p.num_kv_heads = c.num_kv_heads, p.head_dim = p.value_dim = head_dim;
  p.window_right = 0;
  if (c.window) p.window_left = 5000;
  if (c.general) p.softcap = 2, p.alibi_slopes_log2 = slopes.data(), p.sink_logits_log2 = sinks.data();
  p.softmax_scale = 0.11;
  const rapt::kernels::decode_limits limits{c.q_len, c.kv_len};
  const auto sizes = rapt::kernels::decode_sizes_of(p, limits);
  device_array<float> acc(static_cast<std::size_t>(sizes.acc)), max_and_sum(static_cast<std::size_t>(sizes.max_and_sum));
  device_array<unsigned> counters(std::vector<unsigned>(static_cast<std::size_t>(sizes.counters)));
  launch(p, limits, rapt::kernels::decode_memory{acc.data(), max_and_sum.data(), counters.data()});
  std::vector<std::uint32_t> words;
  add_words(words, out.download());
  add_words(words, lse.download());
  return words;
}

/// Queries, then the cache's pages.
template <class From, class T>
std::vector<std::uint32_t> appended(int head_dim, bool interleaved) {
  const decode_case c{3, 5, 100, 6, 2, false, false};
  generator random(static_cast<std::uint64_t>(head_dim));
  paged_cache<T> cache(c, head_dim, random);
  const int rows = c.batch * c.q_len, columns = (c.num_heads + 2 * c.num_kv_heads) * head_dim;
  std::vector<From> elements;
  for (const float x : random_floats(random, rows * columns)) elements.push_back(From(x));
  std::vector<rapt::kernels::angle> turns;
  for (int i = 0; i < c.kv_len * head_dim / 2; ++i) turns.push_back({random.normal(), random.normal()});
  device_array<From> x(elements);
  device_array<T> q(static_cast<std::size_t>(rows * c.num_heads * head_dim));
  device_array<rapt::kernels::angle> angles(turns);
  device_array<float> weights(random_floats(random, head_dim));
  rapt::kernels::append_problem<From, T> p;
  p.q = {x.data(), 0, columns, head_dim}, p.k = {x.data() + c.num_heads * head_dim, 0, columns, head_dim};
  p.v = {x.data() + (c.num_heads + c.num_kv_heads) * head_dim, 0, columns, head_dim};
  p.q_out = {q.data(), 0, c.num_heads * head_dim, head_dim}, p.k_out = cache.keys(), p.v_out = cache.values();
  p.sequences = cache.sequences(), p.num_sequences = c.batch, p.num_rows = rows, p.page_table = cache.table(), p.page_len = cache.page_len;
  p.num_heads = c.num_heads, p.num_kv_heads = c.num_kv_heads, p.head_dim = p.value_dim = head_dim;
  p.q_norm = p.k_norm = weights.data(), p.eps = 1e-6f, p.rope_dim = head_dim, p.interleaved = interleaved, p.angles = angles.data();
  rapt::kernels::append_rows(p, nullptr);
  std::vector<std::uint32_t> words;
  add_words(words, q.download());
  add_words(words, cache.download());
  return words;
}

template <class T>
void decode_all(records& all, const char* type) {
  for (const int head_dim : {64, 96, 128, 192, 256})
    for (const decode_case& c : decode_cases) {
      if (head_dim != 128 && c.kv_len >= 2000) continue;
      const std::string name =
          std::string(type) + " decode d" + std::to_string(head_dim) + " q" + std::to_string(c.q_len) + " kv" + std::to_string(c.kv_len);
      all[name] = decoded<T>(c, head_dim,
                             [](const auto& p, const auto& limits, const auto& memory) { rapt::kernels::attend_decode(p, limits, memory, nullptr); });
#ifdef RAPT_CLUSTERS
      if (!c.general)
        all[name + " by clusters"] = decoded<T>(c, head_dim, [](const auto& p, const auto& limits, const auto& memory) {
          rapt::kernels::attend_decode_by_clusters(p, limits, memory, nullptr);
        });
#endif
    }
  for (const int head_dim : {64, 80, 100, 128, 256})
    for (const bool interleaved : {false, true}) {
      const std::string name = std::string(type) + " append d" + std::to_string(head_dim) + (interleaved ? " interleaved" : "");
      all[name] = appended<T, T>(head_dim, interleaved);
      all[name + " of floats"] = appended<float, T>(head_dim, interleaved);
    }
}

}  // namespace rapt_bench
