// Paths that are no files, system calls that fail, saves that are interrupted or race: always the old file or the new one.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <rapt/state/safetensors.hpp>
#include <state/file_io.hpp>
#include <support/safetensors_bytes.hpp>
#include <support/unchanged.hpp>

#include <chrono>
#include <thread>

namespace {

using namespace rapt_test;
namespace safetensors = rapt::safetensors;
using rapt::io_error;
using rapt::detail::system;
#define EXPECT_SAYS(message, part) EXPECT_NE((message).find(part), std::string::npos) << (message)

safetensors::writer state_of(std::uint8_t value, std::size_t bytes = 1000) {
  safetensors::writer w;
  w.add("a", rapt::dtype::u8, {static_cast<rapt::index_t>(bytes)},
        [value](std::span<std::byte> to) { std::fill(to.begin(), to.end(), std::byte{value}); });
  return w;
}
std::string text_of(const safetensors::writer& w) {
  const auto bytes = w.to_bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
/// The value that a whole and unchanged file of state_of holds.
int value_in(const std::string& path) {
  const auto file = safetensors::open(path);
  const auto bytes = file.at("a").bytes;
  for (const std::byte b : bytes) EXPECT_EQ(b, bytes[0]);
  return std::to_integer<int>(bytes[0]);
}

template <class Call>
int errno_of(Call call) {
  try {
    call();
  } catch (const io_error& e) { return e.error_number(); }
  return -1;
}

TEST(file_io, hostile_25_paths_that_are_no_regular_files) {
  const temporary_directory directory;
  ASSERT_EQ(mkfifo((directory / "fifo").c_str(), 0600), 0);
  ASSERT_TRUE(std::filesystem::create_directory(directory / "folder"));
  const int sock = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "%s", (directory / "socket").c_str());
  ASSERT_EQ(bind(sock, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& path : {directory / "fifo", directory / "folder", directory / "socket", std::string("/dev/zero"), std::string("/dev/null")})
    for (const bool mmap : {false, true}) {
      const std::string message = expect_refused<io_error>({.directory = directory.path()}, [&] { safetensors::open(path, {.mmap = mmap}); });
      EXPECT_SAYS(message, path);
    }
  for (const std::string& path :
       {directory / "fifo", directory / "folder", directory / "socket", directory / "", directory / ".", directory / "folder/.."})
    EXPECT_SAYS(expect_refused<io_error>({.directory = directory.path()}, [&] { state_of(1).to_file(path); }), path);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  close(sock);
}

TEST(file_io, hostile_26_paths_that_the_system_refuses) {
  const temporary_directory directory;
  write_file(directory / "file", "x");
  const watched what{.directory = directory.path()};
  const std::string name(300, 'n');
  EXPECT_EQ(errno_of([&] { safetensors::open(directory / name); }), ENAMETOOLONG);
  EXPECT_EQ(errno_of([&] { safetensors::open(directory / "none"); }), ENOENT);
  EXPECT_EQ(errno_of([&] { safetensors::open(directory / "file/x"); }), ENOTDIR);
  EXPECT_EQ(errno_of([&] { safetensors::open(directory / std::string("file\0x", 6)); }), EINVAL);
  expect_refused<io_error>(what, [&] { state_of(1).to_file(directory / name); });
  EXPECT_EQ(errno_of([&] { state_of(1).to_file(directory / name); }), ENAMETOOLONG);
  EXPECT_EQ(errno_of([&] { state_of(1).to_file(directory / "none/x"); }), ENOENT);
  EXPECT_EQ(errno_of([&] { state_of(1).to_file(directory / "file/x"); }), ENOTDIR);
  EXPECT_GT(errno_of([&] { state_of(1).to_file("/proc/rapt"); }), 0);
  if (geteuid() != 0) {
    std::filesystem::permissions(directory.path(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
    EXPECT_EQ(errno_of([&] { state_of(1).to_file(directory / "x"); }), EACCES);
    std::filesystem::permissions(directory.path(), std::filesystem::perms::owner_all);
    std::filesystem::permissions(directory / "file", std::filesystem::perms::none);
    EXPECT_EQ(errno_of([&] { safetensors::open(directory / "file"); }), EACCES);
  }
  // The longest name that a file may have can be saved to: the temporary's name does not grow with it.
  state_of(1).to_file(directory / std::string(255, 'n'));
}

TEST(file_io, a_symbolic_link_stays_and_its_target_is_replaced) {
  const temporary_directory directory, elsewhere;
  state_of(1).to_file(elsewhere / "target");
  std::filesystem::permissions(elsewhere / "target", std::filesystem::perms(0640));
  std::filesystem::create_symlink(elsewhere / "target", directory / "second");
  std::filesystem::create_symlink("second", directory / "link");
  std::filesystem::create_symlink(elsewhere / "new", directory / "dangling");
  std::filesystem::create_symlink("loop", directory / "loop");
  const auto before = contents_of(directory.path());
  state_of(2).to_file(directory / "link");
  state_of(3).to_file(directory / "dangling");
  EXPECT_EQ(contents_of(directory.path()), before);
  EXPECT_EQ(value_in(elsewhere / "target"), 2);
  EXPECT_EQ(value_in(elsewhere / "new"), 3);
  EXPECT_EQ(std::filesystem::status(elsewhere / "target").permissions(), std::filesystem::perms(0640));
  EXPECT_EQ(errno_of([&] { state_of(4).to_file(directory / "loop"); }), ELOOP);
}

TEST(file_io, a_new_file_has_the_mode_of_the_users_umask) {
  const temporary_directory directory;
  const mode_t old = umask(027);
  state_of(1).to_file(directory / "state");
  umask(old);
  EXPECT_EQ(std::filesystem::status(directory / "state").permissions(), std::filesystem::perms(0640));
}

/// Puts the true system calls back at its end.
struct calls_guard {
  rapt::detail::system_calls saved = system();
  ~calls_guard() { system() = saved; }
};
rapt::detail::system_calls real;  // what the replacements below call
int calls_until_failure = 0;
int failure_number = 0;
bool fails() { return calls_until_failure > 0 && --calls_until_failure == 0 && (errno = failure_number, true); }

TEST(file_io, hostile_27_symlink_planted_at_the_temporary_name) {
  const temporary_directory directory;
  write_file(directory / "victim", "precious");
  std::filesystem::create_symlink("victim", directory / ".rapt-0000000000000007");
  const calls_guard guard;
  static int draws;
  draws = 0;
  system().random = [](void* to, std::size_t bytes) {
    const std::uint64_t number = draws++ < 3 ? 7 : 8;  // the planted name three times, then another
    std::memcpy(to, &number, bytes);
    return static_cast<ssize_t>(bytes);
  };
  state_of(1).to_file(directory / "state");
  EXPECT_EQ(draws, 4);
  EXPECT_EQ(read_file(directory / "victim"), "precious");
  EXPECT_EQ(value_in(directory / "state"), 1);
  EXPECT_EQ(contents_of(directory.path()).size(), 3u);
  draws = -1'000'000;
  expect_refused<io_error>({.directory = directory.path()}, [&] { state_of(2).to_file(directory / "state"); });
}

struct faulty_call {
  const char* name;
  void (*install)();
};
const faulty_call faulty_calls[] = {
    {"open", [] { system().open = [](int d, const char* p, int f, mode_t m) { return fails() ? -1 : real.open(d, p, f, m); }; }},
    {"stat_at", [] { system().stat_at = [](int d, const char* p, struct stat* s) { return fails() ? -1 : real.stat_at(d, p, s); }; }},
    {"random", [] { system().random = [](void* to, std::size_t n) { return fails() ? -1 : real.random(to, n); }; }},
    {"allocate", [] { system().allocate = [](int fd, off_t n) { return fails() ? failure_number : real.allocate(fd, n); }; }},
    {"chmod", [] { system().chmod = [](int fd, mode_t m) { return fails() ? -1 : real.chmod(fd, m); }; }},
    {"pwrite", [] { system().pwrite = [](int fd, const void* p, std::size_t n, off_t o) { return fails() ? -1 : real.pwrite(fd, p, n, o); }; }},
    {"rename", [] { system().rename = [](int d, const char* a, const char* b) { return fails() ? -1 : real.rename(d, a, b); }; }},
    // A close that reports an error has closed.
    {"close", [] { system().close = [](int fd) { return real.close(fd), fails() ? -1 : 0; }; }},
    {"fsync", [] { system().fsync = [](int fd) { return fails() ? -1 : real.fsync(fd); }; }},
};

TEST(file_io, hostile_28_every_failure_of_every_call_of_a_save) {
  const temporary_directory directory;
  const std::string path = directory / "state";
  state_of(1).to_file(path);
  const std::string old = read_file(path), fresh = text_of(state_of(2));
  const calls_guard guard;
  real = system();
  for (const faulty_call& call : faulty_calls)
    for (const int error : {ENOSPC, EDQUOT, EIO}) {
      system() = real;
      call.install();
      int refused = 0;
      for (int at = 1;; ++at) {
        write_file(path, old);
        calls_until_failure = at, failure_number = error;
        try {
          state_of(2).to_file(path);
          if (calls_until_failure > 0) break;  // fewer calls than that
          EXPECT_STREQ(call.name, "close");    // of the directory, whose contents are safe
        } catch (const io_error& e) {
          ++refused;
          EXPECT_EQ(e.error_number(), error) << call.name;
          EXPECT_EQ(e.path(), path);
          const bool stands = std::string(e.what()).find("the new file stands") != std::string::npos;
          EXPECT_EQ(stands, std::string(call.name) == "fsync" && at == 2);
          EXPECT_EQ(read_file(path), stands ? fresh : old) << call.name << " " << at;
        }
        calls_until_failure = 0;
        EXPECT_EQ(contents_of(directory.path()).size(), 1u) << call.name << " " << at;
      }
      EXPECT_GT(refused, 0) << call.name;
      calls_until_failure = 0;
    }
}

TEST(file_io, a_file_system_that_can_not_set_room_aside_is_written_to_all_the_same) {
  const temporary_directory directory;
  const calls_guard guard;
  for (const int error : {EOPNOTSUPP, EINVAL, ENOSYS}) {
    failure_number = error;
    system().allocate = [](int, off_t) { return failure_number; };
    state_of(static_cast<std::uint8_t>(error)).to_file(directory / "state");
    EXPECT_EQ(value_in(directory / "state"), error & 255);
  }
}

TEST(file_io, failures_of_reading_are_io_errors) {
  const temporary_directory directory;
  const std::string path = directory / "state";
  state_of(1).to_file(path);
  const calls_guard guard;
  real = system();
  system().pread = [](int fd, void* to, std::size_t n, off_t o) { return fails() ? -1 : real.pread(fd, to, n, o); };
  system().stat = [](int fd, struct stat* s) { return fails() ? -1 : real.stat(fd, s); };
  failure_number = EIO;
  int refused = 0;
  for (int at = 1;; ++at) {
    calls_until_failure = at;
    try {
      safetensors::open(path);
      break;
    } catch (const io_error& e) {
      EXPECT_EQ(e.error_number(), EIO);
      ++refused;
    }
  }
  calls_until_failure = 0;
  EXPECT_EQ(refused, 4);  // fstat; length, header, data
  // A file that somebody shortens between fstat and the read.
  system().pread = [](int fd, void* to, std::size_t n, off_t o) { return o > 0 ? 0 : real.pread(fd, to, n, o); };
  EXPECT_SAYS(expect_refused<io_error>({.directory = directory.path()}, [&] { safetensors::open(path); }), "became shorter");
}

TEST(file_io, hostile_29_interrupted_and_one_byte_at_a_time) {
  const temporary_directory directory;
  const calls_guard guard;
  real = system();
  static int calls;
  calls = 0;
  const auto interrupted = [] { return ++calls % 2 == 1 && (errno = EINTR, true); };
  static bool (*interrupt)() = interrupted;
  system().open = [](int d, const char* p, int f, mode_t m) { return interrupt() ? -1 : real.open(d, p, f, m); };
  system().pwrite = [](int fd, const void* p, std::size_t, off_t o) { return interrupt() ? -1 : real.pwrite(fd, p, 1, o); };
  system().pread = [](int fd, void* p, std::size_t, off_t o) { return interrupt() ? -1 : real.pread(fd, p, 1, o); };
  system().allocate = [](int fd, off_t n) { return interrupt() ? EINTR : real.allocate(fd, n); };
  state_of(9).to_file(directory / "state");
  EXPECT_EQ(value_in(directory / "state"), 9);
  EXPECT_GT(calls, 4000);
}

TEST(file_io, hostile_30_killed_while_saving) {
  const temporary_directory directory;
  const std::string path = directory / "state";
  constexpr std::size_t bytes = 200'000;
  state_of(1, bytes).to_file(path);
  for (int round = 0; round < 100; ++round) {
    int saving[2];
    ASSERT_EQ(pipe(saving), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (std::uint8_t value = 2;; value = static_cast<std::uint8_t>(3 - value)) {
        state_of(value, bytes).to_file(path);
        if (write(saving[1], &value, 1) != 1) _exit(1);
      }
    }
    // The child is at work before the clock starts, however busy the machine is.
    std::uint8_t first = 0;
    ASSERT_EQ(read(saving[0], &first, 1), 1);
    std::this_thread::sleep_for(std::chrono::microseconds(37 * round));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    close(saving[0]);
    close(saving[1]);
    const int value = value_in(path);
    ASSERT_TRUE(value == 1 || value == 2) << value;
  }
}

TEST(file_io, hostile_31_saving_over_a_file_that_is_mapped) {
  const temporary_directory directory;
  const std::string path = directory / "state";
  state_of(5, 100'000).to_file(path);
  const auto mapped = safetensors::open(path, {.mmap = true});
  safetensors::writer copy;
  copy.add("a", rapt::dtype::u8, {100'000}, mapped.at("a").bytes);
  copy.to_file(path);
  EXPECT_EQ(value_in(path), 5);
  state_of(6, 10).to_file(path);
  for (const std::byte b : mapped.at("a").bytes) ASSERT_EQ(b, std::byte{5});
  EXPECT_EQ(value_in(path), 6);
}

TEST(file_io, hostile_32_savers_and_a_loader_at_once) {
  const temporary_directory directory;
  const std::string path = directory / "state";
  state_of(1, 50'000).to_file(path);
  const auto saver = [&](std::uint8_t value) {
    for (int i = 0; i < 60; ++i) state_of(value, 50'000).to_file(path);
  };
  std::thread one(saver, std::uint8_t{1}), two(saver, std::uint8_t{2});
  for (int i = 0; i < 200; ++i) {
    const int value = value_in(path);
    EXPECT_TRUE(value == 1 || value == 2);
  }
  one.join();
  two.join();
  EXPECT_EQ(contents_of(directory.path()).size(), 1u);
}

}  // namespace
