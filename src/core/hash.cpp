#include <core/hash.hpp>

#include <xxhash.h>

#include <new>

namespace rapt {
inline namespace v0 {
namespace detail {

std::uint64_t xxh3_64(std::initializer_list<std::span<const std::byte>> parts) {
  if (parts.size() == 1) return XXH3_64bits(parts.begin()->data(), parts.begin()->size());
  hasher_64 all;
  for (const std::span<const std::byte> part : parts) all.add(part);
  return all.digest();
}

std::string hex(std::uint64_t value) {
  std::string digits(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4) digits[i] = "0123456789abcdef"[value & 15];
  return digits;
}

void free_hash_state::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

hasher_64::hasher_64() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_64bits_reset(state_.get());
}

void hasher_64::add(std::span<const std::byte> bytes) { XXH3_64bits_update(state_.get(), bytes.data(), bytes.size()); }

std::uint64_t hasher_64::digest() {
  const std::uint64_t value = XXH3_64bits_digest(state_.get());
  XXH3_64bits_reset(state_.get());
  return value;
}

hasher_128::hasher_128() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_128bits_reset(state_.get());
}

void hasher_128::add(std::span<const std::byte> bytes) { XXH3_128bits_update(state_.get(), bytes.data(), bytes.size()); }

void hasher_128::add(std::string_view text) {
  const std::uint64_t length = text.size();
  add(std::as_bytes(std::span(&length, 1)));
  add(std::as_bytes(std::span(text)));
}

hash_128 hasher_128::digest() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
  return {hash.high64, hash.low64};
}

}  // namespace detail
}  // namespace v0
}  // namespace rapt
