#pragma once

#include <array>
#include <cstdint>

namespace sparkspan::engine {

// Counter-based randomness (Philox4x32-10; Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011): a value is a pure function of (seed, position, purpose, token), so every
// rank draws the same numbers, in any order, however rows are batched (decisions 5).

// What a draw is for. Values are part of the reproducibility contract: append, never renumber.
enum class RandomPurpose : std::uint32_t {
  kSample = 0,    // the token at an absolute position
  kDraft = 1,     // a drafted token at an absolute position
  kAccept = 2,    // the acceptance test of a drafted token
  kResidual = 3,  // the token drawn after a rejection
};

// One Philox4x32-10 block. In the header because drawing a token takes one for each of a
// vocabulary.
inline std::array<std::uint32_t, 4> Philox(std::array<std::uint32_t, 4> counter,
                                           std::array<std::uint32_t, 2> key) {
  constexpr std::uint32_t kMultiplier0 = 0xD2511F53;
  constexpr std::uint32_t kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9;
  constexpr std::uint32_t kWeyl1 = 0xBB67AE85;
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t product0 = std::uint64_t{kMultiplier0} * counter[0];
    const std::uint64_t product1 = std::uint64_t{kMultiplier1} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

// Which of the kUniformCells equal cells of (0, 1) a draw falls into.
inline constexpr std::uint32_t kUniformCells = 1u << 23;

// The cells of tokens 4 * group to 4 * group + 3: a block has a word for each of them.
inline std::array<std::uint32_t, 4> UniformCells(std::uint64_t seed,
                                                 std::uint64_t position,
                                                 RandomPurpose purpose,
                                                 std::uint32_t group) {
  auto block = Philox({static_cast<std::uint32_t>(position),
                       static_cast<std::uint32_t>(position >> 32),
                       static_cast<std::uint32_t>(purpose),
                       group},
                      {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  for (std::uint32_t& word : block) {
    word >>= 9;
  }
  return block;
}

inline std::uint32_t UniformCell(std::uint64_t seed,
                                 std::uint64_t position,
                                 RandomPurpose purpose,
                                 std::uint32_t token) {
  return UniformCells(seed, position, purpose, token / 4)[token % 4];
}

// The middle of a cell, so that neither 0 nor 1 can appear.
inline float MiddleOfCell(std::uint32_t cell) {
  return (static_cast<float>(cell) + 0.5f) * 0x1p-23f;
}

// Uniform in the open interval (0, 1), the middle of one of 2^23 equal cells.
inline float UniformFloat(std::uint64_t seed,
                          std::uint64_t position,
                          RandomPurpose purpose,
                          std::uint32_t token) {
  return MiddleOfCell(UniformCell(seed, position, purpose, token));
}

}  // namespace sparkspan::engine
