// The library's system calls under a test's control: counted by kind, and made to fail, to move less than asked, or to act at a chosen call. And the
// pieces in which files are moved, by a thread or without one.
#pragma once
#include <sys/mman.h>
#include <state/file_stream.hpp>

#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace rapt_test {

enum class call_kind {
  open,
  close,
  stat,
  stat_at,
  read_link,
  pread,
  pwrite,
  allocate,
  chmod,
  fsync,
  rename,
  unlink,
  random,
  map,
  start_thread,
  start_flush
};

inline const char* name_of(call_kind kind) {
  constexpr const char* names[] = {"open",  "close", "stat",   "stat_at", "read_link", "pread", "pwrite",       "allocate",
                                   "chmod", "fsync", "rename", "unlink",  "random",    "map",   "start_thread", "start_flush"};
  return names[static_cast<int>(kind)];
}

/// What the system does to one call.
struct fault {
  enum class way { error, few_bytes, no_bytes } how = way::error;
  int error_number = 0;  ///< of an error
};

/// Replaces the calls as long as it lives; one at a time. For one save or load at a time: its own thread and its caller make no calls at once.
class scripted_system {
 public:
  /// Asked before each call, with its number from 1 on: the fault that it meets, if any.
  using script = std::function<std::optional<fault>(call_kind, int number)>;

  explicit scripted_system(script ask = nullptr) : ask_(std::move(ask)), real_(rapt::detail::system()) {
    current = this;
    calls_.reserve(256);
    using rapt::detail::system;
    system().open = [](int d, const char* p, int f, mode_t m) { return current->run(call_kind::open, -1, [&] { return real().open(d, p, f, m); }); };
    // A close that reports an error has closed.
    system().close = [](int fd) {
      const int closed = real().close(fd);
      return current->run(call_kind::close, -1, [&] { return closed; });
    };
    system().stat = [](int fd, struct stat* s) { return current->run(call_kind::stat, -1, [&] { return real().stat(fd, s); }); };
    system().stat_at = [](int d, const char* p, struct stat* s) {
      return current->run(call_kind::stat_at, -1, [&] { return real().stat_at(d, p, s); });
    };
    system().read_link = [](int d, const char* p, char* to, std::size_t n) {
      return current->run(call_kind::read_link, ssize_t{-1}, [&] { return real().read_link(d, p, to, n); });
    };
    system().pread = [](int fd, void* to, std::size_t n, off_t at) {
      return current->run_some(call_kind::pread, n, [&](std::size_t some) { return real().pread(fd, to, some, at); });
    };
    system().pwrite = [](int fd, const void* from, std::size_t n, off_t at) {
      return current->run_some(call_kind::pwrite, n, [&](std::size_t some) { return real().pwrite(fd, from, some, at); });
    };
    system().allocate = [](int fd, off_t n) {
      const int result = current->run(call_kind::allocate, -1, [&] { return real().allocate(fd, n); });
      return result == -1 ? errno : result;
    };
    system().start_flush = [](int fd, off_t at, off_t n) {
      return current->run(call_kind::start_flush, -1, [&] { return real().start_flush(fd, at, n); });
    };
    system().chmod = [](int fd, mode_t m) { return current->run(call_kind::chmod, -1, [&] { return real().chmod(fd, m); }); };
    system().fsync = [](int fd) { return current->run(call_kind::fsync, -1, [&] { return real().fsync(fd); }); };
    system().rename = [](int d, const char* a, const char* b) { return current->run(call_kind::rename, -1, [&] { return real().rename(d, a, b); }); };
    system().unlink = [](int d, const char* p) { return current->run(call_kind::unlink, -1, [&] { return real().unlink(d, p); }); };
    system().random = [](void* to, std::size_t n) {
      return current->run_some(call_kind::random, n, [&](std::size_t some) { return real().random(to, some); });
    };
    system().map = [](int fd, std::size_t n) { return current->run(call_kind::map, MAP_FAILED, [&] { return real().map(fd, n); }); };
    system().start_thread = [](pthread_t* thread, void* (*main)(void*), void* arg) {
      const int result = current->run(call_kind::start_thread, -1, [&] { return real().start_thread(thread, main, arg); });
      return result == -1 ? errno : result;
    };
  }
  scripted_system(const scripted_system&) = delete;
  scripted_system& operator=(const scripted_system&) = delete;
  ~scripted_system() { rapt::detail::system() = real_; }

  /// The kinds of the calls so far, in their order.
  const std::vector<call_kind>& calls() const { return calls_; }

 private:
  static const rapt::detail::system_calls& real() { return current->real_; }
  std::optional<fault> next(call_kind kind) {
    calls_.push_back(kind);
    return ask_ ? ask_(kind, static_cast<int>(calls_.size())) : std::nullopt;
  }
  template <class Result, class Call>
  Result run(call_kind kind, Result failed, Call call) {
    const std::optional<fault> met = next(kind);
    if (!met) return call();
    errno = met->error_number;
    return failed;
  }
  template <class Call>
  ssize_t run_some(call_kind kind, std::size_t bytes, Call call) {
    const std::optional<fault> met = next(kind);
    if (!met) return call(bytes);
    if (met->how == fault::way::few_bytes) return call(bytes > 1 ? bytes / 2 : bytes);
    errno = met->error_number;
    return met->how == fault::way::no_bytes ? 0 : -1;
  }

  inline static scripted_system* current = nullptr;
  script ask_;
  rapt::detail::system_calls real_;
  std::vector<call_kind> calls_;
};

/// The calls of a run that meets no fault.
template <class Call>
std::vector<call_kind> calls_of(Call call) {
  const scripted_system system;
  call();
  return system.calls();
}

/// All that Linux may answer to a call of this kind, beside success.
inline std::vector<fault> faults_of(call_kind kind) {
  const auto errors = [](std::initializer_list<int> numbers) {
    std::vector<fault> all;
    for (const int number : numbers) all.push_back({fault::way::error, number});
    return all;
  };
  const auto with = [](std::vector<fault> all, std::initializer_list<fault::way> ways) {
    for (const fault::way how : ways) all.push_back({how, 0});
    return all;
  };
  switch (kind) {
    case call_kind::open:
      return errors({EINTR, EIO, ENOSPC, EDQUOT, EACCES, EPERM, EROFS, EMFILE, ENFILE, ENOMEM, ENODEV, EBUSY, ESTALE});
    case call_kind::close:
      return errors({EINTR, EIO, ENOSPC, EDQUOT});
    case call_kind::stat:
    case call_kind::stat_at:
      return errors({EIO, EACCES, ENOMEM, EOVERFLOW, ESTALE});
    case call_kind::read_link:
      return errors({EIO, EACCES, ENOMEM, EINVAL, ESTALE});
    case call_kind::pread:
      return with(errors({EINTR, EIO, EAGAIN, ENOMEM, ESTALE}), {fault::way::few_bytes, fault::way::no_bytes});
    case call_kind::pwrite:
      return with(errors({EINTR, EIO, ENOSPC, EDQUOT, EFBIG, EPERM, ENOMEM, ESTALE}), {fault::way::few_bytes, fault::way::no_bytes});
    case call_kind::allocate:
      return errors({EINTR, EIO, ENOSPC, EDQUOT, EFBIG, EPERM, ENODEV, EOPNOTSUPP, EINVAL, ENOSYS});
    case call_kind::chmod:
      return errors({EIO, EPERM, EROFS, ENOMEM});
    case call_kind::fsync:
      return errors({EINTR, EIO, ENOSPC, EDQUOT, EROFS, EINVAL});
    case call_kind::rename:
      return errors({EIO, ENOSPC, EDQUOT, EACCES, EPERM, EROFS, EBUSY, ENOMEM, EISDIR, ENOENT});
    case call_kind::unlink:
      return errors({EIO, EACCES, EROFS, EBUSY});
    case call_kind::random:
      return errors({EINTR, ENOSYS, EFAULT});
    case call_kind::map:
      return errors({ENOMEM, ENODEV, EACCES, EAGAIN});
    case call_kind::start_thread:
      return errors({EAGAIN, EPERM, ENOMEM});
    case call_kind::start_flush:
      return errors({EINTR, EIO, ENOSPC, EINVAL, ENOSYS});
  }
  return {};
}

/// How files are moved.
struct way_of_moving {
  const char* name;
  std::size_t piece_bytes, num_pieces;
  bool has_thread;
};
inline void PrintTo(const way_of_moving& way, std::ostream* out) { *out << way.name; }
/// Small files in one piece, as they are outside of tests; in many, by a thread and without one.
constexpr way_of_moving ways_of_moving[] = {
    {"at_once", rapt::detail::stream_sizes().piece_bytes, rapt::detail::stream_sizes().num_pieces, true},
    {"in_pieces_by_a_thread", 300, 3, true},
    {"in_pieces_by_the_caller", 300, 3, false},
};

/// Moves files that way as long as it lives.
class moving {
 public:
  explicit moving(const way_of_moving& way) {
    rapt::detail::sizes_of_streams() = {way.piece_bytes, way.num_pieces};
    if (!way.has_thread) rapt::detail::system().start_thread = [](pthread_t*, void* (*)(void*), void*) { return EAGAIN; };
  }
  moving(const moving&) = delete;
  moving& operator=(const moving&) = delete;
  ~moving() {
    rapt::detail::sizes_of_streams() = {};
    rapt::detail::system() = real_;
  }

 private:
  rapt::detail::system_calls real_ = rapt::detail::system();
};
inline std::string name_of_way(const testing::TestParamInfo<way_of_moving>& way) { return way.param.name; }

}  // namespace rapt_test
