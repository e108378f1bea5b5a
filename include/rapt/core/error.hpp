// Every error that rapt throws. Thrown at a call's boundary, before its first write: whatever throws has changed nothing that the host can see.
#pragma once
#include <rapt/version.hpp>

#include <stdexcept>
#include <string>

namespace rapt {
inline namespace v0 {

enum class errc {
  none,
  config,    ///< a configuration, or weights and state that do not fit it
  shape,     ///< extents, strides, dtypes or aliasing of an argument
  capacity,  ///< a cache, workspace or limit is too small
  range,     ///< an index or length outside what exists
  state,     ///< a call that the object's present state does not allow
  format,    ///< a file that is not what it claims to be
  checksum,  ///< a file whose bytes have changed
  version,   ///< a file of a version that can not be read
  io,        ///< the operating system refused
  cuda,      ///< the CUDA runtime refused
  comm,      ///< another rank failed
  cancelled  ///< the caller's progress function said no
};

/// Base of every error of rapt. what() says where, what came and what was needed.
class RAPT_API error : public std::runtime_error {
 public:
  error(errc code, const std::string& message);
  errc code() const noexcept { return code_; }

 private:
  errc code_;
};

struct RAPT_API config_error : error {
  explicit config_error(const std::string& message);
};
struct RAPT_API shape_error : error {
  explicit shape_error(const std::string& message);
};
struct RAPT_API capacity_error : error {
  explicit capacity_error(const std::string& message);
};
struct RAPT_API range_error : error {
  explicit range_error(const std::string& message);
};
struct RAPT_API state_error : error {
  explicit state_error(const std::string& message);
};
struct RAPT_API format_error : error {
  explicit format_error(const std::string& message);
};
struct RAPT_API checksum_error : error {
  explicit checksum_error(const std::string& message);
};
struct RAPT_API version_error : error {
  explicit version_error(const std::string& message);
};
struct RAPT_API cuda_error : error {
  explicit cuda_error(const std::string& message);
};
struct RAPT_API comm_error : error {
  explicit comm_error(const std::string& message);
};
struct RAPT_API cancelled_error : error {
  explicit cancelled_error(const std::string& message);
};

/// An operation on a file failed; error_number() is the system's errno, 0 where the refusal is rapt's own (not a regular file).
class RAPT_API io_error : public error {
 public:
  io_error(const std::string& message, const std::string& path, int error_number);
  const std::string& path() const noexcept { return path_; }
  int error_number() const noexcept { return error_number_; }

 private:
  std::string path_;
  int error_number_;
};

/// What a check found: nothing, or the error that the checked call would throw. Lets callers without exceptions ask first.
struct failure {
  errc code = errc::none;
  std::string message;
  explicit operator bool() const noexcept { return code != errc::none; }
};

/// Throws the type that belongs to the code; in a program without exceptions the process ends there.
[[noreturn]] RAPT_API void raise(errc code, const std::string& message);
inline void raise_if(const failure& found) {
  if (found) raise(found.code, found.message);
}

}  // namespace v0
}  // namespace rapt
