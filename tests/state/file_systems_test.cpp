// Real file systems that are full, out of files, read-only or limited. Each scene plays in a child process with mounts of its own (as root, or in a
// user namespace where that is allowed), so that nothing stays behind; it is skipped where the system does not let it.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <cstring>

#include "state_rig.hpp"
#include "system_rig.hpp"

namespace {

using namespace rapt_test;
using rapt::io_error;
namespace safetensors = rapt::safetensors;

safetensors::writer state_of(std::uint8_t value, std::size_t bytes) {
  safetensors::writer w;
  w.add("a", dtype::u8, {static_cast<index_t>(bytes)}, [value](std::span<std::byte> to) { std::fill(to.begin(), to.end(), std::byte{value}); });
  return w;
}

/// What a scene has found wrong, as lines; "" for nothing.
class findings {
 public:
  void expect(bool holds, const std::string& what) {
    if (!holds) text_ += what + "\n";
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// Mounts of its own for this process. False where that is forbidden.
bool enter_namespace() {
  if (unshare(CLONE_NEWNS) != 0) {
    const uid_t user = geteuid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    const std::string map = "0 " + std::to_string(user) + " 1";
    write_file("/proc/self/uid_map", map);
  }
  return mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

/// Plays scene(findings, directory) on a new tmpfs with these options.
template <class Scene>
void on_tmpfs(const std::string& options, Scene scene) {
  const temporary_directory directory;
  int report[2];
  ASSERT_EQ(pipe(report), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    constexpr char skipped = '\1';
    if (!enter_namespace() || mount("tmpfs", directory.path().c_str(), "tmpfs", 0, options.c_str()) != 0) {
      _exit(write(report[1], &skipped, 1) == 1 ? 0 : 1);
    }
    findings found;
    try {
      scene(found, directory);
    } catch (const std::exception& e) { found.expect(false, std::string("uncaught: ") + e.what()); }
    const std::string& text = found.text();
    _exit(write(report[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  close(report[1]);
  std::string text;
  char buffer[512];
  for (ssize_t n = 0; (n = read(report[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  close(report[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (text == "\1") GTEST_SKIP() << "no mounts are allowed here";
  EXPECT_EQ(text, "");
  EXPECT_EQ(status, 0);
}

/// A save that must fail with `error` and leave `directory` as it is.
template <class Save>
void expect_error(findings& found, const temporary_directory& directory, int error, const std::string& what, Save save) {
  const auto before = contents_of(directory.path());
  try {
    save();
    found.expect(false, what + ": succeeded");
  } catch (const io_error& e) { found.expect(e.error_number() == error, what + ": " + e.what()); }
  found.expect(contents_of(directory.path()) == before, what + ": the directory has changed");
}

/// Room is set aside at once, or found missing by the k-th write.
void without_room_set_aside() {
  rapt::detail::system().allocate = [](int, off_t) { return EOPNOTSUPP; };
}

TEST(file_systems, hostile_28_a_full_file_system) {
  for (const bool can_set_aside : {true, false})
    on_tmpfs("size=256k", [&](findings& found, const temporary_directory& directory) {
      if (!can_set_aside) without_room_set_aside();
      const std::string path = directory / "state";
      state_of(1, 60'000).to_file(path);
      const std::string old = read_file(path);
      for (const std::size_t bytes : {std::size_t{210'000}, std::size_t{300'000}, std::size_t{5'000'000}}) {
        // The same file system as the old one's: both have to fit.
        expect_error(found, directory, ENOSPC, std::to_string(bytes) + " bytes", [&] { state_of(2, bytes).to_file(path); });
        expect_error(found, directory, ENOSPC, std::to_string(bytes) + " bytes, new name", [&] { state_of(2, bytes).to_file(directory / "new"); });
      }
      found.expect(read_file(path) == old, "the old file has changed");
      state_of(3, 100'000).to_file(path);
      found.expect(safetensors::open(path).at("a").bytes[99'999] == std::byte{3}, "no save after the failures");
      // Filled up by somebody else, page after page.
      for (int page = 0;; ++page) {
        const std::string filler = directory / ("filler" + std::to_string(page));
        write_file(filler, std::string(8'192, 'x'));
        if (std::filesystem::file_size(filler) < 8'192) break;
        const auto before = read_file(path);
        try {
          state_of(static_cast<std::uint8_t>(page), 50'000).to_file(path);
        } catch (const io_error& e) {
          found.expect(e.error_number() == ENOSPC, e.what());
          found.expect(read_file(path) == before, "a full disk has changed the old file");
        }
        safetensors::open(path);
      }
      for (const auto& [name, unused] : contents_of(directory.path())) found.expect(!name.starts_with(".rapt-"), name + " was left behind");
    });
}

TEST(file_systems, hostile_28_a_file_system_without_room_for_another_file) {
  on_tmpfs("size=1m,nr_inodes=3", [](findings& found, const temporary_directory& directory) {
    state_of(1, 100).to_file(directory / "state");
    write_file(directory / "other", "x");
    expect_error(found, directory, ENOSPC, "no inode", [&] { state_of(2, 100).to_file(directory / "state"); });
    std::filesystem::remove(directory / "other");
    state_of(3, 100).to_file(directory / "state");
    found.expect(safetensors::open(directory / "state").at("a").bytes[0] == std::byte{3}, "no save after the failure");
  });
}

TEST(file_systems, hostile_26_a_read_only_file_system) {
  on_tmpfs("size=1m", [](findings& found, const temporary_directory& directory) {
    state_of(1, 100).to_file(directory / "state");
    std::filesystem::create_symlink("state", directory / "link");
    if (mount("tmpfs", directory.path().c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) != 0) return found.expect(false, "could not remount");
    for (const char* name : {"state", "link", "new"})
      expect_error(found, directory, EROFS, name, [&] { state_of(2, 100).to_file(directory / name); });
    for (const bool mmap : {false, true})
      found.expect(safetensors::open(directory / "link", {.mmap = mmap}).at("a").bytes[0] == std::byte{1}, "reading needs no writing");
  });
}

TEST(file_systems, hostile_26_no_permission) {
  on_tmpfs("size=1m", [](findings& found, const temporary_directory& directory) {
    state_of(1, 100).to_file(directory / "state");
    state_of(1, 100).to_file(directory / "secret");
    chmod((directory / "secret").c_str(), 0);
    chmod(directory.path().c_str(), 0555);
    // Somebody without rights: nobody, where this process may become that. From within, since the way here may be closed to them.
    if (chdir(directory.path().c_str()) != 0 || seteuid(65'534) != 0) return;
    const auto error_of = [&](auto call) {
      try {
        call();
      } catch (const io_error& e) { return e.error_number(); }
      return 0;
    };
    found.expect(error_of([&] { state_of(2, 100).to_file("state"); }) == EACCES, "saving without permission");
    found.expect(error_of([&] { state_of(2, 100).to_file("new"); }) == EACCES, "saving a new file without permission");
    found.expect(error_of([&] { safetensors::open("secret"); }) == EACCES, "reading without permission");
    found.expect(safetensors::open("state").at("a").bytes[0] == std::byte{1}, "the old file");
  });
}

/// The limit of a process, whose signal the caller ignores.
TEST(file_systems, hostile_28_a_limit_on_the_size_of_files) {
  for (const bool can_set_aside : {true, false})
    on_tmpfs("size=1m", [&](findings& found, const temporary_directory& directory) {
      if (!can_set_aside) without_room_set_aside();
      signal(SIGXFSZ, SIG_IGN);
      state_of(1, 100).to_file(directory / "state");
      const rlimit limit = {10'000, 10'000};
      setrlimit(RLIMIT_FSIZE, &limit);
      expect_error(found, directory, EFBIG, "a large file", [&] { state_of(2, 50'000).to_file(directory / "state"); });
      state_of(3, 5'000).to_file(directory / "state");
      found.expect(safetensors::open(directory / "state").at("a").bytes[0] == std::byte{3}, "no save after the failure");
    });
}

TEST(file_systems, hostile_28_no_descriptor_left) {
  const temporary_directory directory;
  state_of(1, 100).to_file(directory / "state");
  const auto error_of_save = [&](const char* name) {
    try {
      state_of(2, 100).to_file(directory / name);
    } catch (const io_error& e) { return e.error_number(); }
    return 0;
  };
  // UndefinedBehaviorSanitizer needs a pipe to look at the class of an object for the first time.
  EXPECT_EQ(error_of_save("missing/state"), ENOENT);
  const auto before = contents_of(directory.path());
  rlimit saved = {};
  getrlimit(RLIMIT_NOFILE, &saved);
  for (rlim_t room = 0; room < 3; ++room) {
    // Descriptors from 0 on are in use up to some number; so many more are allowed.
    const int probe = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(probe);
    const rlimit limit = {static_cast<rlim_t>(probe) + room, saved.rlim_max};
    setrlimit(RLIMIT_NOFILE, &limit);
    const int error = error_of_save("state");
    setrlimit(RLIMIT_NOFILE, &saved);
    EXPECT_EQ(error, room < 2 ? EMFILE : 0) << room;
    if (room < 2) { EXPECT_EQ(contents_of(directory.path()), before); }
  }
}

/// Real signals, without SA_RESTART, in the middle of real calls.
TEST(file_systems, hostile_29_signals_while_saving_and_loading) {
  static volatile sig_atomic_t signals_seen;
  signals_seen = 0;
  const temporary_directory directory;
  struct sigaction action = {}, before = {};
  action.sa_handler = [](int) { signals_seen = signals_seen + 1; };
  sigaction(SIGALRM, &action, &before);
  const itimerval often{{0, 200}, {0, 200}}, never{};
  setitimer(ITIMER_REAL, &often, nullptr);
  for (int i = 0; i < 400 && (i < 10 || signals_seen < 50); ++i) {
    state_of(static_cast<std::uint8_t>(i), 3'000'000).to_file(directory / "state");
    const auto file = safetensors::open(directory / "state");
    EXPECT_EQ(file.at("a").bytes[2'999'999], static_cast<std::byte>(i));
  }
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  EXPECT_GE(signals_seen, 50);
}

}  // namespace
