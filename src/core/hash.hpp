// The two hashes of state files: XXH3-64 finds changed bytes, XXH3-128 tells weights and configurations apart. Neither resists an attacker.
#pragma once
#include <rapt/version.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct XXH3_state_s;

namespace rapt {
inline namespace v0 {
namespace detail {

/// XXH3-64 of the parts, one after the other.
std::uint64_t xxh3_64(std::initializer_list<std::span<const std::byte>> parts);
/// 16 lower-case hexadecimal digits, the most significant first.
std::string hex(std::uint64_t value);

struct free_hash_state {
  void operator()(XXH3_state_s* state) const;
};

/// XXH3-64 of bytes that come in parts; the parts' lengths change nothing.
class hasher_64 {
 public:
  hasher_64();
  void add(std::span<const std::byte> bytes);
  /// Of all that was added since the last digest; the next begins anew.
  std::uint64_t digest();

 private:
  std::unique_ptr<XXH3_state_s, free_hash_state> state_;
};

struct hash_128 {
  std::uint64_t high = 0, low = 0;
};

/// XXH3-128 of everything that was added, in order.
class hasher_128 {
 public:
  hasher_128();
  void add(std::span<const std::byte> bytes);
  /// The length too, so that "ab", "c" and "a", "bc" differ.
  void add(std::string_view text);
  hash_128 digest() const;

 private:
  std::unique_ptr<XXH3_state_s, free_hash_state> state_;
};

}  // namespace detail
}  // namespace v0
}  // namespace rapt
