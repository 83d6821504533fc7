#pragma once

#include "kernels/sampling/sampling.h"
#include "kernels/simt/simt.h"

// Scores of a vocabulary and their noise, four neighbouring tokens a lane: those that share a block
// of the generator.
namespace sparkspan::kernels {
inline namespace SIMT_TARGET {

constexpr int kPickWarps = 8;
constexpr int kPickThreads = kPickWarps * 32;
constexpr int kGroupsPerWarp = kLogitsPerBlock / 4 / kPickWarps;
constexpr float kNothing = -3.4e38F;
// What forbids a token.
SIMT_DEVICE float forbidden() {
  return simt::float_of_bits(0xFF800000U);
}
SIMT_DEVICE bool is_number(float score) {
  return score < simt::float_of_bits(0x7F800000U);
}

// Calls visit(group) for the lane's groups of four tokens, all lanes of a warp together: warps take
// stretches of the block's in order of token, lanes take neighbours.
template <class Visit>
SIMT_DEVICE void for_each_group(const VocabularyShare& share, int stretch, const Visit& visit) {
  const int first =
      share.first_token / 4 + stretch * (kLogitsPerBlock / 4) + simt::warp_index() * kGroupsPerWarp;
  for (int i = 0; i < kGroupsPerWarp; i += 32) {
    visit(first + i + simt::lane_index());
  }
}

// Scores of tokens 4 group to 4 group + 3.
struct FourScores {
  float score[4];
};

// Minus infinity for what lies outside the share or is not allowed.
SIMT_DEVICE FourScores load_scores(const VocabularyShare& share, std::int64_t row, int group) {
  const int first = group * 4 - share.first_token;
  const std::int64_t at = row * share.vocabulary + first;
  FourScores four = {{forbidden(), forbidden(), forbidden(), forbidden()}};
  if (first >= share.vocabulary) {
    return four;
  }
  if ((share.vocabulary | share.first_token) % 4 == 0) {
    const Words<4> words = simt::load_vector<4>(share.logits + at);
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      four.score[i] = simt::float_of_bits(words.word[i]);
    }
    if (share.bias != nullptr) {
      const Words<4> bias = simt::load_vector<4>(share.bias + at);
      SIMT_UNROLL
      for (int i = 0; i < 4; ++i) {
        four.score[i] += simt::float_of_bits(bias.word[i]);
      }
    }
  } else {
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (first + i >= 0 && first + i < share.vocabulary) {
        four.score[i] = *simt::global(share.logits + at + i);
        if (share.bias != nullptr) {
          four.score[i] += *simt::global(share.bias + at + i);
        }
      }
    }
  }
  if (share.allowed != nullptr) {
    const std::uint32_t* bits = share.allowed + row * ((share.vocabulary + 31) / 32);
    SIMT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int token = first + i;
      if (token >= 0 && token < share.vocabulary && (bits[token / 32] >> (token % 32) & 1U) == 0) {
        four.score[i] = forbidden();
      }
    }
  }
  return four;
}

// A Philox4x32-10 block: the draws of a group's four tokens, as engine/base/random.h defines them.
SIMT_DEVICE Words<4> draw_group(std::uint64_t seed,
                                std::uint64_t position,
                                std::uint32_t purpose,
                                int group) {
  std::uint32_t x0 = static_cast<std::uint32_t>(position);
  std::uint32_t x1 = static_cast<std::uint32_t>(position >> 32);
  std::uint32_t x2 = purpose;
  std::uint32_t x3 = static_cast<std::uint32_t>(group);
  std::uint32_t k0 = static_cast<std::uint32_t>(seed);
  std::uint32_t k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint32_t high0 = simt::multiply_high(0xD2511F53U, x0);
    const std::uint32_t high1 = simt::multiply_high(0xCD9E8D57U, x2);
    const std::uint32_t low0 = 0xD2511F53U * x0;
    const std::uint32_t low1 = 0xCD9E8D57U * x2;
    x0 = high1 ^ x1 ^ k0;
    x1 = low1;
    x2 = high0 ^ x3 ^ k1;
    x3 = low0;
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return {{x0, x1, x2, x3}};
}

SIMT_DEVICE float uniform_of(std::uint32_t draw) {
  return (static_cast<float>(draw >> 9) + 0.5F) * 0x1p-23F;
}
SIMT_DEVICE float gumbel_of(std::uint32_t draw) {
  return -simt::log(-simt::log(uniform_of(draw)));
}

SIMT_DEVICE Picked better(const Picked& a, const Picked& b) {
  if (b.token < 0) {
    return a;
  }
  const bool b_wins = a.token < 0 || b.score > a.score || (b.score == a.score && b.token < a.token);
  return b_wins ? b : a;
}

SIMT_DEVICE Picked best_of_lanes(Picked best) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const float score = simt::shuffle_xor(best.score, mask);
    const int token = simt::shuffle_xor(best.token, mask);
    best = better(best, {score, token});
  }
  return best;
}

}  // namespace SIMT_TARGET
}  // namespace sparkspan::kernels
