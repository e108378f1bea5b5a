// A state with every kind of part: saved to a file, and what it is loaded into.
#pragma once
#include "state_rig.hpp"
#include "system_rig.hpp"

namespace rapt_test {

/// Every kind of part.
struct parts_of_a_state {
  bits_context ctx;
  bits_module module = some_module(ctx, 1);
  bits_projected given = some_projected(ctx, true, 1, 4, 3, 5), stored = some_projected(ctx, false, 2, 9, 1, 7, module.fingerprint());
  bits_cache cache{ctx, small_config(), small_limits};
  std::vector<bits_sequence> sequences = [this] {
    std::vector<bits_sequence> all;
    for (int i = 0; i < 2; ++i) all.push_back(cache.add_sequence());
    return all;
  }();
};

/// A state with every kind of part, in a file.
class state_in_a_file : public testing::Test, protected parts_of_a_state {
 protected:
  void SetUp() override {
    const std::vector<index_t> positions = {5, 3, 3, 9, 70};
    append_bits(ctx, cache, sequences[0], 21, 3, module.fingerprint());
    append_bits(ctx, cache, sequences[1], 5, 4, module.fingerprint(), positions);
    bytes = save();
    write_file(path, text_of(bytes));
  }
  std::vector<std::byte> save() { return rapt::save_state(ctx, module, given, stored, cache, sequences); }
  void save(const std::string& to, const rapt::save_options& options = {}) {
    rapt::save_state(ctx, to, options, module, given, stored, cache, sequences);
  }
  std::string visible_all() {
    std::string all = visible(ctx, module) + visible(ctx, given) + visible(ctx, stored) + visible(cache);
    for (const bits_sequence& s : sequences) all += visible(ctx, cache, s);
    return all;
  }

  std::vector<std::byte> bytes;
  temporary_directory directory;
  const std::string path = directory / "state";
};

/// What a state is loaded into: each part, in turn, from a file or from bytes.
struct receiver {
  explicit receiver(bits_context& of) : ctx(of) { append_bits(ctx, cache, loaded[0], 2, 9, some_module(ctx, 1).fingerprint()); }
  void load(const rapt::state_source& from, const rapt::load_options& options = {}) {
    rapt::load_state(ctx, from, cache, loaded, options);
    rapt::load_state(ctx, from, module, options);
    rapt::load_state(ctx, from, stored, options);
    rapt::load_static_kv(ctx, from, given, options);
  }
  std::string visible_all() {
    std::string all = visible(ctx, module) + visible(ctx, given) + visible(ctx, stored) + visible(cache) + std::to_string(loaded.size());
    for (const bits_sequence& s : loaded) all += visible(ctx, cache, s);
    return all;
  }
  bits_context& ctx;
  bits_module module = some_module(ctx, 2);
  bits_projected given{ctx, small_config()}, stored{ctx, small_config()};
  bits_cache cache{ctx, small_config(), small_limits};
  std::vector<bits_sequence> loaded = [this] {
    std::vector<bits_sequence> one;
    one.push_back(cache.add_sequence());
    return one;
  }();
};

}  // namespace rapt_test
