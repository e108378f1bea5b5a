// Saving and loading a conversation: all layers of one sequence, to memory and to a file (which is flushed to the disk before save_state returns).
#include <random_cache.hpp>
#include <rapt/state/save_load.hpp>

#include <unistd.h>
#include <filesystem>

namespace bench {
namespace {

using stored = rapt::f16;

struct state_fixture {
  state_shape shape;
  rapt::attention_config config;
  std::vector<random_tokens<stored>> layers;
  rapt::kv_cache saved, loaded;
  rapt::sequence from, to;
  std::vector<std::byte> bytes;
  std::string path;

  explicit state_fixture(const state_shape& s)
      : shape(s),
        config(state_config()),
        saved(context(), config, {.num_layers = s.num_layers, .max_tokens = s.kv_len}),
        loaded(context(), config, {.num_layers = s.num_layers, .max_tokens = s.kv_len}),
        from(saved.add_sequence()),
        to(loaded.add_sequence()),
        path(std::filesystem::temp_directory_path() / ("rapt_bench_" + std::to_string(getpid()) + ".safetensors")) {
    for (index_t l = 0; l < s.num_layers; ++l) layers.emplace_back(config, s.kv_len, static_cast<std::uint64_t>(l));
    append_tokens<stored>(context(), saved, from, layers, {1, 2});
  }
  ~state_fixture() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
  state_fixture(const state_fixture&) = delete;
  state_fixture& operator=(const state_fixture&) = delete;

  static rapt::attention_config state_config() {
    return rapt::resolve({.model_dim = cache_model_dim,
                          .num_heads = cache_heads.num_heads,
                          .num_kv_heads = cache_heads.num_kv_heads,
                          .head_dim = cache_heads.head_dim,
                          .causal = true,
                          .kv_dtype = rapt::dtype_of<stored>});
  }
  void save_to_memory() { bytes = rapt::save_state(context(), saved, from); }
  void save_to_file() { rapt::save_state(context(), path, saved, from); }
  void load_from_memory() {
    to.truncate(0);
    rapt::load_state(context(), bytes, loaded, to);
  }
  void load_from_file() {
    to.truncate(0);
    rapt::load_state(context(), path, loaded, to);
  }
  bool arrived() const {
    for (std::size_t l = 0; l < layers.size(); ++l)
      if (!holds(context(), loaded, to, static_cast<index_t>(l), layers[l], shape.kv_len)) return false;
    return true;
  }
  std::string verify() {
    save_to_memory();
    load_from_memory();
    if (!arrived()) return "state: what was loaded from memory is not what was saved";
    save_to_file();
    load_from_file();
    return arrived() ? "" : "state: what was loaded from the file is not what was saved";
  }
};

}  // namespace

void add_state_benches() {
  for (const state_shape& shape : state_shapes) {
    if (!wanted(shape.small)) continue;
    const auto add_one = [&](const char* name, void (state_fixture::*run)()) {
      add<state_fixture>(
          std::string("state/") + name + "/shape:" + shape.name,
          [run](benchmark::State& state, state_fixture& f) {
            for (auto _ : state) (f.*run)();
            set_rate(state, "GB/s", static_cast<double>(f.bytes.size()) * 1e-9);
            set_value(state, "state_bytes", static_cast<double>(f.bytes.size()));
          },
          shape);
    };
    add_one("save_memory", &state_fixture::save_to_memory);
    add_one("save_file", &state_fixture::save_to_file);
    add_one("load_memory", &state_fixture::load_from_memory);
    add_one("load_file", &state_fixture::load_from_file);
  }
}

}  // namespace bench
