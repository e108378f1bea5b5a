// Saving and loading a conversation: all layers of one sequence, to memory and to a file (which is flushed to the disk before save_state returns).
// And a large one beside what the disk gives: the same bytes written from memory and flushed, as dd conv=fsync does, and read into memory; in turns,
// because a disk that is shared, or lent by the second, is not the same a minute later. The directory of temporary files (TMPDIR) is the disk.
#include <random_cache.hpp>
#include <rapt/state/save_load.hpp>

#include <fcntl.h>
#include <unistd.h>
#include <chrono>
#include <filesystem>

namespace bench {
namespace {

using stored = rapt::f16;

rapt::attention_config state_config() {
  return rapt::resolve({.model_dim = cache_model_dim,
                        .num_heads = cache_heads.num_heads,
                        .num_kv_heads = cache_heads.num_kv_heads,
                        .head_dim = cache_heads.head_dim,
                        .causal = true,
                        .kv_dtype = rapt::dtype_of<stored>});
}
std::string temporary_path(const char* what) { return std::filesystem::temp_directory_path() / ("rapt_bench_" + std::to_string(getpid()) + what); }

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
        path(temporary_path(".safetensors")) {
    for (index_t l = 0; l < s.num_layers; ++l) layers.emplace_back(config, s.kv_len, static_cast<std::uint64_t>(l));
    append_tokens<stored>(context(), saved, from, layers, {1, 2});
  }
  ~state_fixture() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
  state_fixture(const state_fixture&) = delete;
  state_fixture& operator=(const state_fixture&) = delete;

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

using clock = std::chrono::steady_clock;

/// A cache as a file, and the bytes of that file in memory.
struct disk_fixture {
  state_shape shape;
  rapt::attention_config config;
  rapt::kv_cache saved, loaded;
  rapt::sequence from, to;
  std::vector<std::byte> bytes;
  std::string path, plain_path;
  bool ours_first = true;

  explicit disk_fixture(const state_shape& s)
      : shape(s),
        config(state_config()),
        saved(context(), config, {.num_layers = s.num_layers, .max_tokens = s.kv_len}),
        loaded(context(), config, {.num_layers = s.num_layers, .max_tokens = s.kv_len}),
        from(saved.add_sequence()),
        to(loaded.add_sequence()),
        path(temporary_path(".disk.safetensors")),
        plain_path(temporary_path(".disk.plain")) {
    rapt::step step = saved.begin_step({{from, s.kv_len}});
    for (index_t l = 0; l < s.num_layers; ++l) {
      const random_tokens<stored> tokens = layer(l);
      const rapt::kv_bits bits{tokens.k.data(), tokens.v.data()};
      saved.import_layer(context(), step, l, {&bits, 1}, {1, 2});
    }
    step.commit();
  }
  ~disk_fixture() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
    std::filesystem::remove(plain_path, ignored);
  }
  disk_fixture(const disk_fixture&) = delete;
  disk_fixture& operator=(const disk_fixture&) = delete;

  random_tokens<stored> layer(index_t l) const { return {config, shape.kv_len, static_cast<std::uint64_t>(l)}; }
  std::string verify() {
    save();
    bytes.resize(std::filesystem::file_size(path));
    if (!read_plain()) return "state: the file could not be read";
    load();
    for (index_t l = 0; l < shape.num_layers; ++l)
      if (!holds(context(), loaded, to, l, layer(l), shape.kv_len)) return "state: what was loaded from the file is not what was saved";
    return write_plain() ? "" : "state: could not write beside the file";
  }

  void save() { rapt::save_state(context(), path, saved, from); }
  void load() {
    to.truncate(0);
    rapt::load_state(context(), path, loaded, to);
  }
  /// As `dd bs=1M conv=fsync` to a new file.
  bool write_plain() {
    return move_plain(plain_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                      [](int fd, std::span<std::byte> part, off_t at) { return ::pwrite(fd, part.data(), part.size(), at); });
  }
  bool read_plain() {
    return move_plain(path, O_RDONLY | O_CLOEXEC,
                      [](int fd, std::span<std::byte> part, off_t at) { return ::pread(fd, part.data(), part.size(), at); });
  }
  /// Neither side writes over a file or waits for what the other has left to the disk.
  void remove_files() const {
    std::filesystem::remove(path);
    std::filesystem::remove(plain_path);
    ::sync();
  }
  /// The next reader goes to the disk.
  void forget_file() const {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    ::close(fd);
  }

 private:
  template <class Call>
  bool move_plain(const std::string& file, int flags, Call call) {
    const int fd = ::open(file.c_str(), flags, 0600);
    bool moved = fd >= 0;
    for (std::span<std::byte> rest(bytes); moved && !rest.empty();) {
      const ssize_t n = call(fd, rest.first(std::min(rest.size(), std::size_t{1} << 20)), static_cast<off_t>(bytes.size() - rest.size()));
      moved = n > 0;
      if (moved) rest = rest.subspan(static_cast<std::size_t>(n));
    }
    if (moved && (flags & O_ACCMODE) == O_WRONLY) moved = ::fsync(fd) == 0;
    if (fd >= 0) ::close(fd);
    return moved;
  }
};

/// What a side does, and what comes before it outside of the time.
struct disk_work {
  const char *name, *ratio;
  void (disk_fixture::*ours)();
  bool (disk_fixture::*plain)();
  void (disk_fixture::*before)() const;
};
constexpr disk_work disk_works[] = {
    // Saving comes last, because it may leave no file to load.
    {"disk_load", "of_cold_read_rate", &disk_fixture::load, &disk_fixture::read_plain, &disk_fixture::forget_file},
    {"disk_load_cached", "of_read_rate", &disk_fixture::load, &disk_fixture::read_plain, nullptr},
    {"disk_save", "of_write_rate", &disk_fixture::save, &disk_fixture::write_plain, &disk_fixture::remove_files},
};

void time_on_disk(benchmark::State& state, disk_fixture& f, const disk_work& work) {
  double ours = 0, plain = 0;
  const auto seconds_of = [&](auto call) {
    if (work.before != nullptr) (f.*work.before)();
    const clock::time_point start = clock::now();
    call();
    return std::chrono::duration<double>(clock::now() - start).count();
  };
  const auto run_plain = [&] {
    plain += seconds_of([&] {
      if (!(f.*work.plain)()) state.SkipWithError("state: the plain side failed");
    });
  };
  for (auto _ : state) {
    if (!f.ours_first) run_plain();
    const double seconds = seconds_of([&] { (f.*work.ours)(); });
    if (f.ours_first) run_plain();
    f.ours_first = !f.ours_first;
    ours += seconds;
    state.SetIterationTime(seconds);
  }
  set_rate(state, "GB/s", static_cast<double>(f.bytes.size()) * 1e-9);
  set_value(state, "plain_GB/s", static_cast<double>(f.bytes.size()) * static_cast<double>(state.iterations()) / plain * 1e-9);
  set_value(state, work.ratio, plain / ours);
}

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
  // One fixture for all: a large one takes longer to make than to time.
  for (const state_shape& shape : disk_shapes)
    for (const disk_work& work : disk_works) {
      if (!wanted(shape.small)) continue;
      const auto run = [=](benchmark::State& state) {
        if (disk_fixture* f = prepared<disk_fixture>(state, std::string("state/disk/") + shape.name, shape)) time_on_disk(state, *f, work);
      };
      benchmark::RegisterBenchmark((std::string("state/") + work.name + "/shape:" + shape.name).c_str(), run)
          ->UseManualTime()
          ->Unit(benchmark::kMicrosecond);
    }
}

}  // namespace bench
