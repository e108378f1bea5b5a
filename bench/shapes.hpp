// The shapes that benches run; there are no others. The small ones take milliseconds each: they are what ctest runs.
#pragma once
#include <rapt/attention/config.hpp>

#include <array>
#include <span>

namespace bench {
using rapt::index_t;

/// A module and the rows that one forward takes.
struct module_shape {
  const char* name;
  index_t batch, len, model_dim, num_heads, num_kv_heads, head_dim;
  bool small;

  rapt::attention_config config() const {
    return {.model_dim = model_dim, .num_heads = num_heads, .num_kv_heads = num_kv_heads, .head_dim = head_dim};
  }
  index_t rows() const { return batch * len; }
};
constexpr std::array<module_shape, 4> forward_shapes{{
    {"small", 1, 128, 512, 8, 8, 64, true},
    {"medium", 1, 2048, 512, 8, 8, 64, false},
    {"large", 1, 2048, 1024, 16, 16, 64, false},
    {"xlarge", 1, 4096, 2048, 16, 4, 128, false},  // 64 MiB of scores in f32, for each head, were they kept
}};

/// Heads of attention alone.
struct head_shape {
  index_t num_heads, num_kv_heads, head_dim;
};
/// A prompt's attention alone, without projections: equal heads and grouped ones.
struct attention_shape {
  const char* name;
  index_t len, num_heads, num_kv_heads, head_dim;
  bool small;
};
constexpr std::array<attention_shape, 4> attention_shapes{{
    {"small", 96, 8, 8, 64, true},
    {"equal_heads", 2048, 8, 8, 64, false},
    {"grouped_heads", 2048, 16, 4, 128, false},
    {"grouped_heads_long", 4096, 16, 4, 128, false},
}};

/// One query against many keys: the heads of an 8-billion-parameter Llama.
constexpr head_shape decode_heads{32, 8, 128};
/// Keys and values in L3, a little more than that, and far more.
constexpr std::array<index_t, 4> decode_kv_lens{256, 1024, 8192, 32'768};
constexpr index_t decode_small_kv_len = 256;

/// Memory against length: the range in which a score matrix is still small, and on to where it is not.
constexpr head_shape memory_heads{8, 8, 64};
constexpr std::array<index_t, 10> memory_kv_lens{32, 64, 128, 256, 512, 1024, 2048, 4096, 16'384, 65'536};
constexpr index_t memory_small_kv_len = 512;
/// A whole prompt at once is quadratic in time.
constexpr index_t memory_longest_prompt = 4096;

/// Growing numbers of query heads; the shared variants let all of them read one KV head.
constexpr std::array<index_t, 5> scaled_heads{1, 2, 4, 8, 16};
constexpr index_t scaled_head_dim = 64;
struct attended_lens {
  const char* name;
  index_t q_len, kv_len;
  bool small;
};
constexpr std::array<attended_lens, 4> scaled_lens{{
    {"prefill_short", 64, 64, true},
    {"decode_short", 1, 256, true},
    {"prefill", 512, 512, false},
    {"decode", 1, 16'384, false},
}};

/// Cache bookkeeping and appends: a small model's attention.
constexpr head_shape cache_heads{9, 3, 64};
constexpr index_t cache_model_dim = 576;
constexpr index_t cache_kv_len = 4100, cache_small_kv_len = 200;  // the last page is not full: a fork that appends copies it
constexpr std::array<index_t, 3> appended_rows{1, 16, 128};
constexpr std::array<index_t, 3> step_sequences{1, 8, 64};

/// Training rows are stored once, test rows attend to them: a tabular model, 6 heads of 32.
struct stored_shape {
  const char* name;
  index_t batch, q_len, kv_len;
  bool small;
};
constexpr head_shape stored_heads{6, 6, 32};
constexpr std::array<stored_shape, 2> stored_shapes{{{"small", 2, 32, 64, true}, {"large", 8, 512, 2048, false}}};

/// A call of a causal module: `rows` rows of each of `batch` sequences that hold `keys_before` keys. num_threads 0: the run's own.
struct cost_shape {
  index_t model_dim, num_heads, num_kv_heads, head_dim, batch, rows, keys_before;
  int num_threads = 0;

  rapt::attention_config config() const {
    return {.model_dim = model_dim, .num_heads = num_heads, .num_kv_heads = num_kv_heads, .head_dim = head_dim, .causal = true};
  }
};
constexpr std::array<index_t, 3> few_rows_model_dims{64, 512, 1024};
constexpr std::array<index_t, 2> few_rows_keys_before{0, 1024};
constexpr std::array<index_t, 4> few_rows{1, 2, 4, 8};
constexpr cost_shape few_rows_shape(index_t model_dim, index_t keys_before, index_t rows) {
  const index_t dim = model_dim == 64 ? 16 : 64;
  return {model_dim, model_dim / dim, model_dim / dim, dim, 1, rows, keys_before};
}
/// One token of each of many sequences.
constexpr std::array<index_t, 6> cost_batches{1, 2, 4, 8, 16, 32};
constexpr index_t cost_small_batch = 2;
constexpr cost_shape batch_shape(index_t batch) { return {1024, 16, 4, 64, batch, 1, 1024}; }
constexpr cost_shape prompt_shape(int num_threads) { return {1024, 16, 16, 64, 1, 512, 0, num_threads}; }
constexpr cost_shape decode_shape(int num_threads) { return {1024, 16, 16, 64, 1, 1, 8192, num_threads}; }

/// States that are saved and loaded: layers and tokens of the cache shape, f16.
struct state_shape {
  const char* name;
  index_t num_layers, kv_len;
  bool small;
};
constexpr std::array<state_shape, 2> state_shapes{{{"small", 2, 64, true}, {"large", 30, 4096, false}}};
/// The same for what a disk is held against; the large one is 1 GiB of keys and values.
constexpr std::array<state_shape, 2> disk_shapes{{{"small", 2, 64, true}, {"gib", 32, 43'691, false}}};

/// Bytes of a buffer that no cache holds, for the plain read rate that decode is held against.
constexpr index_t plain_read_bytes = index_t{1} << 29, plain_read_small_bytes = index_t{1} << 20;

}  // namespace bench
