// Files of format version 1.0 load for ever, with the contents that the formula says. A new kind of content gets a new file; those that are there are
// never written again. RAPT_WRITE_GOLDEN=<folder> writes what this library makes of the same contents.
#include <gtest/gtest.h>
#include <golden/golden_state.hpp>
#include <support/reseal.hpp>
#include <support/unchanged.hpp>

#include <algorithm>
#include <cstdlib>

namespace rapt_test::golden {
namespace {

std::string path_of(const golden_state& state) { return std::string(RAPT_SOURCE_DIR) + "/fixtures/golden/" + state.name + ".state"; }

rapt::fingerprint made_by(index_t what) { return {0x0123456789abcdef, static_cast<std::uint64_t>(what + 1)}; }

/// One golden state as objects of activations T.
template <class T>
class golden_objects {
 public:
  explicit golden_objects(const golden_state& state) : state_(state), config_(state.config()) {}

  std::vector<std::byte> save() {
    std::optional<rapt::multi_head_attention<T>> module;
    if (state_.weights != family::none) module.emplace(ctx_, config_, golden_weights(state_).views);
    std::optional<rapt::projected_kv> fixed, stored;
    if (state_.static_heads > 0) fixed.emplace(projected("static", state_.static_heads, {}));
    if (state_.projected_heads > 0) stored.emplace(projected("projected", state_.projected_heads, module ? module->fingerprint() : made_by(7)));
    rapt::kv_cache cache(ctx_, config_, state_.limits());
    std::vector<rapt::sequence> sequences;
    for (std::size_t s = 0; s < state_.kv_lens.size(); ++s)
      sequences.push_back(fill(cache, static_cast<index_t>(s), module ? module->fingerprint() : made_by(0)));

    if (module && fixed && stored && !sequences.empty()) return rapt::save_state(ctx_, *module, *fixed, *stored, cache, sequences);
    if (module) return rapt::save_state(ctx_, *module);
    if (fixed) return rapt::save_state(ctx_, *fixed);
    if (stored) return rapt::save_state(ctx_, *stored);
    return rapt::save_state(ctx_, cache, sequences);
  }

  void expect_loads(const rapt::state_source& from) {
    EXPECT_EQ(rapt::difference(rapt::load_config(from), config_), "");
    if (state_.weights != family::none) expect_weights(from);
    rapt::projected_kv fixed(ctx_, config_), stored(ctx_, config_);
    if (state_.static_heads > 0) {
      rapt::load_static_kv(ctx_, from, fixed);
      expect_projected("static", state_.static_heads, fixed);
      EXPECT_TRUE(fixed.is_static());
    }
    if (state_.projected_heads > 0) {
      rapt::load_state(ctx_, from, stored);
      expect_projected("projected", state_.projected_heads, stored);
    }
    if (!state_.kv_lens.empty()) expect_cache(from);
  }

 private:
  rapt::projected_kv projected(const std::string& group, index_t heads, const rapt::fingerprint& made_by) {
    const index_t rows = golden_state::batch * golden_state::projected_len * heads;
    const auto k = values_of(group + ".k", state_.kv, rows * config_.head_dim), v = values_of(group + ".v", state_.kv, rows * config_.value_dim);
    return rapt::projected_kv::import(ctx_, config_, golden_state::batch, golden_state::projected_len, heads, k.data(), v.data(), group == "static",
                                      made_by);
  }
  std::vector<std::byte> layer_values(index_t layer, index_t sequence, const char* which, index_t dim) const {
    const index_t len = state_.kv_lens[static_cast<std::size_t>(sequence)];
    return values_of("layers." + std::to_string(layer) + ".cache." + std::to_string(sequence) + "." + which, state_.kv,
                     len * config_.num_kv_heads * dim);
  }
  rapt::sequence fill(rapt::kv_cache& cache, index_t number, const rapt::fingerprint& made_by) {
    rapt::sequence s = cache.add_sequence();
    const index_t len = state_.kv_lens[static_cast<std::size_t>(number)];
    std::vector<index_t> positions;
    for (index_t i = 0; i < len; ++i) positions.push_back(golden_state::position(number, i));
    rapt::step step = cache.begin_step({{s, len, positions}});
    for (index_t l = 0; l < golden_state::num_layers; ++l) {
      const auto k = layer_values(l, number, "k", config_.head_dim), v = layer_values(l, number, "v", config_.value_dim);
      const rapt::kv_bits bits{k.data(), v.data()};
      cache.import_layer(ctx_, step, l, std::span(&bits, 1), made_by);
    }
    step.commit();
    return s;
  }

  void expect_weights(const rapt::state_source& from) {
    const auto module = rapt::load_module<T>(ctx_, from);
    const auto weights = module.weights(ctx_);
    EXPECT_EQ(weights.size(), golden_weights(state_).memory.size());
    for (const rapt::named_tensor& w : weights) {
      const index_t count = static_cast<index_t>(w.bytes.size()) / rapt::size_of(w.type);
      EXPECT_EQ(w.bytes, values_of("weights." + w.name, w.type, count)) << w.name;
    }
  }
  void expect_projected(const std::string& group, index_t heads, const rapt::projected_kv& kv) {
    ASSERT_EQ(kv.batch(), golden_state::batch);
    ASSERT_EQ(kv.kv_len(), golden_state::projected_len);
    ASSERT_EQ(kv.stored_heads(), heads);
    EXPECT_EQ(kv.numerics(), "cpu-v1");
    const index_t rows = golden_state::projected_len * heads, size = rapt::size_of(state_.kv);
    std::vector<std::byte> k, v;
    for (index_t b = 0; b < kv.batch(); ++b) {
      std::vector<std::byte> row_k(static_cast<std::size_t>(rows * config_.head_dim * size)),
          row_v(static_cast<std::size_t>(rows * config_.value_dim * size));
      kv.export_row(ctx_, b, row_k.data(), row_v.data());
      k.insert(k.end(), row_k.begin(), row_k.end());
      v.insert(v.end(), row_v.begin(), row_v.end());
    }
    EXPECT_EQ(k, values_of(group + ".k", state_.kv, kv.batch() * rows * config_.head_dim));
    EXPECT_EQ(v, values_of(group + ".v", state_.kv, kv.batch() * rows * config_.value_dim));
  }
  void expect_cache(const rapt::state_source& from) {
    rapt::kv_cache cache(ctx_, config_, state_.limits());
    std::vector<rapt::sequence> sequences;
    rapt::load_state(ctx_, from, cache, sequences);
    ASSERT_EQ(sequences.size(), state_.kv_lens.size());
    EXPECT_EQ(cache.numerics(), "cpu-v1");
    for (index_t s = 0; s < static_cast<index_t>(sequences.size()); ++s) {
      const rapt::sequence& sequence = sequences[static_cast<std::size_t>(s)];
      ASSERT_EQ(sequence.kv_len(), state_.kv_lens[static_cast<std::size_t>(s)]);
      for (index_t i = 0; i < sequence.kv_len(); ++i) EXPECT_EQ(sequence.position(i), golden_state::position(s, i));
      for (index_t l = 0; l < golden_state::num_layers; ++l) {
        const auto k = layer_values(l, s, "k", config_.head_dim), v = layer_values(l, s, "v", config_.value_dim);
        std::vector<std::byte> loaded_k(k.size()), loaded_v(v.size());
        cache.export_layer(ctx_, sequence, l, 0, sequence.kv_len(), loaded_k.data(), loaded_v.data());
        EXPECT_EQ(loaded_k, k) << "layer " << l << ", sequence " << s;
        EXPECT_EQ(loaded_v, v) << "layer " << l << ", sequence " << s;
      }
    }
    if (state_.weights == family::none) { EXPECT_EQ(cache.layer_fingerprint(1), made_by(0)); }
  }

  const golden_state& state_;
  rapt::attention_config config_;
  rapt::cpu::context ctx_{{.num_threads = 1}};
};

/// double where only that keeps the contents.
template <class Use>
void with_objects(const golden_state& state, Use use) {
  if (state.kv == dtype::f64 || state.weight_type == dtype::f64)
    use(golden_objects<double>(state));
  else
    use(golden_objects<float>(state));
}
void expect_loads(const golden_state& state, const rapt::state_source& from) {
  with_objects(state, [&](auto&& objects) { objects.expect_loads(from); });
}

class golden : public testing::TestWithParam<golden_state> {
 protected:
  std::string file = read_file(path_of(GetParam()));
  static std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }
};

TEST_P(golden, version_1_0_loads) {
  expect_loads(GetParam(), path_of(GetParam()));
  expect_loads(GetParam(), bytes_of(file));
}

/// The same state gives the same bytes, in every version that writes 1.0.
TEST_P(golden, version_1_0_is_written_with_the_same_bytes) {
  with_objects(GetParam(), [&](auto&& objects) {
    const std::vector<std::byte> saved = objects.save();
    EXPECT_TRUE(std::ranges::equal(saved, bytes_of(file)));
    if (const char* folder = std::getenv("RAPT_WRITE_GOLDEN"))
      write_file(std::string(folder) + "/" + GetParam().name + ".state", {reinterpret_cast<const char*>(saved.data()), saved.size()});
  });
}

TEST_P(golden, a_1_1_file_with_unknown_optional_keys_loads) {
  const std::string newer = edited(edited(file, "\"rapt.version\":\"1.0\"", "\"rapt.version\":\"1.1\""), "{\"__metadata__\":{",
                                   "{\"__metadata__\":{\"a\":\"of somebody\",\"rapt.later\":\"{\\\"anything\\\":1}\",\"rapt.zz\":\"\",");
  expect_loads(GetParam(), bytes_of(newer));
}

TEST_P(golden, a_file_that_requires_what_is_unknown_is_refused) {
  for (const char* version : {"1.0", "1.1"}) {
    const std::string newer = edited(edited(file, "\"rapt.version\":\"1.0\"", "\"rapt.version\":\"" + std::string(version) + "\""),
                                     "{\"__metadata__\":{", "{\"__metadata__\":{\"rapt.req.blocks\":\"\",");
    try {
      rapt::load_config(bytes_of(newer));
      ADD_FAILURE() << "a file that requires something unknown was accepted";
    } catch (const rapt::version_error& e) { EXPECT_NE(std::string(e.what()).find("rapt.req.blocks"), std::string::npos) << e.what(); }
  }
}

TEST_P(golden, another_major_version_is_refused) {
  for (const char* version : {"0.9", "2.0", "10.0"})
    EXPECT_THROW(rapt::load_config(bytes_of(edited(file, "\"rapt.version\":\"1.0\"", "\"rapt.version\":\"" + std::string(version) + "\""))),
                 rapt::version_error);
}

INSTANTIATE_TEST_SUITE_P(files, golden, testing::ValuesIn(golden_states()), [](const auto& each) { return each.param.name; });

TEST(golden, every_file_is_tested) {
  std::vector<std::string> files, tested;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(RAPT_SOURCE_DIR) + "/fixtures/golden"))
    files.push_back(entry.path().stem().string());
  for (const golden_state& state : golden_states()) tested.push_back(state.name);
  std::ranges::sort(files);
  std::ranges::sort(tested);
  EXPECT_EQ(files, tested);
}

}  // namespace
}  // namespace rapt_test::golden
