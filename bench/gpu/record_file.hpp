// Named arrays of 32-bit words in a file: what a probe or a kernel gave on one device, to be compared with what it gives elsewhere.
#pragma once
#include <cstdint>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace rapt_bench {

using records = std::map<std::string, std::vector<std::uint32_t>>;

/// FNV-1a over the words' bytes: enough to tell that all words of a record are the same.
inline std::uint64_t hash(const std::vector<std::uint32_t>& words) {
  std::uint64_t h = 0xcbf29ce484222325u;
  for (const std::uint32_t word : words)
    for (int shift = 0; shift < 32; shift += 8) h = (h ^ (word >> shift & 0xff)) * 0x100000001b3u;
  return h;
}

inline void write_records(const std::string& path, const records& all) {
  std::ofstream file(path, std::ios::binary);
  for (const auto& [name, words] : all) {
    const std::uint32_t lengths[2] = {static_cast<std::uint32_t>(name.size()), static_cast<std::uint32_t>(words.size())};
    file.write(reinterpret_cast<const char*>(lengths), sizeof lengths);
    file.write(name.data(), static_cast<std::streamsize>(name.size()));
    file.write(reinterpret_cast<const char*>(words.data()), static_cast<std::streamsize>(words.size() * 4));
  }
  if (!file.flush()) throw std::runtime_error(path + " can not be written");
}

inline records read_records(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + " can not be read");
  records all;
  std::uint32_t lengths[2];
  while (file.read(reinterpret_cast<char*>(lengths), sizeof lengths)) {
    std::string name(lengths[0], ' ');
    std::vector<std::uint32_t> words(lengths[1]);
    file.read(name.data(), static_cast<std::streamsize>(name.size()));
    file.read(reinterpret_cast<char*>(words.data()), static_cast<std::streamsize>(words.size() * 4));
    if (!file) throw std::runtime_error(path + " ends early");
    all[name] = std::move(words);
  }
  return all;
}

}  // namespace rapt_bench
