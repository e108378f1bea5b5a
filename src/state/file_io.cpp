#include <core/library_thread.hpp>
#include <state/file_io.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>

namespace rapt {
inline namespace v0 {
namespace detail {
namespace {

[[noreturn]] void fail(const std::string& what, const std::string& path, int error_number) {
  const std::string reason = error_number == 0 ? std::string() : ": " + std::generic_category().message(error_number);
  throw io_error(what + " " + path + reason, path, error_number);
}

// Of try_read: no errno.
constexpr int became_shorter = -1;

template <class Call>
auto retry(Call call) {
  for (;;) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

void require_no_nul(const std::string& path) {
  if (path.find('\0') != std::string::npos) fail("a path with a zero byte:", path.substr(0, path.find('\0')), EINVAL);
}

struct location {
  std::string directory, name;
};

location split(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace

system_calls& system() {
  static system_calls calls = {
      [](int directory, const char* path, int flags, mode_t mode) { return ::openat(directory, path, flags, mode); },
      ::close,
      [](int fd, struct stat* found) { return ::fstat(fd, found); },
      [](int directory, const char* path, struct stat* found) { return ::fstatat(directory, path, found, AT_SYMLINK_NOFOLLOW); },
      ::readlinkat,
      ::pread,
      ::pwrite,
      // Not posix_fallocate: where the file system can not, glibc would write into every block.
      [](int fd, off_t bytes) { return ::fallocate(fd, 0, 0, bytes) == 0 ? 0 : errno; },
      [](int fd, off_t offset, off_t bytes) { return ::sync_file_range(fd, offset, bytes, SYNC_FILE_RANGE_WRITE); },
      ::fchmod,
      ::fsync,
      [](int directory, const char* from, const char* to) { return ::renameat(directory, from, directory, to); },
      [](int directory, const char* path) { return ::unlinkat(directory, path, 0); },
      [](void* to, std::size_t bytes) { return ::getrandom(to, bytes, 0); },
      [](int fd, std::size_t bytes) { return ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0); },
      start_library_thread,
  };
  return calls;
}

descriptor& descriptor::operator=(descriptor&& other) noexcept {
  descriptor taken(std::move(other));
  std::swap(fd_, taken.fd_);
  return *this;
}
descriptor::~descriptor() {
  if (fd_ >= 0) system().close(fd_);
}
int descriptor::release() noexcept { return std::exchange(fd_, -1); }

mapping::mapping(const descriptor& file, std::size_t bytes, const std::string& path) : bytes_(bytes) {
  void* mapped = system().map(file.get(), bytes);
  if (mapped == MAP_FAILED) fail("could not map", path, errno);
  data_ = mapped;
}
mapping::mapping(mapping&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
mapping& mapping::operator=(mapping&& other) noexcept {
  mapping taken(std::move(other));
  std::swap(data_, taken.data_);
  std::swap(bytes_, taken.bytes_);
  return *this;
}
mapping::~mapping() {
  if (data_) ::munmap(data_, bytes_);
}

input_file::input_file(const std::string& path) : path_(path) {
  require_no_nul(path);
  // O_NONBLOCK: opening a FIFO must not wait for its writer. Reading a regular file is not changed by it.
  file_ = descriptor(retry([&] { return system().open(AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0); }));
  if (file_.get() < 0) fail("could not open", path, errno);
  struct stat found = {};
  if (system().stat(file_.get(), &found) != 0) fail("could not examine", path, errno);
  if (!S_ISREG(found.st_mode)) fail("not a regular file:", path, 0);
  bytes_ = static_cast<std::uint64_t>(found.st_size);
}

int input_file::try_read(std::uint64_t offset, std::span<std::byte> to) const noexcept {
  while (!to.empty()) {
    const ssize_t got = retry([&] { return system().pread(file_.get(), to.data(), to.size(), static_cast<off_t>(offset)); });
    if (got < 0) return errno;
    if (got == 0) return became_shorter;
    to = to.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return 0;
}

void input_file::fail_to_read(int refusal) const {
  if (refusal == became_shorter) fail("became shorter while it was read:", path_, 0);
  fail("could not read", path_, refusal);
}

void replacement::fail(const char* what, int error_number) const { detail::fail(what, path_, error_number); }

replacement::replacement(const std::string& path, std::uint64_t bytes) : path_(path) {
  require_no_nul(path);
  // A symbolic link stays; what it points to is replaced.
  std::string target = path;
  for (int links = 0;; ++links) {
    location place = split(target);
    if (place.name.empty() || place.name == "." || place.name == "..") fail("not the name of a file:", EISDIR);
    directory_ = descriptor(retry([&] { return system().open(AT_FDCWD, place.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); }));
    if (directory_.get() < 0) fail("could not open the directory of", errno);
    struct stat found = {};
    target_exists_ = system().stat_at(directory_.get(), place.name.c_str(), &found) == 0;
    if (!target_exists_ && errno != ENOENT) fail("could not examine", errno);
    if (!target_exists_ || !S_ISLNK(found.st_mode)) {
      if (target_exists_ && !S_ISREG(found.st_mode)) fail("not a regular file:", 0);
      mode_ = found.st_mode & 07777;
      target_ = std::move(place.name);
      break;
    }
    if (links == 40) fail("could not follow", ELOOP);
    char buffer[4096];
    const ssize_t length = system().read_link(directory_.get(), place.name.c_str(), buffer, sizeof buffer);
    if (length < 0) fail("could not follow", errno);
    const std::string_view points_to(buffer, static_cast<std::size_t>(length));
    target = points_to.starts_with('/') ? std::string(points_to) : place.directory + "/" + std::string(points_to);
  }
  create();
  try {
    if (target_exists_ && system().chmod(file_.get(), mode_) != 0) fail("could not set the mode of the new", errno);
    if (bytes > 0) {
      // A file system may undo what it has set aside when a signal comes: under a timer this could go on forever. The writes find out too.
      int error_number = EINTR;
      for (int attempt = 0; attempt < 10 && error_number == EINTR; ++attempt)
        error_number = system().allocate(file_.get(), static_cast<off_t>(bytes));
      if (error_number != 0 && error_number != EINTR && error_number != EOPNOTSUPP && error_number != EINVAL && error_number != ENOSYS)
        fail("no room for the new", error_number);
    }
  } catch (...) {
    system().unlink(directory_.get(), temporary_.c_str());
    throw;
  }
}

void replacement::create() {
  // O_EXCL does not follow a link that somebody has put at the name; another name is taken then. 64 random bits are not met twice by chance.
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::uint64_t number = 0;
    if (retry([&] { return system().random(&number, sizeof number); }) != sizeof number) fail("no random name for the new", errno);
    char name[32];
    std::snprintf(name, sizeof name, ".rapt-%016llx", static_cast<unsigned long long>(number));
    std::string chosen = name;  // before the file exists: this allocates
    file_ = descriptor(retry([&] { return system().open(directory_.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666); }));
    if (file_.get() >= 0) {
      temporary_ = std::move(chosen);
      return;
    }
    if (errno != EEXIST) fail("could not make a file beside", errno);
  }
  fail("could not make a file beside", EEXIST);
}

replacement::~replacement() {
  if (!temporary_.empty()) system().unlink(directory_.get(), temporary_.c_str());
}

int replacement::try_write(std::uint64_t offset, std::span<const std::byte> from) const noexcept {
  while (!from.empty()) {
    const ssize_t put = retry([&] { return system().pwrite(file_.get(), from.data(), from.size(), static_cast<off_t>(offset)); });
    if (put <= 0) return put < 0 ? errno : EIO;
    from = from.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return 0;
}

void replacement::fail_to_write(int refusal) const { fail("could not write the new", refusal); }

void replacement::start_flush(std::uint64_t offset, std::uint64_t bytes) const noexcept {
  system().start_flush(file_.get(), static_cast<off_t>(offset), static_cast<off_t>(bytes));
}

void replacement::commit() {
  // A second fsync after a failed one may report success for pages that the kernel has dropped: one attempt, EINTR included.
  if (system().fsync(file_.get()) != 0) fail("could not flush the new", errno);
  // After EINTR Linux has closed the descriptor; a file that was flushed is whole either way.
  if (system().close(file_.release()) != 0 && errno != EINTR) fail("could not close the new", errno);
  if (system().rename(directory_.get(), temporary_.c_str(), target_.c_str()) != 0) fail("could not rename the new file to", errno);
  temporary_.clear();
  if (system().fsync(directory_.get()) != 0)
    fail("the new file stands, but whether it survives a power cut is unknown, because its directory could not be flushed:", errno);
}

}  // namespace detail
}  // namespace v0
}  // namespace rapt
