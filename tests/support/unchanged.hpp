// What every refusal must satisfy: the named error, nothing changed, nothing printed, no file made, no memory taken that the input did not justify.
#pragma once
#include <rapt/core/error.hpp>
#include <support/allocations.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

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

/// Name, kind, mode and contents of everything in a directory.
inline std::map<std::string, std::string> contents_of(const std::filesystem::path& directory) {
  std::map<std::string, std::string> all;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const auto status = entry.symlink_status();
    std::string text = std::to_string(static_cast<int>(status.type())) + " " + std::to_string(static_cast<unsigned>(status.permissions())) + " ";
    if (std::filesystem::is_symlink(status)) text += std::filesystem::read_symlink(entry.path()).string();
    if (std::filesystem::is_regular_file(status)) text += read_file(entry.path().string());
    all[entry.path().filename().string()] = text;
  }
  return all;
}

/// What must stay as it is while a call is refused.
struct watched {
  std::function<std::string()> object = [] { return std::string(); };  ///< all bits of the object that a user could see
  std::filesystem::path directory = {};                                ///< empty: no directory
  std::size_t input_bytes = 0;                                         ///< of the file; at most twice that plus 1 MiB may be taken
};

/// Runs `call`, which must throw Error and change nothing of `what`; returns the message.
template <class Error, class Call>
std::string expect_refused(const watched& what, Call call) {
  const std::string object = what.object();
  const auto files = what.directory.empty() ? std::map<std::string, std::string>() : contents_of(what.directory);
  std::string message = "nothing was thrown";
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  bool refused = false;
  const std::size_t peak = peak_bytes_of([&] {
    try {
      call();
    } catch (const Error& e) {
      refused = true;
      message = e.what();
    } catch (const std::exception& e) { message = std::string("another error: ") + e.what(); }
  });
  const std::string printed = testing::internal::GetCapturedStdout() + testing::internal::GetCapturedStderr();
  EXPECT_TRUE(refused) << message;
  EXPECT_EQ(printed, "");
  EXPECT_LE(peak, 2 * what.input_bytes + (1 << 20));
  EXPECT_TRUE(what.object() == object) << "the object has changed";
  if (!what.directory.empty()) { EXPECT_EQ(contents_of(what.directory), files) << "the directory has changed"; }
  return message;
}

}  // namespace rapt_test
