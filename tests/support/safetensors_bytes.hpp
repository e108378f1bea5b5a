// Files made by hand, byte by byte, without the library.
#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace rapt_test {

inline std::string file_bytes(std::uint64_t header_length, const std::string& header, const std::string& data = {}) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(header_length >> (8 * i));
  return bytes + header + data;
}
inline std::string file_bytes(const std::string& header, const std::string& data = {}) { return file_bytes(header.size(), header, data); }

inline std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

/// {"dtype":..., "shape":..., "data_offsets":[...]}
inline std::string tensor_text(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape + "],\"data_offsets\":[" + offsets + "]}";
}

}  // namespace rapt_test
