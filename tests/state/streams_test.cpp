// Files that pass by in pieces, moved by a thread while the caller hashes and packs: no byte depends on it, little memory is taken, and a change is
// found behind pieces that were taken already.
#include <unistd.h>
#include <rapt/cpu/context.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "whole_state.hpp"

namespace {

using namespace rapt_test;
namespace safetensors = rapt::safetensors;

class streams : public state_in_a_file {};

TEST_F(streams, no_byte_depends_on_pieces_and_threads) {
  receiver whole(ctx);
  whole.load(bytes);
  const std::string expected = whole.visible_all(), old = text_of(bytes);
  for (const bool has_thread : {true, false})
    for (const std::size_t num_pieces : {1u, 2u, 4u})
      for (const std::size_t piece_bytes : {1u, 7u, 64u, 100u, 1000u, 4096u}) {
        SCOPED_TRACE(std::to_string(num_pieces) + " pieces of " + std::to_string(piece_bytes) + (has_thread ? "" : ", no thread"));
        const moving way({"", piece_bytes, num_pieces, has_thread});
        ASSERT_TRUE(save() == bytes);
        save(directory / "again");
        ASSERT_TRUE(read_file(directory / "again") == old);
        for (const rapt::state_source& from : {rapt::state_source(path), rapt::state_source(bytes)}) {
          receiver r(ctx);
          r.load(from);
          ASSERT_TRUE(r.visible_all() == expected);
        }
      }
}

/// Tensors that are filled by rows, at once, or lent, shorter and longer than a piece.
TEST_F(streams, writers_fill_by_rows_or_at_once_or_lend) {
  const std::vector<std::byte> contents = random_bytes(7 * 130, 1);
  const auto by_rows = [&](index_t first, std::span<std::byte> to) { std::copy_n(contents.begin() + first * 130, to.size(), to.begin()); };
  safetensors::writer lent, filled, rows, wide;
  lent.add("a", dtype::u8, {7, 130}, contents).add("b", dtype::i64, {0}, std::span<const std::byte>());
  filled.add("a", dtype::u8, {7, 130}, [&](std::span<std::byte> to) { std::copy(contents.begin(), contents.end(), to.begin()); });
  filled.add("b", dtype::i64, {0}, [](std::span<std::byte> to) { EXPECT_TRUE(to.empty()); });
  rows.add_rows("a", dtype::u8, {7, 130}, by_rows);
  rows.add_rows("b", dtype::i64, {0}, [](index_t, std::span<std::byte>) { ADD_FAILURE() << "no rows to fill"; });
  const std::vector<std::byte> expected = lent.to_bytes();
  for (const std::size_t piece_bytes : {50u, 130u, 300u, 5000u}) {
    const moving way({"", piece_bytes, 3, true});
    for (const safetensors::writer* w : {&lent, &filled, &rows}) {
      EXPECT_TRUE(w->to_bytes() == expected) << piece_bytes;
      w->to_file(directory / "file");
      EXPECT_TRUE(read_file(directory / "file") == text_of(expected)) << piece_bytes;
    }
  }
  const watched what;
  expect_refused<rapt::shape_error>(what, [&] { wide.add_rows("x", dtype::u8, {}, by_rows); });
  expect_refused<rapt::config_error>(what, [&] { wide.add_rows("x", dtype::u8, {1}, nullptr); });
}

/// Elements lie aligned for their type wherever a piece begins: a row function may write and read them in place.
TEST_F(streams, rows_are_aligned_in_every_piece) {
  const index_t odd = 9, num_rows = 41;
  for (const std::size_t piece_bytes : {24u, 100u, 333u}) {
    const moving way({"", piece_bytes, 3, true});
    safetensors::writer w;
    for (const char* name : {"a", "b"})
      w.add_rows(std::string(name) + ".bytes", dtype::f16, {num_rows, odd}, [&](index_t first, std::span<std::byte> to) {
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(to.data()) % 2, 0u);
        std::fill(to.begin(), to.end(), static_cast<std::byte>(first));
      });
    w.add_rows("a.words", dtype::i64, {num_rows}, [](index_t first, std::span<std::byte> to) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(to.data()) % 8, 0u);
      for (std::size_t i = 0; i < to.size() / 8; ++i) reinterpret_cast<index_t*>(to.data())[i] = first + static_cast<index_t>(i);
    });
    w.to_file(directory / "aligned");
    const auto file = safetensors::open(directory / "aligned");
    EXPECT_EQ(file.at("a.words").copy<index_t>()[40], 40);
  }
}

/// Where each part of a call runs.
struct seen_threads {
  static inline std::atomic<pid_t> reader, writer;
  static void reset() { reader = writer = 0; }
};

TEST_F(streams, a_thread_moves_the_file_and_the_caller_s_functions_stay_with_the_caller) {
  const pid_t caller = gettid();
  for (const bool has_thread : {true, false}) {
    const moving way({"", 300, 3, has_thread});
    static rapt::detail::system_calls below;
    below = rapt::detail::system();
    seen_threads::reset();
    rapt::detail::system().pwrite = [](int fd, const void* from, std::size_t n, off_t at) {
      if (at > 0) seen_threads::writer = gettid();  // the header comes last, by the caller
      return below.pwrite(fd, from, n, at);
    };
    rapt::detail::system().pread = [](int fd, void* to, std::size_t n, off_t at) {
      return seen_threads::reader = gettid(), below.pread(fd, to, n, at);
    };
    const rapt::progress_function on_progress = [&](const rapt::progress&) {
      EXPECT_EQ(gettid(), caller);
      return true;
    };
    safetensors::writer w;
    w.add_rows("a", dtype::u8, {20, 100}, [&](index_t, std::span<std::byte> to) {
      EXPECT_EQ(gettid(), caller);
      std::fill(to.begin(), to.end(), std::byte{1});
    });
    w.to_file(directory / "file", {on_progress});
    EXPECT_EQ(seen_threads::writer != caller, has_thread);
    receiver r(ctx);
    rapt::load_state(ctx, path, r.cache, r.loaded, {.on_progress = on_progress});
    EXPECT_EQ(seen_threads::reader != caller, has_thread);
  }
}

/// Where one thread waits for what another tells, at most ten seconds.
class meeting {
 public:
  void tell() {
    const std::scoped_lock lock(mutex_);
    ++told_;
    changed_.notify_all();
  }
  bool wait_for(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return told_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int told_ = 0;
};

TEST_F(streams, the_caller_fills_the_next_piece_while_one_is_written) {
  const moving way({"", 300, 3, true});
  static meeting* filled;
  static rapt::detail::system_calls below;
  static bool waited, met;
  meeting here;
  filled = &here, waited = met = false, below = rapt::detail::system();
  rapt::detail::system().pwrite = [](int fd, const void* from, std::size_t n, off_t at) {
    if (!std::exchange(waited, true)) met = filled->wait_for(2);
    return below.pwrite(fd, from, n, at);
  };
  safetensors::writer w;
  w.add_rows("a", dtype::u8, {3, 300}, [&](index_t, std::span<std::byte> to) {
    std::fill(to.begin(), to.end(), std::byte{1});
    here.tell();
  });
  w.to_file(directory / "file");
  EXPECT_TRUE(met) << "the second piece was not filled before the first was written";
}

TEST_F(streams, the_next_piece_is_read_while_the_caller_has_one) {
  const moving way({"", 300, 3, true});
  static meeting* read;
  static rapt::detail::system_calls below;
  static bool counts;  // from the thread's start on: the header has been read by the caller
  meeting here;
  read = &here, below = rapt::detail::system(), counts = false;
  bool waited = false, met = false;
  const rapt::progress_function on_progress = [&](const rapt::progress&) {
    if (!std::exchange(waited, true)) met = here.wait_for(2);
    return true;
  };
  receiver r(ctx);
  rapt::detail::system().start_thread = [](pthread_t* thread, void* (*main)(void*), void* arg) {
    counts = true;
    return below.start_thread(thread, main, arg);
  };
  rapt::detail::system().pread = [](int fd, void* to, std::size_t n, off_t at) {
    const ssize_t got = below.pread(fd, to, n, at);
    if (counts) read->tell();
    return got;
  };
  rapt::load_state(ctx, path, r.cache, r.loaded, {.on_progress = on_progress});
  EXPECT_TRUE(met) << "the second piece was not read before the first was used";
}

/// Sixty-four MiB of keys and values: the caller takes less than 16 MiB beside them, the thread nothing at all.
TEST_F(streams, memory_beside_the_cache_does_not_grow_with_it) {
  if (!counts_new) GTEST_SKIP() << "the sanitizer owns operator new";
  const rapt::attention_config config = rapt::resolve({.model_dim = 512, .num_heads = 8, .num_kv_heads = 4, .head_dim = 64, .kv_dtype = dtype::f16});
  const index_t len = 8192;
  const rapt::cache_limits limits{.num_layers = 8, .max_tokens = len};
  rapt::cpu::context cpu({.num_threads = 1});
  rapt::kv_cache from(cpu, config, limits), to(cpu, config, limits);
  rapt::sequence a = from.add_sequence(), b = to.add_sequence();
  ASSERT_GE(from.bytes(), std::size_t{64} << 20);
  {
    rapt::step step = from.begin_step({{a, len}});
    for (index_t l = 0; l < limits.num_layers; ++l) {
      const auto k = random_bytes(k_bytes(config, len), 2 * static_cast<unsigned>(l)),
                 v = random_bytes(v_bytes(config, len), 1 + 2 * static_cast<unsigned>(l));
      const rapt::kv_bits bits{k.data(), v.data()};
      from.import_layer(cpu, step, l, {&bits, 1}, some_fingerprint(1));
    }
    step.commit();
  }
  static rapt::detail::system_calls below;
  static std::atomic<std::size_t> allocated_by_threads, num_threads;
  struct start {
    void* (*main)(void*);
    void* arg;
  };
  static start begun;
  below = rapt::detail::system(), allocated_by_threads = 0, num_threads = 0;
  const moving restored(ways_of_moving[0]);
  rapt::detail::system().start_thread = [](pthread_t* thread, void* (*main)(void*), void* arg) {
    begun = {main, arg}, ++num_threads;
    return below.start_thread(
        thread,
        [](void*) {
          void* const result = begun.main(begun.arg);
          allocated_by_threads += allocations.calls;
          return result;
        },
        nullptr);
  };
  std::uint64_t longest = 0, last = 0, calls = 0;
  const rapt::progress_function on_progress = [&](const rapt::progress& p) {
    longest = std::max(longest, p.done - last), last = p.done, ++calls;
    return true;
  };
  const std::string file = directory / "large";
  const auto expect_little = [&](const char* what, auto call) {
    longest = last = calls = 0;
    EXPECT_LT(peak_bytes_of(call), std::size_t{16} << 20) << what;
    EXPECT_EQ(last, std::filesystem::file_size(file));
    EXPECT_LE(longest, std::uint64_t{16} << 20) << what;
    EXPECT_LT(calls, 1000u) << what;
  };
  expect_little("saving", [&] { rapt::save_state(cpu, file, {.on_progress = on_progress}, from, a); });
  expect_little("loading", [&] { rapt::load_state(cpu, file, to, b, {.on_progress = on_progress}); });
  EXPECT_EQ(num_threads, 2u);
  EXPECT_EQ(allocated_by_threads, 0u);
  std::vector<std::byte> was(k_bytes(config, len)), is(was.size());
  for (const index_t l : {index_t{0}, index_t{7}}) {
    from.export_layer(cpu, a, l, 0, len, was.data(), nullptr);
    to.export_layer(cpu, b, l, 0, len, is.data(), nullptr);
    EXPECT_TRUE(was == is);
    from.export_layer(cpu, a, l, 0, len, nullptr, was.data());
    to.export_layer(cpu, b, l, 0, len, nullptr, is.data());
    EXPECT_TRUE(was == is);
  }
  // From bytes, too, even where they begin at an odd address.
  std::vector<std::byte> shifted(std::filesystem::file_size(file) + 1);
  const std::string text = read_file(file);
  std::memcpy(shifted.data() + 1, text.data(), text.size());
  b.truncate(0);
  EXPECT_LT(peak_bytes_of([&] { rapt::load_state(cpu, std::span(shifted).subspan(1), to, b); }), std::size_t{16} << 20);
}

/// What has been written into pages when a changed byte is found is nowhere to be seen.
TEST_F(streams, hostile_06_a_change_behind_pieces_that_were_taken_already) {
  const std::string changed = directory / "changed";
  for (const way_of_moving& way : ways_of_moving) {
    SCOPED_TRACE(way.name);
    const moving so(way);
    receiver stays(ctx);
    const watched what{.object = [&] { return stays.visible_all(); }, .input_bytes = bytes.size()};
    for (std::size_t at = bytes.size() - 1; at > 4000; at -= std::min<std::size_t>(at, 97)) {
      std::string text = text_of(bytes);
      text[at] = static_cast<char>(text[at] ^ 4);
      write_file(changed, text);
      expect_all_refused<rapt::checksum_error, rapt::format_error>(what, 1,
                                                                   [&](std::size_t) { rapt::load_state(ctx, changed, stays.cache, stays.loaded); });
    }
  }
}

}  // namespace
