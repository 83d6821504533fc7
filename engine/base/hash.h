#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sparkspan::engine {

// XXH3-64 of `bytes`, continued from `seed`. Not for secrets: digests of a step, of
// configurations and of tables, compared between ranks of one release.
std::uint64_t Hash64(std::span<const std::byte> bytes, std::uint64_t seed = 0);
std::uint64_t Hash64(std::string_view text, std::uint64_t seed = 0);

// Order-dependent combination of two hashes.
std::uint64_t CombineHash(std::uint64_t left, std::uint64_t right);

}  // namespace sparkspan::engine
