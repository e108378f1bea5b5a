// No memory at the k-th allocation, for every k, of every save and load: std::bad_alloc, and everything as it was.
#include "whole_state.hpp"

namespace {

using namespace rapt_test;

/// Runs `call` with its first allocation failing, then the second, and so on until it comes through. `check` runs after each failure.
template <class Call, class Check>
std::size_t fail_every_allocation(Call call, Check check) {
  for (std::size_t k = 1;; ++k) {
    allocations.calls = 0, allocations.fail_at = k;
    bool done = false;
    try {
      call();
      done = true;
    } catch (const std::bad_alloc&) {}
    const bool was_reached = allocations.calls >= k;
    allocations.fail_at = 0;
    if (done) {
      EXPECT_FALSE(was_reached) << "allocation " << k << " failed and nobody said so";
      return k - 1;
    }
    check(k);
    if (testing::Test::HasFailure()) return k;
  }
}

class allocation_faults : public testing::TestWithParam<way_of_moving>, protected parts_of_a_state {
 protected:
  const moving way{GetParam()};
  void SetUp() override {
    if (!counts_new) GTEST_SKIP() << "the sanitizer owns operator new";
    append_bits(ctx, cache, sequences[0], 21, 3, module.fingerprint());
    append_bits(ctx, cache, sequences[1], 5, 4, module.fingerprint());
    state = rapt::save_state(ctx, module, given, stored, cache, sequences);
    one_sequence = rapt::save_state(ctx, module, given, stored, cache, sequences[0]);
    write_file(directory / "all", text_of(state));
    write_file(directory / "one", text_of(one_sequence));
  }
  /// `load` into `receiver`, whose bits `see` shows, from bytes and from a file.
  template <class Load, class See>
  void every_allocation_of_a_load(const char* what, const char* file, Load load, See see) {
    SCOPED_TRACE(what);
    const std::string before = see();
    const auto files = contents_of(directory.path());
    const std::ptrdiff_t descriptors = num_descriptors();
    const std::size_t refused = fail_every_allocation([&] { load(directory / file); },
                                                      [&](std::size_t k) {
                                                        ASSERT_EQ(see(), before) << "allocation " << k;
                                                        ASSERT_EQ(num_descriptors(), descriptors) << "allocation " << k;
                                                        ASSERT_EQ(contents_of(directory.path()), files);
                                                      });
    EXPECT_GT(refused, 10u);
    std::printf("%zu allocations of %s\n", refused, what);
  }

  std::vector<std::byte> state, one_sequence;
  temporary_directory directory;
};

TEST_P(allocation_faults, hostile_33_saving_to_a_file) {
  const temporary_directory to;
  write_file(to / "state", "old");
  const auto files = contents_of(to.path());
  const std::ptrdiff_t descriptors = num_descriptors();
  const std::string path = to / "state";
  const std::size_t refused = fail_every_allocation([&] { rapt::save_state(ctx, path, module, given, stored, cache, sequences); },
                                                    [&](std::size_t k) {
                                                      ASSERT_EQ(contents_of(to.path()), files) << "allocation " << k;
                                                      ASSERT_EQ(num_descriptors(), descriptors) << "allocation " << k;
                                                    });
  EXPECT_GT(refused, 100u);
  EXPECT_EQ(read_file(path), text_of(state));
  std::printf("%zu allocations of a save\n", refused);
}

TEST_P(allocation_faults, hostile_33_saving_to_bytes) {
  std::vector<std::byte> bytes = {std::byte{1}};
  const std::size_t refused = fail_every_allocation([&] { bytes = rapt::save_state(ctx, module, given, stored, cache, sequences); },
                                                    [&](std::size_t) { ASSERT_EQ(bytes.size(), 1u); });
  EXPECT_GT(refused, 100u);
  EXPECT_EQ(bytes, state);
}

/// Nothing has been appended to this cache: neither fingerprints nor numerics nor pages may be left behind.
TEST_P(allocation_faults, hostile_33_loading_into_a_fresh_cache) {
  bits_context mine("mine-v1");
  bits_cache to(mine, small_config(), small_limits);
  bits_sequence empty = to.add_sequence();
  every_allocation_of_a_load(
      "a load into an empty sequence", "one", [&](const std::string& path) { rapt::load_state(mine, path, to, empty); },
      [&] { return visible(to) + visible(mine, to, empty); });
  EXPECT_EQ(visible(mine, to, empty), visible(ctx, cache, sequences[0]));
  EXPECT_EQ(to.numerics(), "mine-v1 + bits-v1");
}

TEST_P(allocation_faults, hostile_33_loading_over_a_sequence) {
  bits_cache to(ctx, small_config(), small_limits);
  bits_sequence full = to.add_sequence();
  const std::vector<index_t> positions = {3, 1, 1, 8};
  append_bits(ctx, to, full, 4, 9, module.fingerprint(), positions);
  every_allocation_of_a_load(
      "a load over a sequence", "one", [&](const std::string& path) { rapt::load_state(ctx, path, to, full); },
      [&] { return visible(to) + visible(ctx, to, full); });
  EXPECT_EQ(visible(ctx, to, full), visible(ctx, cache, sequences[0]));
}

TEST_P(allocation_faults, hostile_33_loading_a_vector_of_sequences) {
  bits_cache to(ctx, small_config(), small_limits);
  std::vector<bits_sequence> loaded;
  loaded.push_back(to.add_sequence());
  append_bits(ctx, to, loaded[0], 4, 9, module.fingerprint());
  every_allocation_of_a_load(
      "a load of all sequences", "all", [&](const std::string& path) { rapt::load_state(ctx, path, to, loaded); },
      [&] { return visible(to) + std::to_string(loaded.size()) + visible(ctx, to, loaded[0]); });
  ASSERT_EQ(loaded.size(), 2u);
  EXPECT_EQ(visible(ctx, to, loaded[1]), visible(ctx, cache, sequences[1]));
}

TEST_P(allocation_faults, hostile_33_loading_weights_and_stored_keys) {
  bits_module to = some_module(ctx, 2);
  every_allocation_of_a_load(
      "a load of weights", "all", [&](const std::string& path) { rapt::load_state(ctx, path, to); }, [&] { return visible(ctx, to); });
  EXPECT_EQ(visible(ctx, to), visible(ctx, module));
  bits_projected to_stored(ctx, small_config()), to_static(ctx, small_config());
  every_allocation_of_a_load(
      "a load of stored keys", "all", [&](const std::string& path) { rapt::load_state(ctx, path, to_stored); },
      [&] { return visible(ctx, to_stored); });
  EXPECT_EQ(visible(ctx, to_stored), visible(ctx, stored));
  every_allocation_of_a_load(
      "a load of static keys", "all", [&](const std::string& path) { rapt::load_static_kv(ctx, path, to_static); },
      [&] { return visible(ctx, to_static); });
  EXPECT_EQ(visible(ctx, to_static), visible(ctx, given));
}

TEST_P(allocation_faults, hostile_33_what_makes_something_new) {
  const auto nothing = [] { return std::string(); };
  every_allocation_of_a_load(
      "load_module", "all", [&](const std::string& path) { rapt::load_module<float>(ctx, path); }, nothing);
  every_allocation_of_a_load(
      "load_config", "all", [&](const std::string& path) { rapt::load_config(path); }, nothing);
  for (const bool mmap : {false, true})
    every_allocation_of_a_load(
        "safetensors::open", "all",
        [&](const std::string& path) {
          const auto file = rapt::safetensors::open(path, {.mmap = mmap});
          ASSERT_FALSE(rapt::safetensors::validate_finite(file).code == rapt::errc::io);
          ASSERT_TRUE(rapt::state_weights(file).w_out.present());
        },
        nothing);
}

INSTANTIATE_TEST_SUITE_P(moved, allocation_faults, testing::ValuesIn(ways_of_moving), name_of_way);

}  // namespace
