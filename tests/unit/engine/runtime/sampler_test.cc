#include "engine/runtime/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <set>

#include "engine/base/random.h"
#include "kernels/sampling/sampling.h"
#include "kernels/simt/emulator.h"
#include "tests/chi_square.h"

namespace sparkspan::engine::runtime {
namespace {

using ::testing::HasSubstr;

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

std::vector<float> RandomLogits(std::size_t vocabulary, std::uint32_t seed, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(vocabulary);
  std::generate(logits.begin(), logits.end(), [&] { return normal(random); });
  return logits;
}

Token Pick(std::span<const float> logits, const SamplingParams& params, std::int64_t position) {
  Sampler sampler;
  return sampler.Sample(logits, logits, params, position)->token;
}

// ---- Distributions. ----

// The probability of every token by the definitions, without shared code: tokens are put away one
// filter after the other, probabilities in long double, no partial sorts.
class Reference {
 public:
  Reference(std::span<const float> logits, long double temperature)
      : weights_(logits.size()), order_(logits.size()) {
    for (std::size_t i = 0; i < logits.size(); ++i) {
      weights_[i] = std::exp(static_cast<long double>(logits[i]) / temperature);
    }
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) {
      return weights_[a] > weights_[b];
    });
  }

  Reference& MinP(long double min_p) {
    const long double largest = *std::max_element(weights_.begin(), weights_.end());
    for (long double& weight : weights_) {
      weight = weight >= min_p * largest ? weight : 0;
    }
    return *this;
  }
  Reference& TopK(std::size_t k) {
    for (std::size_t i = k; i < order_.size(); ++i) {
      weights_[order_[i]] = 0;
    }
    return *this;
  }
  Reference& TopP(long double p) {
    const long double whole = Sum();
    long double before = 0;
    for (const std::size_t token : order_) {
      const long double weight = weights_[token];
      weights_[token] = before < p * whole ? weight : 0;
      before += weight;
    }
    return *this;
  }
  std::vector<double> Probabilities() const {
    std::vector<double> probabilities;
    for (const long double weight : weights_) {
      probabilities.push_back(static_cast<double>(weight / Sum()));
    }
    return probabilities;
  }

 private:
  long double Sum() const { return std::accumulate(weights_.begin(), weights_.end(), 0.0L); }

  std::vector<long double> weights_;
  std::vector<std::size_t> order_;
};

constexpr std::size_t kVocabulary = 40;
constexpr std::int64_t kDraws = 200000;

// Half of the draws over positions of one seed, half over seeds of one position.
std::vector<std::int64_t> Draw(std::span<const float> logits, SamplingParams params) {
  Sampler sampler;
  std::vector<std::int64_t> counts(logits.size());
  for (std::int64_t i = 0; i < kDraws; ++i) {
    const bool by_position = i % 2 == 0;
    params.seed = by_position ? 12345 : static_cast<std::uint64_t>(i);
    const auto token = sampler.Sample(logits, logits, params, by_position ? i : 77);
    ++counts[static_cast<std::size_t>(token->token)];
  }
  return counts;
}

double Deviation(const std::vector<std::int64_t>& counts,
                 const std::vector<double>& probabilities) {
  return tests::ChiSquareDeviation<std::int64_t>(counts, probabilities);
}

struct Knob {
  const char* name;
  SamplingParams params;
  std::vector<double> right;
  std::vector<double> wrong;  // what a likely mistake would give
};

std::vector<Knob> Knobs(std::span<const float> logits) {
  const auto at = [&](long double temperature) { return Reference(logits, temperature); };
  std::vector<Knob> knobs;
  const auto add = [&](const char* name, Reference right, Reference wrong) -> SamplingParams& {
    knobs.push_back({name, {}, right.Probabilities(), wrong.Probabilities()});
    return knobs.back().params;
  };
  add("softmax", at(1), at(1.02L));
  add("temperature 0.7", at(0.7L), at(1 / 0.7L)).temperature = 0.7f;
  add("temperature 1.6", at(1.6L), at(1)).temperature = 1.6f;
  add("top_k 5", at(1).TopK(5), at(1).TopK(6)).top_k = 5;
  // The token that crosses the threshold stays.
  add("top_p 0.9", at(1).TopP(0.9L), at(1).TopP(0.8L)).top_p = 0.9f;
  add("min_p 0.02", at(1).MinP(0.02L), at(1).MinP(0.04L)).min_p = 0.02f;
  // top_p counts what top_k left, renormalised; top_p first would keep more.
  SamplingParams& k_then_p =
      add("top_k 12, top_p 0.9", at(1).TopK(12).TopP(0.9L), at(1).TopP(0.9L).TopK(12));
  k_then_p.top_k = 12;
  k_then_p.top_p = 0.9f;
  SamplingParams& min_then_p =
      add("min_p 0.3, top_p 0.6", at(1).MinP(0.3L).TopP(0.6L), at(1).TopP(0.6L).MinP(0.3L));
  min_then_p.min_p = 0.3f;
  min_then_p.top_p = 0.6f;
  // Filters see the distribution after temperature.
  SamplingParams& heated = add("temperature 2, top_p 0.5", at(2).TopP(0.5L), at(1).TopP(0.5L));
  heated.temperature = 2;
  heated.top_p = 0.5f;
  return knobs;
}

TEST(Sampler, DrawsFromTheDistributionOfEveryKnob) {
  const std::vector<float> logits = RandomLogits(kVocabulary, 5, 1.5f);
  Sampler sampler;
  std::vector<double> distribution;
  for (const Knob& knob : Knobs(logits)) {
    const std::vector<std::int64_t> counts = Draw(logits, knob.params);
    const double right = Deviation(counts, knob.right);
    const double wrong = Deviation(counts, knob.wrong);
    ASSERT_TRUE(sampler.Distribution(logits, knob.params, &distribution).ok());
    const double said = Deviation(counts, distribution);
    // One in 30,000 correct samplers would lie beyond 4.
    EXPECT_LT(right, 4) << knob.name;
    EXPECT_LT(said, 4) << knob.name;
    EXPECT_GT(wrong, 6) << knob.name << ": a mistake would pass";
    std::printf("%-26s %6.2f sigma, of Distribution() %6.2f, a likely mistake %9.2f\n",
                knob.name,
                right,
                said,
                wrong);
  }
}

TEST(Sampler, DistributionIsThatOfTheDefinitions) {
  Sampler sampler;
  std::vector<double> distribution;
  double largest_difference = 0;
  for (const std::size_t vocabulary : {std::size_t{2}, kVocabulary, std::size_t{5000}}) {
    std::vector<float> logits = RandomLogits(vocabulary, 11, 2);
    logits[vocabulary / 2] = kForbidden;
    for (const Knob& knob : Knobs(logits)) {
      ASSERT_TRUE(sampler.Distribution(logits, knob.params, &distribution).ok());
      ASSERT_EQ(distribution.size(), vocabulary);
      double sum = 0;
      for (std::size_t i = 0; i < vocabulary; ++i) {
        EXPECT_EQ(distribution[i] == 0, knob.right[i] == 0) << knob.name << ", token " << i;
        largest_difference =
            std::max(largest_difference, std::abs(distribution[i] - knob.right[i]));
        sum += distribution[i];
      }
      EXPECT_NEAR(sum, 1, 1e-12) << knob.name;
    }
  }
  // The temperature is a float, that of the definitions a long double.
  EXPECT_LT(largest_difference, 1e-7);
  std::printf("probabilities differ by at most %.1e of 1e-7\n", largest_difference);
}

TEST(Sampler, GreedyDistributionIsOneToken) {
  Sampler sampler;
  SamplingParams params;
  params.temperature = 0;
  std::vector<double> distribution;
  ASSERT_TRUE(sampler.Distribution(std::vector<float>{1, 3, 3}, params, &distribution).ok());
  EXPECT_EQ(distribution, (std::vector<double>{0, 1, 0}));
}

// ---- Single choices. ----

TEST(Sampler, GreedyTakesTheLargestAndTheLowestIdOfEquals) {
  SamplingParams params;
  for (const float temperature : {0.0f, 9e-6f}) {
    params.temperature = temperature;
    EXPECT_EQ(Pick(std::vector<float>{1, 3, 2, 3}, params, 0), 1);
    EXPECT_EQ(Pick(std::vector<float>{-3, -3}, params, 0), 0);
    EXPECT_EQ(Pick(std::vector<float>{kForbidden, -3}, params, 0), 1);
  }
}

TEST(Sampler, TopKKeepsTheLowestIdsOfEquals) {
  SamplingParams params;
  params.top_k = 2;
  std::set<Token> seen;
  for (std::int64_t position = 0; position < 200; ++position) {
    seen.insert(Pick(std::vector<float>{1, 2, 1, 1, 1}, params, position));
  }
  EXPECT_EQ(seen, (std::set<Token>{0, 1}));
}

TEST(Sampler, TinyTopPIsGreedy) {
  const std::vector<float> logits = RandomLogits(500, 3, 1);
  const auto largest = std::max_element(logits.begin(), logits.end()) - logits.begin();
  SamplingParams params;
  params.top_p = 1e-6f;
  for (std::int64_t position = 0; position < 50; ++position) {
    EXPECT_EQ(Pick(logits, params, position), largest);
  }
}

// Noise for every token, none left out.
Token PickByDefinition(std::span<const float> logits,
                       const SamplingParams& params,
                       std::int64_t position) {
  Token best = -1;
  float largest = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float uniform = UniformFloat(params.seed,
                                       static_cast<std::uint64_t>(position),
                                       RandomPurpose::kSample,
                                       static_cast<std::uint32_t>(i));
    const float score = logits[i] / params.temperature - std::log(-std::log(uniform));
    if (best < 0 || score > largest) {
      best = static_cast<Token>(i);
      largest = score;
    }
  }
  return best;
}

TEST(Sampler, LeavesNoNoiseOutThatCouldWin) {
  std::set<Token> tokens;
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    const std::vector<float> logits =
        RandomLogits(3000, seed, 0.5f + 0.2f * static_cast<float>(seed));
    SamplingParams params;
    params.seed = seed * 0x9E3779B97F4A7C15ULL;
    params.temperature = 0.3f + 0.05f * static_cast<float>(seed);
    const std::int64_t position = (std::int64_t{1} << 33) + seed;
    const Token token = Pick(logits, params, position);
    EXPECT_EQ(token, PickByDefinition(logits, params, position)) << seed;
    tokens.insert(token);
  }
  EXPECT_GT(tokens.size(), 20u);
}

TEST(Sampler, PicksWhatTheDevicePicks) {
  constexpr int kRows = 12;
  constexpr std::size_t kTokens = 5000;
  std::vector<float> logits;
  std::vector<kernels::PickRow> settings;
  std::vector<Token> picked;
  for (int row = 0; row < kRows; ++row) {
    const auto seed = static_cast<std::uint32_t>(row);
    const std::vector<float> values = RandomLogits(kTokens, 50 + seed, 2);
    SamplingParams params;
    params.temperature = row % 4 == 0 ? 0.0f : 0.4f * static_cast<float>(row % 4);
    params.seed = 0xABCDEF0123456789ULL + seed;
    const std::int64_t position = 1000000 * row;
    picked.push_back(Pick(values, params, position));
    logits.insert(logits.end(), values.begin(), values.end());
    settings.push_back({params.temperature,
                        static_cast<std::uint32_t>(RandomPurpose::kSample),
                        params.seed,
                        static_cast<std::uint64_t>(position)});
  }
  std::vector<kernels::Picked> partial(kRows * kernels::PickBlocks(kTokens));
  std::vector<kernels::Picked> device(kRows);
  kernels::emulator::Emulation emulation;
  kernels::EmulatePick({{logits.data(), nullptr, nullptr, kTokens, 0},
                        settings.data(),
                        kRows,
                        partial.data(),
                        device.data()});
  for (int row = 0; row < kRows; ++row) {
    EXPECT_EQ(picked[static_cast<std::size_t>(row)], device[static_cast<std::size_t>(row)].token)
        << row;
  }
}

TEST(Sampler, RefusesARowThatForbidsEveryToken) {
  Sampler sampler;
  const std::vector<float> scores(3, kForbidden);
  const auto chosen = sampler.Sample(scores, std::vector<float>{1, 2, 3}, {}, 9);
  EXPECT_EQ(chosen.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(chosen.status().message()), HasSubstr("forbid all 3 tokens"));
  std::vector<double> distribution;
  EXPECT_EQ(sampler.Distribution(scores, {}, &distribution), chosen.status());
}

TEST(Sampler, LogprobsAreThoseOfTheRawLogits) {
  std::vector<float> logits = RandomLogits(1000, 9, 4);
  logits[17] = logits[500] = 20;  // a tie at the top
  SamplingParams params;
  params.temperature = 0.5f;
  params.top_k = 3;
  params.top_logprobs = 5;
  Sampler sampler;
  const CommittedToken chosen = *sampler.Sample(logits, logits, params, 3);
  long double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<long double>(logit));
  }
  const auto expected = [&](Token token) {
    return static_cast<float>(static_cast<long double>(logits[static_cast<std::size_t>(token)]) -
                              std::log(sum));
  };
  EXPECT_FLOAT_EQ(*chosen.logprob, expected(chosen.token));
  ASSERT_EQ(chosen.top.size(), 5u);
  EXPECT_EQ(chosen.top[0].token, 17);
  EXPECT_EQ(chosen.top[1].token, 500);
  std::vector<float> sorted = logits;
  std::sort(sorted.rbegin(), sorted.rend());
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(logits[static_cast<std::size_t>(chosen.top[i].token)], sorted[i]);
    EXPECT_FLOAT_EQ(chosen.top[i].logprob, expected(chosen.top[i].token));
  }
  params.top_logprobs = 0;
  EXPECT_TRUE(sampler.Sample(logits, logits, params, 3)->top.empty());
  params.top_logprobs = 128;
  const std::vector<float> two = {1, 2};
  EXPECT_EQ(sampler.Sample(two, two, params, 3)->top.size(), 2u);
  params.top_logprobs = -1;
  EXPECT_FALSE(sampler.Sample(logits, logits, params, 3)->logprob.has_value());
  // Whatever a processor made of the row.
  params.top_logprobs = 1;
  std::vector<float> scores = logits;
  scores[17] = kForbidden;
  EXPECT_EQ(sampler.Sample(scores, logits, params, 3)->top,
            std::vector<TokenLogprob>{chosen.top[0]});
}

TEST(Sampler, LargeLogitsDoNotOverflow) {
  SamplingParams params;
  params.top_logprobs = 1;
  params.top_p = 0.9f;
  Sampler sampler;
  const std::vector<float> logits = {3e38f, -3e38f, 1};
  const auto chosen = sampler.Sample(logits, logits, params, 0);
  EXPECT_EQ(chosen->token, 0);
  EXPECT_EQ(*chosen->logprob, 0.0f);
}

TEST(Sampler, RefusesLogitsThatAreNotNumbers) {
  Sampler sampler;
  const float bad[] = {std::numeric_limits<float>::quiet_NaN(),
                       std::numeric_limits<float>::infinity()};
  for (const float value : bad) {
    const std::vector<float> logits = {1, 2, value};
    const auto chosen = sampler.Sample(logits, logits, {}, 0);
    EXPECT_EQ(chosen.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(chosen.status().message()), HasSubstr("logit of token 2"));
  }
}

}  // namespace
}  // namespace sparkspan::engine::runtime
