#include "engine/base/gumbel.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace sparkspan::engine {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// Logits whose largest is looked at before any of them is drawn: where a few tokens stand out, most
// blocks need no draw.
constexpr std::size_t kBlock = 256;

// Above the noise of the last cell, -log(-log(1 - 2^-24)) = 16.6355..., as it is rounded.
constexpr double kNoiseMax = 16.7;

// Covers the rounding of a noise's two logarithms many times over.
constexpr double kNoiseRounding = 1e-3;

// Covers that of a score, relative to it: half a unit in the last place is 2^-24.
constexpr double kScoreRounding = 0x1p-22;

double SlackOf(float score) {
  return kNoiseRounding + kScoreRounding * std::abs(static_cast<double>(score));
}

float NoiseOfCell(std::uint32_t cell) {
  return -std::log(-std::log(MiddleOfCell(cell)));
}

// The cells of tokens, four of which come at once: cheap for neighbours.
class Cells {
 public:
  explicit Cells(const NoiseKey& key) : key_(key) {}

  std::uint32_t Of(Token token) {
    const auto id = static_cast<std::uint32_t>(token);
    if (id / 4 != group_) {
      group_ = id / 4;
      cells_ =
          UniformCells(key_.seed, static_cast<std::uint64_t>(key_.position), key_.purpose, group_);
    }
    return cells_[id % 4];
  }

 private:
  const NoiseKey key_;
  std::uint32_t group_ = ~std::uint32_t{0};  // none: ids are not negative
  std::array<std::uint32_t, 4> cells_{};
};

// Of at least one logit; minus infinity where all are.
float LargestOf(std::span<const float> logits) {
  std::array<float, 8> largest;  // independent, so that no comparison waits for the one before
  largest.fill(kForbidden);
  std::size_t i = 0;
  for (; i + largest.size() <= logits.size(); i += largest.size()) {
    for (std::size_t lane = 0; lane < largest.size(); ++lane) {
      largest[lane] = std::max(largest[lane], logits[i + lane]);
    }
  }
  for (; i < logits.size(); ++i) {
    largest[0] = std::max(largest[0], logits[i]);
  }
  return *std::max_element(largest.begin(), largest.end());
}

// Draws in cells below this give a token whose logit / temperature is at most `scaled` a score
// below `best`, whatever is rounded on the way; kUniformCells where every draw does.
std::uint32_t FirstCellToReach(float best, float scaled) {
  const double noise = static_cast<double>(best) - static_cast<double>(scaled) - SlackOf(best);
  if (!(noise > -4.0)) {
    return 0;  // exp(-exp(4)) is 2e-24: every cell. And so where infinities have met.
  }
  // The noise exceeds x where the uniform, (cell + 1/2) / cells, exceeds exp(-exp(-x)).
  const double cell = std::ceil(std::exp(-std::exp(-noise)) * kUniformCells - 0.5);
  return static_cast<std::uint32_t>(std::max(cell, 0.0));
}

// No draw lifts a logit below this to a score of `best`. NaN, which nothing is below, where
// infinities have met.
float FirstLogitToReach(float best, float temperature) {
  const double scaled = static_cast<double>(best) - kNoiseMax - SlackOf(best);
  const double lowest = std::numeric_limits<float>::lowest();
  return static_cast<float>(std::max(scaled * static_cast<double>(temperature), lowest));
}

NoisyMaximum Largest(std::span<const float> logits, Token first_token) {
  const float largest = LargestOf(logits);
  if (largest == kForbidden) {
    return {};
  }
  const auto at = std::find(logits.begin(), logits.end(), largest) - logits.begin();
  return {first_token + static_cast<Token>(at), largest};
}

}  // namespace

float GumbelNoise(const NoiseKey& key, Token token) {
  return NoiseOfCell(Cells(key).Of(token));
}

bool NoisyMaximum::IsBelow(const NoisyMaximum& other) const {
  if (token < 0 || other.token < 0) {
    return other.token >= 0;
  }
  return score < other.score || (score == other.score && other.token < token);
}

NoisyMaximum ArgmaxWithNoise(std::span<const float> logits,
                             float temperature,
                             const NoiseKey& key,
                             Token first_token) {
  NoisyMaximum best = logits.empty() ? NoisyMaximum{} : Largest(logits, first_token);
  if (temperature == 0.0f || best.token < 0) {
    return best;
  }
  // The likeliest token first: most others need a luck that they do not have.
  Cells cells(key);
  best.score = best.score / temperature + NoiseOfCell(cells.Of(best.token));
  for (std::size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const auto block = logits.subspan(begin, std::min(kBlock, logits.size() - begin));
    const float largest = LargestOf(block) / temperature;
    std::uint32_t cell_min = FirstCellToReach(best.score, largest);
    if (cell_min >= kUniformCells) {
      continue;
    }
    float logit_min = FirstLogitToReach(best.score, temperature);
    const Token first = first_token + static_cast<Token>(begin);
    for (std::size_t i = 0; i < block.size(); ++i) {
      if (block[i] < logit_min || block[i] == kForbidden) {
        continue;
      }
      const Token token = first + static_cast<Token>(i);
      const std::uint32_t cell = cells.Of(token);
      if (cell < cell_min) {
        continue;
      }
      const NoisyMaximum candidate{token, block[i] / temperature + NoiseOfCell(cell)};
      if (best.IsBelow(candidate)) {
        best = candidate;
        cell_min = FirstCellToReach(best.score, largest);
        logit_min = FirstLogitToReach(best.score, temperature);
      }
    }
  }
  return best;
}

}  // namespace sparkspan::engine
