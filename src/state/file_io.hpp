// Every system call on files that the library makes: reading a regular file, and replacing one at once and durably. Moving bytes while the caller
// computes: file_stream.hpp.
#pragma once
#include <rapt/core/error.hpp>

#include <pthread.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace rapt {
inline namespace v0 {
namespace detail {

/// The calls as the room makes them; errors by errno, those of allocate and start_thread as their value. Tests put failing ones here; nobody else
/// writes to it.
struct system_calls {
  int (*open)(int directory, const char* path, int flags, mode_t mode);
  int (*close)(int fd);
  int (*stat)(int fd, struct stat* found);
  int (*stat_at)(int directory, const char* path, struct stat* found);  ///< of the link itself
  ssize_t (*read_link)(int directory, const char* path, char* target, std::size_t bytes);
  ssize_t (*pread)(int fd, void* to, std::size_t bytes, off_t offset);
  ssize_t (*pwrite)(int fd, const void* from, std::size_t bytes, off_t offset);
  int (*allocate)(int fd, off_t bytes);
  int (*start_flush)(int fd, off_t offset, off_t bytes);  ///< does not wait
  int (*chmod)(int fd, mode_t mode);
  int (*fsync)(int fd);
  int (*rename)(int directory, const char* from, const char* to);
  int (*unlink)(int directory, const char* path);
  ssize_t (*random)(void* to, std::size_t bytes);
  void* (*map)(int fd, std::size_t bytes);  ///< for reading; MAP_FAILED
  int (*start_thread)(pthread_t* thread, void* (*main)(void*), void* arg);
};
RAPT_API system_calls& system();

class descriptor {
 public:
  descriptor() = default;
  explicit descriptor(int fd) : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(other.release()) {}
  descriptor& operator=(descriptor&& other) noexcept;
  ~descriptor();
  int get() const { return fd_; }
  int release() noexcept;

 private:
  int fd_ = -1;
};

/// The whole of a file mapped for reading.
class mapping {
 public:
  mapping() = default;
  mapping(const descriptor& file, std::size_t bytes, const std::string& path);
  mapping(mapping&& other) noexcept;
  mapping& operator=(mapping&& other) noexcept;
  ~mapping();
  const std::byte* data() const { return static_cast<const std::byte*>(data_); }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// A regular file that is open for reading. Never waits on a FIFO or a device: io_error instead, errno 0.
class input_file {
 public:
  explicit input_file(const std::string& path);
  std::uint64_t bytes() const { return bytes_; }
  /// Throws io_error, also where the file has become shorter since it was opened.
  void read(std::uint64_t offset, std::span<std::byte> to) const {
    if (const int refusal = try_read(offset, to)) fail_to_read(refusal);
  }
  /// 0, or the refusal that fail_to_read makes an error of.
  int try_read(std::uint64_t offset, std::span<std::byte> to) const noexcept;
  [[noreturn]] void fail_to_read(int refusal) const;
  mapping map() const { return mapping(file_, static_cast<std::size_t>(bytes_), path_); }

 private:
  std::string path_;
  descriptor file_;
  std::uint64_t bytes_ = 0;
};

/// A new file beside the target that takes its name on commit, or vanishes.
class RAPT_API replacement {
 public:
  /// Makes the file and sets `bytes` of disk aside where the file system can.
  replacement(const std::string& path, std::uint64_t bytes);
  replacement(const replacement&) = delete;
  replacement& operator=(const replacement&) = delete;
  ~replacement();
  void write(std::uint64_t offset, std::span<const std::byte> from) const {
    if (const int refusal = try_write(offset, from)) fail_to_write(refusal);
  }
  /// 0, or the refusal that fail_to_write makes an error of.
  int try_write(std::uint64_t offset, std::span<const std::byte> from) const noexcept;
  [[noreturn]] void fail_to_write(int refusal) const;
  /// Has the disk begin with what was written there, so that commit need not wait for all of it. What goes wrong commit finds out.
  void start_flush(std::uint64_t offset, std::uint64_t bytes) const noexcept;
  void commit();

 private:
  [[noreturn]] void fail(const char* what, int error_number) const;
  void create();
  std::string path_;  // as the caller named it
  descriptor directory_, file_;
  std::string target_, temporary_;  // names in directory_
  mode_t mode_ = 0;
  bool target_exists_ = false;
};

}  // namespace detail
}  // namespace v0
}  // namespace rapt
