#include "engine/base/gumbel.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace sparkspan::engine {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

TEST(Gumbel, DrawsTheSoftmax) {
  const std::vector<float> logits = {0.3f, -1.0f, 2.0f, kForbidden, 0.0f, 1.1f};
  constexpr float kTemperature = 0.7f;
  constexpr int kDraws = 60000;
  std::array<int, 6> counts{};
  for (int i = 0; i < kDraws; ++i) {
    const NoiseKey key{.seed = 5, .position = i, .purpose = RandomPurpose::kDraft};
    ++counts[static_cast<std::size_t>(ArgmaxWithNoise(logits, kTemperature, key, 0).token)];
  }
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit / kTemperature));
  }
  double chi_square = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double expected = kDraws * std::exp(static_cast<double>(logits[i] / kTemperature)) / sum;
    if (expected == 0) {
      EXPECT_EQ(counts[i], 0);
      continue;
    }
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(chi_square, 18.5) << "four degrees of freedom, p = 0.001";
  RecordProperty("chi_square", std::to_string(chi_square));
}

TEST(Gumbel, ShardsAgreeWithTheWhole) {
  std::vector<float> logits(1000);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    logits[i] = std::sin(static_cast<float>(i)) * 2;
  }
  const std::span<const float> whole = logits;
  for (int position = 0; position < 200; ++position) {
    const NoiseKey key{.seed = 9, .position = position, .purpose = RandomPurpose::kSample};
    for (const float temperature : {0.0f, 0.4f, 1.0f}) {
      const NoisyMaximum all = ArgmaxWithNoise(whole, temperature, key, 0);
      NoisyMaximum best;
      for (const auto& [first, count] : {std::pair{0, 333}, {333, 1}, {334, 666}}) {
        const NoisyMaximum part = ArgmaxWithNoise(
            whole.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)),
            temperature,
            key,
            first);
        best = best.IsBelow(part) ? part : best;
      }
      EXPECT_EQ(best.token, all.token);
      EXPECT_EQ(best.score, all.score);
    }
  }
}

TEST(Gumbel, TakesTheLowestIdOfEquals) {
  const std::vector<float> logits = {kForbidden, 2.0f, 1.0f, 2.0f};
  EXPECT_EQ(ArgmaxWithNoise(logits, 0, {}, 10).token, 11);
  const std::vector<float> nothing(3, kForbidden);
  EXPECT_EQ(ArgmaxWithNoise(nothing, 0, {}, 0).token, -1);
  EXPECT_EQ(ArgmaxWithNoise(nothing, 1, {}, 0).token, -1);
}

}  // namespace
}  // namespace sparkspan::engine
