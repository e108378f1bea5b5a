// Repairs the header's checksum of a state file that a test has edited, so that the edit itself is what the reader meets.
#pragma once
#include <xxhash.h>

#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace rapt_test {

inline std::uint64_t header_end(const std::string& file) {
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<unsigned char>(file[static_cast<std::size_t>(i)]);
  return 8 + length;
}

inline std::string hex16(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

/// rapt.header_xxh3 as docs say: XXH3-64 of the first 8 + N bytes with its own digits read as '0'.
inline std::string resealed(std::string file) {
  const std::string key = "\"rapt.header_xxh3\":\"";
  const std::size_t at = file.find(key);
  if (at == std::string::npos) throw std::runtime_error("no header checksum");
  file.replace(at + key.size(), 16, std::string(16, '0'));
  return file.replace(at + key.size(), 16, hex16(XXH3_64bits(file.data(), header_end(file))));
}

/// Replaces `from`, which must be there, by `to`; where the lengths differ the header's spaces, or its length by 64s, make up for it. Reseals.
inline std::string edited(std::string file, const std::string& from, const std::string& to) {
  const std::size_t at = file.find(from);
  if (at == std::string::npos) throw std::runtime_error("the file has no " + from);
  std::uint64_t end = header_end(file);
  std::string head = file.substr(0, end).replace(at, from.size(), to);
  const std::string data = file.substr(end);
  head.erase(head.find_last_of('}') + 1);
  while (head.size() % 64 != 0) head += ' ';
  for (std::size_t i = 0; i < 8; ++i) head[i] = static_cast<char>((head.size() - 8) >> (8 * i));
  return resealed(head + data);
}

}  // namespace rapt_test
