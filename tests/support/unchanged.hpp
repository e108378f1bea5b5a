// What every refusal must satisfy: the named error, nothing changed, nothing printed, no file made, no memory taken that the input did not justify.
#pragma once
#include <rapt/core/error.hpp>
#include <support/allocations.hpp>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <string>

namespace rapt_test {

/// A directory that is there as long as the object.
class temporary_directory {
 public:
  temporary_directory() {
    std::string name = (std::filesystem::temp_directory_path() / "rapt-test-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  temporary_directory(const temporary_directory&) = delete;
  ~temporary_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void write_file(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

/// Name, kind, mode, identity, time of change and contents of everything in a directory: a file that was replaced by an equal one differs.
inline std::map<std::string, std::string> contents_of(const std::filesystem::path& directory) {
  std::map<std::string, std::string> all;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const auto status = entry.symlink_status();
    std::string text = std::to_string(static_cast<int>(status.type())) + " " + std::to_string(static_cast<unsigned>(status.permissions())) + " ";
    struct stat found = {};
    if (lstat(entry.path().c_str(), &found) == 0)
      text += std::to_string(found.st_ino) + " " + std::to_string(found.st_mtim.tv_sec) + "." + std::to_string(found.st_mtim.tv_nsec) + " ";
    if (std::filesystem::is_symlink(status)) text += std::filesystem::read_symlink(entry.path()).string();
    if (std::filesystem::is_regular_file(status)) text += read_file(entry.path().string());
    all[entry.path().filename().string()] = text;
  }
  return all;
}

/// Files that this process has open.
inline std::ptrdiff_t num_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

/// What must stay as it is while a call is refused.
struct watched {
  std::function<std::string()> object = [] { return std::string(); };  ///< all bits of the object that a user could see
  std::filesystem::path directory = {};                                ///< empty: no directory
  std::size_t input_bytes = 0;                                         ///< of the file; at most twice that plus 1 MiB may be taken
};

/// The rule for bad input, for `count` calls in a row: call(i) throws one of Errors and changes nothing of `what`, opens nothing, prints nothing and
/// takes no memory that the input did not justify. Object and files are compared at the end of all, the rest after each. Returns the last message.
template <class... Errors, class Call>
std::string expect_all_refused(const watched& what, std::size_t count, Call call) {
  const std::string object = what.object();
  const auto files = what.directory.empty() ? std::map<std::string, std::string>() : contents_of(what.directory);
  const std::ptrdiff_t descriptors = num_descriptors();
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  std::string message, first_accepted;
  std::size_t peak = 0, num_accepted = 0;
  for (std::size_t i = 0; i < count; ++i) {
    bool refused = false;
    message = "nothing was thrown";
    peak = std::max(peak, peak_bytes_of([&] {
                      try {
                        call(i);
                      } catch (const std::exception& e) {
                        refused = (... || (dynamic_cast<const Errors*>(&e) != nullptr));
                        message = (refused ? "" : "another error: ") + std::string(e.what());
                      }
                    }));
    if (!refused && num_accepted++ == 0) first_accepted = "call " + std::to_string(i) + ": " + message;
  }
  const std::string printed = testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr();
  EXPECT_EQ(num_accepted, 0u) << "of " << count << " calls; " << first_accepted;
  EXPECT_EQ(printed, "");
  EXPECT_LE(peak, 2 * what.input_bytes + (1 << 20));
  EXPECT_EQ(num_descriptors(), descriptors) << "files were left open";
  EXPECT_TRUE(what.object() == object) << "the object has changed";
  if (!what.directory.empty()) { EXPECT_EQ(contents_of(what.directory), files) << "the directory has changed"; }
  return message;
}

/// The same for one call and one error.
template <class Error, class Call>
std::string expect_refused(const watched& what, Call call) {
  return expect_all_refused<Error>(what, 1, [&](std::size_t) { call(); });
}

}  // namespace rapt_test
