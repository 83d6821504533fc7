#include "engine/base/hash.h"

#include <xxhash.h>

#include <array>

namespace sparkspan::engine {

std::uint64_t Hash64(std::span<const std::byte> bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::uint64_t Hash64(std::string_view text, std::uint64_t seed) {
  return Hash64(std::as_bytes(std::span(text)), seed);
}

std::uint64_t CombineHash(std::uint64_t left, std::uint64_t right) {
  const std::array<std::uint64_t, 2> pair{left, right};
  return Hash64(std::as_bytes(std::span(pair)));
}

}  // namespace sparkspan::engine
