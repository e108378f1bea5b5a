// Every system call of a save and of a load fails in every way that Linux knows: a clean run is counted, then the k-th call fails, for every k. Files
// are moved at once, in pieces by a thread, and in pieces without one.
#include <algorithm>
#include <cstring>

#include "state_rig.hpp"
#include "system_rig.hpp"

namespace {

using namespace rapt_test;
using rapt::io_error;

constexpr auto retried = {call_kind::open, call_kind::close, call_kind::pread, call_kind::pwrite, call_kind::allocate, call_kind::random};

bool is_harmless(call_kind kind, const fault& f) {
  if (f.how == fault::way::few_bytes) return true;
  if (f.how == fault::way::no_bytes) return false;
  // Without a thread the caller moves the bytes; what keeps the disk from beginning early is found, or not, by the flush.
  if (kind == call_kind::start_thread || kind == call_kind::start_flush) return true;
  // Room that can not be set aside is found, or missed, by the writes.
  if (kind == call_kind::allocate && (f.error_number == EOPNOTSUPP || f.error_number == EINVAL || f.error_number == ENOSYS)) return true;
  return f.error_number == EINTR && std::find(retried.begin(), retried.end(), kind) != retried.end();
}

/// A state with weights, stored keys and a cache, in two versions, and a directory to save it in.
class call_faults : public testing::TestWithParam<way_of_moving> {
 protected:
  const moving way{GetParam()};
  void SetUp() override {
    append_bits(ctx, cache, sequence, 21, 3, module.fingerprint());
    append_bits(ctx, cache, other, 5, 4, module.fingerprint());
    old_bytes = text_of(rapt::save_state(ctx, module, stored, cache, other));
    new_bytes = text_of(rapt::save_state(ctx, module, stored, cache, sequence));
  }
  void save(const std::string& path) { rapt::save_state(ctx, path, module, stored, cache, sequence); }
  std::string visible_all() {
    return visible(ctx, module) + visible(ctx, stored) + visible(cache) + visible(ctx, cache, sequence) + visible(ctx, cache, other);
  }
  watched watch() {
    return {.object = [this] { return visible_all(); }, .directory = directory.path(), .input_bytes = new_bytes.size()};
  }
  /// Paths to save to, each with the file that then has the contents: nothing there, a file, a link to a link to a file elsewhere.
  struct target {
    std::string path, file;
    bool exists;
  };
  std::vector<target> targets() {
    std::filesystem::create_symlink(elsewhere / "file", directory / "second");
    std::filesystem::create_symlink("second", directory / "link");
    return {{directory / "new", directory / "new", false},
            {directory / "file", directory / "file", true},
            {directory / "link", elsewhere / "file", true}};
  }
  void reset(const target& t) {
    if (t.exists)
      write_file(t.file, old_bytes);
    else
      std::filesystem::remove(t.file);
  }
  std::string contents(const target& t) { return std::filesystem::exists(t.file) ? read_file(t.file) : ""; }
  std::string old_contents(const target& t) { return t.exists ? old_bytes : ""; }

  bits_context ctx;
  bits_module module = some_module(ctx, 1);
  bits_projected stored = some_projected(ctx, false, 2, 9, 3, 7, module.fingerprint());
  bits_cache cache{ctx, small_config(), small_limits};
  bits_sequence sequence = cache.add_sequence(), other = cache.add_sequence();
  std::string old_bytes, new_bytes;
  temporary_directory directory, elsewhere;
};

TEST_P(call_faults, hostile_28_every_call_of_a_save_fails_once) {
  int refused = 0, succeeded = 0;
  for (const target& t : targets()) {
    reset(t);
    const std::vector<call_kind> calls = calls_of([&] { save(t.path); });
    const auto flush = std::find(calls.begin(), calls.end(), call_kind::fsync);
    ASSERT_NE(flush, calls.end());
    const auto close_of_the_file = flush - calls.begin() + 1;
    ASSERT_EQ(calls[static_cast<std::size_t>(close_of_the_file)], call_kind::close);
    for (std::size_t k = 0; k < calls.size(); ++k)
      for (const fault& f : faults_of(calls[k])) {
        SCOPED_TRACE(t.path + ": call " + std::to_string(k + 1) + ", " + name_of(calls[k]) + ", " + std::strerror(f.error_number));
        const bool closes_a_directory = calls[k] == call_kind::close && static_cast<std::ptrdiff_t>(k) != close_of_the_file;
        const bool is_directory_flush = calls[k] == call_kind::fsync && static_cast<std::ptrdiff_t>(k) > close_of_the_file;
        reset(t);
        const auto faulty_save = [&] {
          const scripted_system system([&](call_kind, int number) { return number == static_cast<int>(k) + 1 ? std::optional(f) : std::nullopt; });
          save(t.path);
        };
        const auto refuse = [&] {
          try {
            faulty_save();
          } catch (const io_error& e) {
            EXPECT_EQ(e.error_number(), f.how == fault::way::no_bytes ? EIO : f.error_number);
            EXPECT_EQ(e.path(), t.path);
            EXPECT_EQ(std::string(e.what()).find("the new file stands") != std::string::npos, is_directory_flush) << e.what();
            throw;
          }
        };
        if (closes_a_directory || is_harmless(calls[k], f)) {
          EXPECT_NO_THROW(faulty_save());
          EXPECT_TRUE(contents(t) == new_bytes);
          ++succeeded;
        } else if (is_directory_flush) {
          EXPECT_THROW(refuse(), io_error);
          EXPECT_TRUE(contents(t) == new_bytes);
          ++refused;
        } else {
          expect_refused<io_error>(watch(), refuse);
          EXPECT_TRUE(contents(t) == old_contents(t));
          ++refused;
        }
        for (const auto* d : {&directory, &elsewhere})
          for (const auto& [name, unused] : contents_of(d->path())) EXPECT_FALSE(name.starts_with(".rapt-")) << name;
      }
  }
  EXPECT_GT(refused, 200);
  EXPECT_GT(succeeded, 50);
  std::printf("%d faulty saves refused, %d succeeded\n", refused, succeeded);
}

/// A disk that is gone: the k-th call fails and so does all that follows, the removal of the temporary file included.
TEST_P(call_faults, hostile_28_every_call_from_one_on_fails) {
  for (const target& t : targets()) {
    reset(t);
    const std::vector<call_kind> calls = calls_of([&] { save(t.path); });
    const auto renames = std::find(calls.begin(), calls.end(), call_kind::rename) - calls.begin();
    for (std::size_t k = 0; k < calls.size(); ++k)
      for (const int error : {EIO, ENOSPC, EROFS}) {
        SCOPED_TRACE(t.path + ": from call " + std::to_string(k + 1) + ", " + name_of(calls[k]));
        reset(t);
        const std::string before = visible_all();
        const std::ptrdiff_t descriptors = num_descriptors();
        const bool renamed = static_cast<std::ptrdiff_t>(k) > renames;
        bool thrown = false;
        try {
          const scripted_system system([&](call_kind, int number) {
            return number > static_cast<int>(k) ? std::optional(fault{fault::way::error, error}) : std::nullopt;
          });
          save(t.path);
        } catch (const io_error& e) {
          thrown = true;
          EXPECT_EQ(e.error_number(), error);
        }
        EXPECT_TRUE(thrown || k + 1 == calls.size());  // the last call closes the directory
        EXPECT_TRUE(contents(t) == (renamed ? new_bytes : old_contents(t)));
        EXPECT_EQ(visible_all(), before);
        EXPECT_EQ(num_descriptors(), descriptors);
        for (const auto* d : {&directory, &elsewhere})
          for (const auto& [name, unused] : contents_of(d->path()))
            if (name.starts_with(".rapt-")) std::filesystem::remove(d->path() / name);
      }
  }
}

TEST_P(call_faults, hostile_28_the_temporary_file_can_not_be_removed_either) {
  const target t = targets()[1];
  reset(t);
  const std::vector<call_kind> calls = calls_of([&] { save(t.path); });
  for (std::size_t k = 0; k < calls.size(); ++k) {
    if (calls[k] != call_kind::pwrite && calls[k] != call_kind::allocate && calls[k] != call_kind::rename && calls[k] != call_kind::chmod) continue;
    reset(t);
    const scripted_system system([&](call_kind kind, int number) {
      if (kind == call_kind::unlink) return std::optional(fault{fault::way::error, EROFS});
      return number == static_cast<int>(k) + 1 ? std::optional(fault{fault::way::error, ENOSPC}) : std::nullopt;
    });
    try {
      save(t.path);
      ADD_FAILURE() << name_of(calls[k]);
    } catch (const io_error& e) { EXPECT_EQ(e.error_number(), ENOSPC) << "the first of the two errors is the one to know"; }
    EXPECT_TRUE(contents(t) == old_bytes);
  }
}

/// What a state is loaded into.
struct receivers {
  explicit receivers(bits_context& of) : ctx(of) {}
  std::string visible_all() { return visible(cache) + visible(ctx, cache, sequence) + visible(ctx, module) + visible(ctx, keys); }
  bits_context& ctx;
  bits_cache cache{ctx, small_config(), small_limits};
  bits_sequence sequence = cache.add_sequence();
  bits_module module = some_module(ctx, 2);
  bits_projected keys{ctx, small_config()};
};

TEST_P(call_faults, hostile_28_every_call_of_a_load_fails_once) {
  const std::string path = directory / "state";
  write_file(path, new_bytes);
  receivers untouched(ctx);
  const watched what{.object = [&] { return untouched.visible_all(); }, .directory = directory.path(), .input_bytes = new_bytes.size()};
  const std::function<void(receivers&)> loads[] = {[&](receivers& r) { rapt::load_state(ctx, path, r.cache, r.sequence); },
                                                   [&](receivers& r) { rapt::load_state(ctx, path, r.module); },
                                                   [&](receivers& r) { rapt::load_state(ctx, path, r.keys); },
                                                   [&](receivers&) { rapt::load_module<float>(ctx, path); },
                                                   [&](receivers&) { rapt::load_config(path); },
                                                   [&](receivers&) { rapt::safetensors::open(path); },
                                                   [&](receivers&) { rapt::safetensors::open(path, {.mmap = true}); }};
  int refused = 0, succeeded = 0;
  for (const auto& load : loads) {
    receivers counted(ctx);
    const std::vector<call_kind> calls = calls_of([&] { load(counted); });
    const std::string expected = counted.visible_all();
    for (std::size_t k = 0; k < calls.size(); ++k)
      for (const fault& f : faults_of(calls[k])) {
        SCOPED_TRACE("load " + std::to_string(&load - loads) + ": call " + std::to_string(k + 1) + ", " + name_of(calls[k]) + ", " +
                     std::strerror(f.error_number));
        const auto faulty_load = [&](receivers& r) {
          const scripted_system system([&](call_kind, int number) { return number == static_cast<int>(k) + 1 ? std::optional(f) : std::nullopt; });
          load(r);
        };
        // What was read is whole, whatever close says.
        if (is_harmless(calls[k], f) || calls[k] == call_kind::close) {
          receivers r(ctx);
          EXPECT_NO_THROW(faulty_load(r));
          EXPECT_EQ(r.visible_all(), expected);
          ++succeeded;
          continue;
        }
        expect_refused<io_error>(what, [&] {
          try {
            faulty_load(untouched);
          } catch (const io_error& e) {
            EXPECT_EQ(e.error_number(), f.error_number);
            EXPECT_EQ(e.path(), path);
            throw;
          }
        });
        ++refused;
      }
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(succeeded, 50);
  std::printf("%d faulty loads refused, %d succeeded\n", refused, succeeded);
}

TEST_P(call_faults, hostile_29_every_call_is_interrupted_and_moves_one_byte) {
  const target t = targets()[2];
  int interrupted = 0;
  {
    const rapt::detail::system_calls real = rapt::detail::system();
    // Beneath the script: reads and writes of one byte.
    static rapt::detail::system_calls below;
    below = real;
    rapt::detail::system().pwrite = [](int fd, const void* from, std::size_t, off_t at) { return below.pwrite(fd, from, 1, at); };
    rapt::detail::system().pread = [](int fd, void* to, std::size_t, off_t at) { return below.pread(fd, to, 1, at); };
    {
      // Each call three times in a row before it is let through; of close Linux knows no second one.
      int in_a_row = 0;
      const scripted_system system([&](call_kind kind, int) -> std::optional<fault> {
        if (kind == call_kind::close || std::find(retried.begin(), retried.end(), kind) == retried.end()) return std::nullopt;
        if (++in_a_row % 4 == 0) return std::nullopt;
        ++interrupted;
        return fault{fault::way::error, EINTR};
      });
      save(t.path);
      bits_cache to(ctx, small_config(), small_limits);
      bits_sequence loaded;
      rapt::load_state(ctx, t.path, to, loaded);
      EXPECT_EQ(visible(ctx, to, loaded), visible(ctx, cache, sequence));
    }
    rapt::detail::system() = real;
  }
  EXPECT_TRUE(contents(t) == new_bytes);
  EXPECT_GT(interrupted, 3 * static_cast<int>(new_bytes.size()));
}

/// Where a timer keeps interrupting the setting aside of room, the save goes on without it.
TEST_P(call_faults, hostile_29_room_is_never_set_aside_without_an_interruption) {
  const target t = targets()[0];
  const scripted_system system([](call_kind kind, int) {
    return kind == call_kind::allocate ? std::optional(fault{fault::way::error, EINTR}) : std::nullopt;
  });
  save(t.path);
  EXPECT_TRUE(contents(t) == new_bytes);
}

INSTANTIATE_TEST_SUITE_P(moved, call_faults, testing::ValuesIn(ways_of_moving), name_of_way);

}  // namespace
