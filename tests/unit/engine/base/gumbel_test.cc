#include "engine/base/gumbel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <random>
#include <set>
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
  std::printf("chi-square %.1f of 18.5\n", chi_square);
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

// Noise for every token, none left out.
NoisyMaximum ArgmaxByDefinition(std::span<const float> logits,
                                float temperature,
                                const NoiseKey& key,
                                Token first_token) {
  NoisyMaximum best;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const Token token = first_token + static_cast<Token>(i);
    if (logits[i] != kForbidden) {
      const float score =
          temperature == 0 ? logits[i] : logits[i] / temperature + GumbelNoise(key, token);
      if (best.token < 0 || score > best.score) {
        best = {token, score};
      }
    }
  }
  return best;
}

struct Shape {
  const char* name;
  std::function<float(std::mt19937&)> logit;
};

const std::vector<Shape> kShapes = {
    {"flat", [](std::mt19937&) { return 0.25f; }},
    {"nearly flat", [](auto& random) { return std::normal_distribution<float>(0, 0.02f)(random); }},
    {"spread", [](auto& random) { return std::normal_distribution<float>(0, 3)(random); }},
    {"peaked", [](auto& random) { return random() % 500 == 0 ? 12.0f : -8.0f; }},
    {"ties", [](auto& random) { return static_cast<float>(random() % 3); }},
    {"some allowed", [](auto& random) { return random() % 50 == 0 ? 1.0f : kForbidden; }},
    {"nothing allowed", [](auto&) { return kForbidden; }},
    // So far apart that only rare luck lifts the others.
    {"few ahead", [](auto& random) { return random() % 2000 == 0 ? 0.0f : -9.0f; }},
    // Noise is rounded to a few values, so many scores are equal; and of the last, different logits
    // are equal once they are divided.
    {"large", [](auto& random) { return 1e7f + static_cast<float>(random() % 3); }},
    {"large negative", [](auto& random) { return -3e6f + static_cast<float>(random() % 5); }},
    {"rounded", [](auto& random) { return 1.6e7f + static_cast<float>(random() % 3); }},
    {"beyond floats", [](auto& random) { return random() % 2 == 0 ? 3e38f : -3e38f; }},
};

TEST(Gumbel, SkipsNoTokenThatCouldWin) {
  std::mt19937 random(8);
  std::set<Token> tokens;
  for (const Shape& shape : kShapes) {
    for (const std::size_t size : {1u, 2u, 7u, 8u, 255u, 256u, 257u, 1000u, 5000u}) {
      for (const float temperature : {0.0f, 1e-5f, 0.01f, 0.5f, 0.9f, 1.0f, 2.0f}) {
        for (int draw = 0; draw < 8; ++draw) {
          std::vector<float> logits(size);
          std::generate(logits.begin(), logits.end(), [&] { return shape.logit(random); });
          const NoiseKey key = {.seed = random(),
                                .position = static_cast<std::int64_t>(random()),
                                .purpose = static_cast<RandomPurpose>(random() % 4)};
          const auto first = static_cast<Token>(random() % 3 * 40000);
          const NoisyMaximum expected = ArgmaxByDefinition(logits, temperature, key, first);
          const NoisyMaximum best = ArgmaxWithNoise(logits, temperature, key, first);
          ASSERT_EQ(best.token, expected.token) << shape.name << size << " " << temperature;
          ASSERT_EQ(best.score, expected.score) << shape.name << size << " " << temperature;
          tokens.insert(best.token);
        }
      }
    }
  }
  EXPECT_GT(tokens.size(), 1000u);
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
