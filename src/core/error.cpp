#include <rapt/core/error.hpp>

namespace rapt {
inline namespace v0 {

error::error(errc code, const std::string& message) : std::runtime_error(message), code_(code) {}

config_error::config_error(const std::string& message) : error(errc::config, message) {}
shape_error::shape_error(const std::string& message) : error(errc::shape, message) {}
capacity_error::capacity_error(const std::string& message) : error(errc::capacity, message) {}
range_error::range_error(const std::string& message) : error(errc::range, message) {}
state_error::state_error(const std::string& message) : error(errc::state, message) {}
format_error::format_error(const std::string& message) : error(errc::format, message) {}
checksum_error::checksum_error(const std::string& message) : error(errc::checksum, message) {}
version_error::version_error(const std::string& message) : error(errc::version, message) {}
cuda_error::cuda_error(const std::string& message) : error(errc::cuda, message) {}
comm_error::comm_error(const std::string& message) : error(errc::comm, message) {}
cancelled_error::cancelled_error(const std::string& message) : error(errc::cancelled, message) {}

io_error::io_error(const std::string& message, const std::string& path, int error_number)
    : error(errc::io, message), path_(path), error_number_(error_number) {}

void raise(errc code, const std::string& message) {
  switch (code) {
    case errc::config:
      throw config_error(message);
    case errc::shape:
      throw shape_error(message);
    case errc::capacity:
      throw capacity_error(message);
    case errc::range:
      throw range_error(message);
    case errc::state:
      throw state_error(message);
    case errc::format:
      throw format_error(message);
    case errc::checksum:
      throw checksum_error(message);
    case errc::version:
      throw version_error(message);
    case errc::cuda:
      throw cuda_error(message);
    case errc::comm:
      throw comm_error(message);
    case errc::cancelled:
      throw cancelled_error(message);
    case errc::io:
      throw io_error(message, {}, 0);
    case errc::none:
      break;
  }
  throw error(code, message);
}

}  // namespace v0
}  // namespace rapt
