// A fuzzer of the cache's interface: random lives of a small cache (sequences added, forked, grown, cut back, dropped, saved and loaded, stored keys
// cleared, and calls that must be refused) beside a plain model, which is a vector of tokens for each sequence. After every action lengths, positions
// and the bits of all keys and values are compared; each forward's output is compared with a fresh cache that is given the model's tokens at once.
// RAPT_LIFE_CASES sets how many lives are led, RAPT_LIFE_SEED the first; a failure prints its seed.
#include <contract/cache_rig.hpp>
#include <rapt/state/save_load.hpp>

#include <cstdlib>
#include <map>

namespace rapt_test::contract {
namespace {

index_t from_environment(const char* name, index_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoll(text, nullptr, 10);
}

struct token {
  index_t row;  ///< of the rig's x
  index_t position;
  friend auto operator<=>(const token&, const token&) = default;
};
using tokens = std::vector<token>;

constexpr index_t max_tokens = 70, max_sequences = 4, num_rows = 24;

class cache_life {
 public:
  explicit cache_life(index_t seed) : random_(static_cast<std::uint64_t>(seed)), rig_(num_rows, static_cast<std::uint64_t>(seed % 3)) {}

  void lead(index_t num_actions) {
    const index_t all_pages = cache_.num_free_pages();
    for (; num_actions > 0 && !testing::Test::HasFailure(); --num_actions) {
      act();
      compare();
    }
    live_.clear();
    EXPECT_EQ(cache_.num_sequences(), 0);
    EXPECT_EQ(cache_.num_free_pages(), all_pages) << "a page is lost";
  }

 private:
  struct live_sequence {
    tokens model;
    rapt::sequence handle;
  };
  struct snapshot {
    std::vector<std::byte> file;
    std::vector<tokens> models;
  };

  live_sequence& any() { return live_[static_cast<std::size_t>(random_.below(static_cast<index_t>(live_.size())))]; }
  bool has_room() const { return static_cast<index_t>(live_.size()) < max_sequences; }
  index_t num_tokens() const {
    index_t all = 0;
    for (const live_sequence& s : live_) all += static_cast<index_t>(s.model.size());
    return all;
  }

  void act() {
    if (live_.empty()) return add();
    switch (random_.below(12)) {
      case 0:
        return add();
      case 1:
        return fork();
      case 2:
        return truncate();
      case 3:
        if (random_.chance(0.4)) live_.erase(live_.begin() + random_.below(static_cast<index_t>(live_.size())));
        return;
      case 4:
        return save();
      case 5:
        return load();
      case 6:
        return refuse();
      case 7:
        return store();
      default:
        return step();
    }
  }

  void add() {
    if (has_room())
      live_.push_back({{}, cache_.add_sequence()});
    else
      EXPECT_THROW(cache_.add_sequence(), rapt::capacity_error);
  }
  void fork() {
    const live_sequence& from = any();
    if (!has_room()) {
      EXPECT_THROW(from.handle.fork(), rapt::capacity_error);
      return;
    }
    tokens model = from.model;
    rapt::sequence handle = from.handle.fork();
    live_.push_back({std::move(model), std::move(handle)});
  }
  void truncate() {
    live_sequence& s = any();
    const auto len = static_cast<index_t>(s.model.size());
    const index_t kept = random_.chance(0.2) ? 0 : random_.between(0, len);
    s.handle.truncate(kept);
    s.model.resize(static_cast<std::size_t>(kept));
  }

  /// Rows for some of the sequences, each once, in any order.
  void step() {
    std::vector<live_sequence*> order;
    for (live_sequence& s : live_)
      if (random_.chance(0.6)) order.insert(order.begin() + random_.below(static_cast<index_t>(order.size()) + 1), &s);
    std::vector<tokens> grown;
    std::vector<std::vector<index_t>> positions(order.size());
    std::vector<rapt::kv_cache::entry> entries;
    std::vector<index_t> rows;
    index_t num_new = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      const index_t count = random_.pick<index_t>({0, 1, 1, 2, 5, 17}), len = static_cast<index_t>(order[i]->model.size());
      const bool explicit_positions = random_.chance(0.3);
      tokens model = order[i]->model;
      for (index_t n = 0; n < count; ++n) {
        model.push_back({random_.below(num_rows), explicit_positions ? random_.pick<index_t>({0, 3, 40, 41, 1'000'000}) : len + n});
        rows.push_back(model.back().row);
        if (explicit_positions) positions[i].push_back(model.back().position);
      }
      num_new += count;
      entries.push_back({order[i]->handle, count, positions[i]});
      grown.push_back(std::move(model));
    }
    std::optional<rapt::step> opened;
    try {
      opened.emplace(cache_.begin_step(entries));
    } catch (const rapt::capacity_error&) {
      EXPECT_GT(num_tokens() + num_new, max_tokens) << "a step that fits was refused";
      return;
    }
    if (random_.chance(0.1)) refuse_while_open(*opened);
    const index_t last = random_.chance(0.2) ? random_.between(0, cache_rig::num_layers) : cache_rig::num_layers;
    const std::vector<std::byte> y = rig_.forward(*opened, rows, 0, last);
    if (last < cache_rig::num_layers) {
      EXPECT_THROW(opened->commit(), rapt::state_error);
      return;  // dropped
    }
    compare_outputs(order, grown, y, num_new);
    if (random_.chance(0.15)) return;  // dropped though complete
    opened->commit();
    EXPECT_THROW(opened->commit(), rapt::state_error);
    for (std::size_t i = 0; i < order.size(); ++i) order[i]->model = std::move(grown[i]);
  }

  /// y [layers, rows, output_dim] of a step, against each sequence alone in a fresh cache.
  void compare_outputs(const std::vector<live_sequence*>& order, const std::vector<tokens>& grown, const std::vector<std::byte>& y, index_t num_new) {
    const auto row_bytes = static_cast<std::size_t>(rig_.config.output_dim) * sizeof(float);
    std::size_t first = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      const std::size_t old = order[i]->model.size(), count = grown[i].size() - old;
      if (count == 0) continue;
      const std::vector<std::byte> alone = forward_alone(grown[i]);
      for (std::size_t l = 0; l < static_cast<std::size_t>(cache_rig::num_layers); ++l) {
        const auto from = y.begin() + static_cast<std::ptrdiff_t>((l * static_cast<std::size_t>(num_new) + first) * row_bytes);
        const auto expected = alone.begin() + static_cast<std::ptrdiff_t>((l * grown[i].size() + old) * row_bytes);
        EXPECT_TRUE(std::equal(from, from + static_cast<std::ptrdiff_t>(count * row_bytes), expected)) << "outputs of layer " << l;
      }
      first += count;
    }
  }
  std::vector<std::byte> forward_alone(const tokens& model) {
    rapt::kv_cache fresh = rig_.make_cache(static_cast<index_t>(model.size()), 1);
    const rapt::sequence s = fresh.add_sequence();
    std::vector<index_t> rows, positions;
    for (const token& t : model) rows.push_back(t.row), positions.push_back(t.position);
    rapt::step step = fresh.begin_step({{s, static_cast<index_t>(model.size()), positions}});
    std::vector<std::byte> y = rig_.forward(step, rows);
    step.commit();
    return y;
  }

  void save() {
    snapshot saved;
    std::vector<rapt::sequence> handles;  // forks, if there is room, so that several are in one file
    if (random_.chance(0.5) && static_cast<index_t>(2 * live_.size()) <= max_sequences) {
      for (const live_sequence& s : live_) handles.push_back(s.handle.fork()), saved.models.push_back(s.model);
      saved.file = rapt::save_state(rig_.ctx, cache_, handles);
    } else {
      const live_sequence& s = any();
      saved.models.push_back(s.model);
      saved.file = rapt::save_state(rig_.ctx, cache_, s.handle);
    }
    snapshots_.push_back(std::move(saved));
    if (snapshots_.size() > 4) snapshots_.erase(snapshots_.begin());
  }

  void load() {
    if (snapshots_.empty()) return;
    snapshot& from = snapshots_[static_cast<std::size_t>(random_.below(static_cast<index_t>(snapshots_.size())))];
    index_t num_new = 0;
    for (const tokens& model : from.models) num_new += static_cast<index_t>(model.size());
    if (random_.chance(0.2)) {
      std::vector<std::byte> changed = from.file;
      changed[static_cast<std::size_t>(random_.below(static_cast<index_t>(changed.size())))] ^= static_cast<std::byte>(1 << random_.below(8));
      std::vector<rapt::sequence> none;
      EXPECT_THROW(rapt::load_state(rig_.ctx, changed, cache_, none), rapt::error);
      EXPECT_TRUE(none.empty());
      return;
    }
    const bool fits = num_tokens() + num_new <= max_tokens && static_cast<index_t>(live_.size() + from.models.size()) <= max_sequences;
    try {
      if (from.models.size() == 1 && random_.chance(0.5)) {
        live_sequence& into = any();
        rapt::load_state(rig_.ctx, from.file, cache_, into.handle);
        into.model = from.models[0];
      } else {
        std::vector<rapt::sequence> loaded;
        rapt::load_state(rig_.ctx, from.file, cache_, loaded);
        ASSERT_EQ(loaded.size(), from.models.size());
        for (std::size_t i = 0; i < loaded.size(); ++i) live_.push_back({from.models[i], std::move(loaded[i])});
      }
    } catch (const rapt::capacity_error&) { EXPECT_FALSE(fits) << "a load that fits was refused"; }
  }

  /// Calls that must be refused and change nothing; compare() sees to that.
  void refuse() {
    live_sequence& s = any();
    const auto len = static_cast<index_t>(s.model.size());
    EXPECT_THROW(s.handle.truncate(len + 1), rapt::range_error);
    EXPECT_THROW(s.handle.truncate(-1), rapt::range_error);
    EXPECT_THROW(s.handle.position(len), rapt::range_error);
    EXPECT_THROW(cache_.begin_step({{s.handle, cache_.capacity() + 1}}), rapt::capacity_error);
    EXPECT_THROW(cache_.begin_step({{s.handle, std::numeric_limits<index_t>::max()}}), rapt::capacity_error);
    EXPECT_THROW(cache_.begin_step({{s.handle, -1}}), rapt::error);
    EXPECT_THROW(cache_.begin_step({{s.handle, 1}, {s.handle, 1}}), rapt::error);
    const rapt::sequence nobody;
    EXPECT_THROW(cache_.begin_step({{s.handle, 1}, {nobody, 1}}), rapt::state_error);
    const std::vector<index_t> negative{-1};
    EXPECT_THROW(cache_.begin_step({{s.handle, 1, negative}}), rapt::error);
    std::vector<std::byte> none;
    EXPECT_THROW(rapt::load_state(rig_.ctx, none, cache_, s.handle), rapt::format_error);
  }
  void refuse_while_open(rapt::step& open) {
    live_sequence& s = any();
    EXPECT_THROW(cache_.begin_step({{s.handle, 1}}), rapt::state_error);
    EXPECT_THROW(s.handle.truncate(0), rapt::state_error);
    EXPECT_THROW(s.handle.fork(), rapt::error);
    EXPECT_THROW(open.layer(cache_rig::num_layers), rapt::range_error);
    EXPECT_THROW(rig_.forward(open, {}, 1, 2), rapt::error);
    if (!snapshots_.empty()) { EXPECT_THROW(rapt::load_state(rig_.ctx, snapshots_[0].file, cache_, s.handle), rapt::error); }
  }

  /// Keys and values that are stored whole.
  void store() {
    if (random_.chance(0.2)) {
      stored_.clear();
      stored_rows_.reset();
    } else if (stored_rows_ && random_.chance(0.5)) {
      const std::vector<std::byte> file = rapt::save_state(rig_.ctx, stored_);
      rapt::projected_kv fresh(rig_.ctx, rig_.config);
      rapt::load_state(rig_.ctx, file, fresh);
      stored_ = std::move(fresh);
    } else {
      const index_t len = random_.pick<index_t>({1, 3, 16, 17});
      stored_rows_.emplace();
      std::vector<float> x, y(static_cast<std::size_t>(len * rig_.config.output_dim));
      for (index_t i = 0; i < len; ++i) {
        stored_rows_->push_back({random_.below(num_rows), i});
        const auto row = rig_.x.begin() + stored_rows_->back().row * rig_.config.model_dim;
        x.insert(x.end(), row, row + rig_.config.model_dim);
      }
      const auto rows = rapt::view(static_cast<const float*>(x.data()), len, rig_.config.model_dim);
      rig_.layers[0].forward(rig_.ctx, rows, rapt::store(stored_, rows), rapt::view(y.data(), len, rig_.config.output_dim));
    }
  }

  /// Keys and values of one token in one layer, made alone.
  struct token_bits {
    std::string k, v;
  };
  const token_bits& bits_of(const token& t, index_t layer) {
    auto found = memory_.find({t, layer});
    if (found != memory_.end()) return found->second;
    rapt::kv_cache fresh = rig_.make_cache(1, 1);
    const rapt::sequence s = fresh.add_sequence();
    rapt::step step = fresh.begin_step({{s, 1, std::span(&t.position, 1)}});
    rig_.forward(step, {t.row});
    step.commit();
    for (index_t l = 0; l < cache_rig::num_layers; ++l) {
      token_bits& bits = memory_[{t, l}];
      bits.k.resize(k_bytes()), bits.v.resize(v_bytes());
      fresh.export_layer(rig_.ctx, s, l, 0, 1, bits.k.data(), bits.v.data());
    }
    return memory_.at({t, layer});
  }
  std::size_t k_bytes() const { return static_cast<std::size_t>(rig_.config.num_kv_heads * rig_.config.head_dim * size_of(*rig_.config.kv_dtype)); }
  std::size_t v_bytes() const { return static_cast<std::size_t>(rig_.config.num_kv_heads * rig_.config.value_dim * size_of(*rig_.config.kv_dtype)); }

  void expect_bits(const tokens& model, index_t layer, const std::string& k, const std::string& v) {
    std::string expected_k, expected_v;
    for (const token& t : model) expected_k += bits_of(t, layer).k, expected_v += bits_of(t, layer).v;
    EXPECT_TRUE(k == expected_k) << "keys of layer " << layer;
    EXPECT_TRUE(v == expected_v) << "values of layer " << layer;
  }

  void compare() {
    EXPECT_EQ(cache_.num_sequences(), static_cast<index_t>(live_.size()));
    for (const live_sequence& s : live_) {
      const auto len = static_cast<index_t>(s.model.size());
      ASSERT_EQ(s.handle.kv_len(), len);
      for (index_t i = 0; i < len; ++i) EXPECT_EQ(s.handle.position(i), s.model[static_cast<std::size_t>(i)].position);
      for (index_t l = 0; l < cache_rig::num_layers; ++l) {
        std::string k(s.model.size() * k_bytes(), '\0'), v(s.model.size() * v_bytes(), '\0');
        cache_.export_layer(rig_.ctx, s.handle, l, 0, len, k.data(), v.data());
        expect_bits(s.model, l, k, v);
      }
    }
    ASSERT_EQ(stored_.empty(), !stored_rows_);
    if (!stored_rows_) return;
    ASSERT_EQ(stored_.kv_len(), static_cast<index_t>(stored_rows_->size()));
    std::string k(stored_rows_->size() * k_bytes(), '\0'), v(stored_rows_->size() * v_bytes(), '\0');
    stored_.export_row(rig_.ctx, 0, k.data(), v.data());
    expect_bits(*stored_rows_, 0, k, v);
  }

  random_source random_;
  cache_rig rig_;
  rapt::kv_cache cache_ = rig_.make_cache(max_tokens, max_sequences);
  std::vector<live_sequence> live_;
  std::vector<snapshot> snapshots_;
  rapt::projected_kv stored_{rig_.ctx, rig_.config};
  std::optional<tokens> stored_rows_;
  std::map<std::pair<token, index_t>, token_bits> memory_;
};

TEST(cache_life, equals_a_vector_of_tokens_for_each_sequence) {
  const index_t first = from_environment("RAPT_LIFE_SEED", 1), cases = from_environment("RAPT_LIFE_CASES", 300);
  for (index_t seed = first; seed < first + cases && !HasFailure(); ++seed) {
    SCOPED_TRACE("replay with RAPT_LIFE_CASES=1 RAPT_LIFE_SEED=" + std::to_string(seed));
    cache_life(seed).lead(60);
  }
}

}  // namespace
}  // namespace rapt_test::contract
