// Paths that are no files, links, modes, names that are taken, files that change while they are read or mapped. Failing calls: call_faults_test.cpp.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <rapt/state/safetensors.hpp>
#include <state/file_io.hpp>
#include <support/safetensors_bytes.hpp>
#include <support/unchanged.hpp>

#include <chrono>

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

/// A program that the caller starts meanwhile inherits nothing; a terminal is not taken over; nobody's link or file is written through.
TEST(file_io, files_are_opened_for_this_process_alone) {
  const temporary_directory directory;
  static std::vector<int> seen;
  seen.clear();
  {
    const calls_guard guard;
    static rapt::detail::system_calls real;
    real = system();
    system().open = [](int d, const char* path, int flags, mode_t mode) { return seen.push_back(flags), real.open(d, path, flags, mode); };
    state_of(1).to_file(directory / "state");
    safetensors::open(directory / "state");
  }
  const int writing = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, reading = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  EXPECT_EQ(seen, (std::vector<int>{O_RDONLY | O_DIRECTORY | O_CLOEXEC, writing, reading}));
}

TEST(file_io, a_file_system_that_can_not_set_room_aside_is_written_to_all_the_same) {
  const temporary_directory directory;
  const calls_guard guard;
  static int failure_number;
  for (const int error : {EOPNOTSUPP, EINVAL, ENOSYS}) {
    failure_number = error;
    system().allocate = [](int, off_t) { return failure_number; };
    state_of(static_cast<std::uint8_t>(error)).to_file(directory / "state");
    EXPECT_EQ(value_in(directory / "state"), error & 255);
  }
}

TEST(file_io, a_file_that_becomes_shorter_while_it_is_read) {
  const temporary_directory directory;
  const std::string path = directory / "state";
  state_of(1).to_file(path);
  const calls_guard guard;
  system().pread = [](int fd, void* to, std::size_t n, off_t o) { return o > 0 ? 0 : pread(fd, to, n, o); };
  EXPECT_SAYS(expect_refused<io_error>({.directory = directory.path()}, [&] { safetensors::open(path); }), "became shorter");
}

/// What fills a tensor may throw: then nothing has been saved.
TEST(file_io, a_fill_function_that_throws_leaves_the_old_file) {
  const temporary_directory directory;
  state_of(1).to_file(directory / "state");
  safetensors::writer w = state_of(2);
  w.add("b", rapt::dtype::u8, {5}, [](std::span<std::byte>) { throw rapt::capacity_error("of the caller"); });
  expect_refused<rapt::capacity_error>({.directory = directory.path()}, [&] { w.to_file(directory / "state"); });
  expect_refused<rapt::capacity_error>({.directory = directory.path()}, [&] { w.to_file(directory / "new"); });
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

}  // namespace
