// Which probabilities survive dropout: Philox 4x32-10, a counter-based generator. For every backend, hence constexpr, which devices can call. Source:
// Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
#pragma once
#include <array>
#include <cstdint>

namespace rapt {
inline namespace v0 {
namespace dropout {

constexpr std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::uint64_t seed) {
  auto key_low = static_cast<std::uint32_t>(seed), key_high = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xd2511f53u} * counter[0], b = std::uint64_t{0xcd9e8d57u} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key_low, static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key_high, static_cast<std::uint32_t>(a)};
    key_low += 0x9e3779b9u, key_high += 0xbb67ae85u;
  }
  return counter;
}

/// Whether one probability survives dropout: the first word of the counter (sequence, head, query, key), each modulo 2^32, as a number in [0, 1), is
/// at least p.
constexpr bool keeps(double p, std::uint64_t seed, std::uint64_t sequence, std::int64_t head, std::int64_t query, std::int64_t key) {
  const auto word = [](auto x) { return static_cast<std::uint32_t>(x); };
  return philox({word(sequence), word(head), word(query), word(key)}, seed)[0] * 0x1p-32 >= p;
}

}  // namespace dropout
}  // namespace v0
}  // namespace rapt
