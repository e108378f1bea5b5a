// Saving or loading one sequence of a cache has nothing to do with the others: their pages are neither read nor written, and no page changes hands.
#include <rapt/cpu/context.hpp>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "state_rig.hpp"

namespace {

using namespace rapt_test;

/// A cache in memory whose pages can be locked: each page of each layer begins at a page of the system's.
class one_sequence : public testing::Test {
 protected:
  static constexpr index_t num_layers = 2, page_len = 64, num_sequences = 3;

  void SetUp() override {
    ASSERT_EQ(page_bytes() % static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), 0u);
    // Appended in turns, so that the pages of one lie between those of the others; the last page of each is not full.
    for (index_t round = 0; round < 3; ++round)
      for (std::size_t s = 0; s < sequences.size(); ++s)
        append(sequences[s], round < 2 ? page_len : 9 + static_cast<index_t>(s), static_cast<unsigned>(10 * round) + static_cast<unsigned>(s));
  }
  void TearDown() override { protect_all(PROT_READ | PROT_WRITE); }

  static rapt::attention_config config() {
    return rapt::resolve({.model_dim = 64, .num_heads = 2, .num_kv_heads = 2, .head_dim = 16, .kv_dtype = dtype::f32});
  }
  static rapt::cache_limits limits(std::span<std::byte> storage = {}) {
    return {.num_layers = num_layers, .max_tokens = 1200, .max_sequences = num_sequences + 2, .page_len = page_len, .storage = storage};
  }
  void append(const rapt::sequence& s, index_t count, unsigned seed) {
    rapt::step step = cache.begin_step({{s, count}});
    for (index_t l = 0; l < num_layers; ++l) {
      const auto k = random_bytes(k_bytes(cache.config(), count), 2 * seed + 100 * static_cast<unsigned>(l)),
                 v = random_bytes(v_bytes(cache.config(), count), 2 * seed + 1 + 100 * static_cast<unsigned>(l));
      const rapt::kv_bits bits{k.data(), v.data()};
      cache.import_layer(ctx, step, l, {&bits, 1}, some_fingerprint(1));
    }
    step.commit();
  }
  std::string visible_of(const rapt::kv_cache& of, const rapt::sequence& s) {
    std::string all = std::to_string(s.kv_len()) + " ";
    for (index_t l = 0; l < num_layers; ++l) {
      std::vector<std::byte> k(k_bytes(of.config(), s.kv_len())), v(v_bytes(of.config(), s.kv_len()));
      of.export_layer(ctx, s, l, 0, s.kv_len(), k.data(), v.data());
      all += hash_of(k) + hash_of(v);
    }
    return all;
  }

  std::size_t page_bytes() const { return static_cast<std::size_t>(page_len * 2 * (16 + 16) * 4); }
  std::size_t num_pages() const { return storage_bytes / page_bytes() / num_layers; }
  void protect_all(int rights) { ASSERT_EQ(mprotect(storage, storage_bytes, rights), 0); }
  void protect_page(std::size_t page, int rights) {
    for (std::size_t l = 0; l < num_layers; ++l) ASSERT_EQ(mprotect(storage + (l * num_pages() + page) * page_bytes(), page_bytes(), rights), 0);
  }
  /// Page 0 is taken first: sequence s has pages s, s + 3 and s + 6. The others' are locked.
  void lock_pages_of_others(std::size_t s) {
    for (std::size_t page = 0; page < 9; ++page)
      if (page % num_sequences != s) protect_page(page, PROT_NONE);
  }
  /// How a child that runs `call` ends: 0, or the signal that killed it.
  template <class Call>
  static int end_of(Call call) {
    const pid_t child = fork();
    if (child == 0) {
      signal(SIGSEGV, SIG_DFL);
      call();
      _exit(0);
    }
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
  }

  rapt::cpu::context ctx{{.num_threads = 1}};
  const std::size_t storage_bytes = rapt::cache_bytes(config(), limits());
  std::byte* const storage = static_cast<std::byte*>(mmap(nullptr, storage_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  struct unmap {
    std::byte* memory;
    std::size_t bytes;
    ~unmap() { munmap(memory, bytes); }
  } const after_the_cache{storage, storage_bytes};
  rapt::kv_cache cache{ctx, config(), limits({storage, storage_bytes})};
  std::vector<rapt::sequence> sequences = [this] {
    std::vector<rapt::sequence> all;
    for (index_t s = 0; s < num_sequences; ++s) all.push_back(cache.add_sequence());
    return all;
  }();
  temporary_directory directory;
  const std::string path = directory / "state";
};

TEST_F(one_sequence, saving_it_reads_no_page_of_the_others_and_writes_none_at_all) {
  const std::vector<std::byte> expected = rapt::save_state(ctx, cache, sequences[1]);
  protect_all(PROT_READ);
  lock_pages_of_others(1);
  // The lock holds: the neighbour can not be saved.
  EXPECT_EQ(end_of([&] { rapt::save_state(ctx, cache, sequences[0]); }), SIGSEGV);
  ASSERT_EQ(end_of([&] { rapt::save_state(ctx, path, cache, sequences[1]); }), 0);
  rapt::save_state(ctx, path, cache, sequences[1]);
  protect_all(PROT_READ | PROT_WRITE);
  EXPECT_EQ(read_file(path), text_of(expected));
}

TEST_F(one_sequence, loading_it_touches_no_page_of_the_others) {
  rapt::save_state(ctx, path, cache, sequences[1]);
  const std::string others = visible_of(cache, sequences[0]) + visible_of(cache, sequences[2]), saved = visible_of(cache, sequences[1]);
  rapt::sequence fresh = cache.add_sequence();
  for (std::size_t page = 0; page < 9; ++page) protect_page(page, PROT_NONE);
  EXPECT_EQ(end_of([&] { append(sequences[0], 1, 1); }), SIGSEGV);
  ASSERT_EQ(end_of([&] { rapt::load_state(ctx, path, cache, fresh); }), 0);
  rapt::load_state(ctx, path, cache, fresh);
  protect_all(PROT_READ | PROT_WRITE);
  EXPECT_EQ(visible_of(cache, fresh), saved);
  EXPECT_EQ(visible_of(cache, sequences[0]) + visible_of(cache, sequences[2]), others);
}

/// Forks share pages: a save takes no reference and gives none back.
TEST_F(one_sequence, saving_and_loading_leave_shared_pages_to_their_owners) {
  rapt::sequence fork = sequences[1].fork();
  const std::vector<std::byte> bytes(storage, storage + storage_bytes);
  const index_t free_pages = cache.num_free_pages();
  rapt::save_state(ctx, path, cache, sequences[1]);
  rapt::save_state(ctx, path, cache, fork);
  EXPECT_EQ(cache.num_free_pages(), free_pages);
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), storage));
  const std::string shared = visible_of(cache, fork);
  {
    rapt::sequence loaded = cache.add_sequence();
    rapt::load_state(ctx, path, cache, loaded);
    EXPECT_EQ(cache.num_free_pages(), free_pages - 3);
    EXPECT_EQ(visible_of(cache, loaded), shared);
  }
  EXPECT_EQ(cache.num_free_pages(), free_pages);
  // Still shared: whoever writes first copies the last page, and only that.
  append(sequences[1], 1, 7);
  EXPECT_EQ(cache.num_free_pages(), free_pages - 1);
  EXPECT_EQ(visible_of(cache, fork), shared);
  sequences.clear();
  fork = {};
  EXPECT_EQ(cache.num_free_pages(), static_cast<index_t>(num_pages()));
}

}  // namespace
