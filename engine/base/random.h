#pragma once

#include <array>
#include <cstdint>

namespace sparkspan::engine {

// Counter-based randomness (Philox4x32-10; Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011): a value is a pure function of (seed, position, purpose, token), so every
// rank draws the same numbers, in any order, however rows are batched (decisions 5).

// What a draw is for. Values are part of the reproducibility contract: append, never renumber.
enum class RandomPurpose : std::uint32_t {
  kSample = 0,          // the token at an absolute position
  kDraft = 1,           // a drafted token at an absolute position
  kAccept = 2,          // the acceptance test of a drafted token
  kResidual = 3,        // the token drawn after a rejection
};

// One Philox4x32-10 block.
std::array<std::uint32_t, 4> Philox(const std::array<std::uint32_t, 4>& counter,
                                    const std::array<std::uint32_t, 2>& key);

// Uniform in the open interval (0, 1), the middle of one of 2^23 equal cells.
float UniformFloat(std::uint64_t seed,
                   std::uint64_t position,
                   RandomPurpose purpose,
                   std::uint32_t token);

}  // namespace sparkspan::engine
