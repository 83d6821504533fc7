#include "engine/runtime/logit_processor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

namespace sparkspan::engine::runtime {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();
constexpr float kFloatMax = std::numeric_limits<float>::max();

TokenHistory HistoryOf(const std::vector<Token>& prompt, const std::vector<Token>& generated) {
  TokenHistory history;
  for (const Token token : prompt) {
    history.Append(token, false);
  }
  for (const Token token : generated) {
    history.Append(token, true);
  }
  return history;
}

std::vector<float> Process(const std::vector<float>& logits,
                           const SamplingParams& params,
                           const TokenHistory& history = {},
                           std::int64_t generated = 0) {
  LogitProcessor processor;
  const auto processed = processor.Process(logits, params, history, generated);
  return {processed.begin(), processed.end()};
}

TEST(LogitProcessor, ForbidsAllButAllowedTokens) {
  SamplingParams params;
  params.allowed_tokens = {0, 2};
  params.logit_bias = {{2, 1.0f}, {3, 9.0f}};
  EXPECT_EQ(Process({1, 2, 3, 4}, params), (std::vector<float>{1, kForbidden, 4, kForbidden}));
  params.min_tokens = 1;
  params.suppressed_until_min_tokens = {0};
  EXPECT_EQ(Process({1, 2, 3, 4}, params),
            (std::vector<float>{kForbidden, kForbidden, 4, kForbidden}));
}

TEST(LogitProcessor, HandsBackTheRowWhereNothingApplies) {
  const std::vector<float> logits = {1, 2, 3};
  LogitProcessor processor;
  SamplingParams params;
  params.min_tokens = 4;
  const TokenHistory history = HistoryOf({0}, {1});
  EXPECT_EQ(processor.Process(logits, params, history, 0).data(), logits.data());
  params.suppressed_until_min_tokens = {1};
  EXPECT_EQ(processor.Process(logits, params, history, 4).data(), logits.data());
  EXPECT_NE(processor.Process(logits, params, history, 3).data(), logits.data());
  params.repetition_penalty = 2;
  EXPECT_EQ(processor.Process(logits, params, {}, 4).data(), logits.data());
  EXPECT_NE(processor.Process(logits, params, history, 4).data(), logits.data());
  EXPECT_EQ(logits, (std::vector<float>{1, 2, 3}));
}

TEST(LogitProcessor, ForbidsTokensUntilEnoughAreGenerated) {
  SamplingParams params;
  params.min_tokens = 2;
  params.suppressed_until_min_tokens = {2, 0};
  const std::vector<float> logits = {1, 2, 3};
  EXPECT_EQ(Process(logits, params, {}, 1), (std::vector<float>{kForbidden, 2, kForbidden}));
  EXPECT_EQ(Process(logits, params, {}, 2), logits);
  // A bias does not bring back what is forbidden.
  params.logit_bias = {{2, 100}};
  EXPECT_EQ(Process(logits, params, {}, 1), (std::vector<float>{kForbidden, 2, kForbidden}));
}

// vLLM's apply_penalties over dense counts, the whole row at once.
std::vector<double> ByDefinition(const std::vector<float>& logits,
                                 const SamplingParams& params,
                                 const std::vector<Token>& prompt,
                                 const std::vector<Token>& generated) {
  std::vector<double> row(logits.begin(), logits.end());
  for (const LogitBias& bias : params.logit_bias) {
    row[static_cast<std::size_t>(bias.token)] += bias.bias;
  }
  std::vector<int> prompt_counts(row.size());
  std::vector<int> output_counts(row.size());
  for (const Token token : prompt) {
    ++prompt_counts[static_cast<std::size_t>(token)];
  }
  for (const Token token : generated) {
    ++output_counts[static_cast<std::size_t>(token)];
  }
  for (std::size_t i = 0; i < row.size(); ++i) {
    const bool seen = prompt_counts[i] > 0 || output_counts[i] > 0;
    const double repetition = seen ? params.repetition_penalty : 1.0f;
    row[i] = row[i] > 0 ? row[i] / repetition : row[i] * repetition;
    row[i] -= double{params.frequency_penalty} * output_counts[i];
    row[i] -= output_counts[i] > 0 ? params.presence_penalty : 0.0f;
  }
  return row;
}

TEST(LogitProcessor, PenalisesAsVllmDoes) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 5);
  std::uniform_real_distribution<float> uniform(-2, 2);
  LogitProcessor processor;
  double largest_difference = 0;
  for (int run = 0; run < 300; ++run) {
    const std::size_t vocabulary = 2 + random() % 60;
    const auto any = [&] { return static_cast<Token>(random() % vocabulary); };
    std::vector<float> logits(vocabulary);
    for (float& logit : logits) {
      logit = normal(random);
    }
    std::vector<Token> prompt(random() % 30);
    std::vector<Token> generated(random() % 30);
    for (Token& token : prompt) {
      token = any();
    }
    for (Token& token : generated) {
      token = any();
    }
    SamplingParams params;
    params.repetition_penalty = run % 2 == 0 ? 1.0f : 1 + uniform(random) / 3;
    params.frequency_penalty = run % 3 == 0 ? 0.0f : uniform(random);
    params.presence_penalty = run % 5 == 0 ? 0.0f : uniform(random);
    params.logit_bias = {{any(), 10 * uniform(random)}};
    const TokenHistory history = HistoryOf(prompt, generated);
    const auto processed = processor.Process(logits, params, history, 0);
    const std::vector<double> expected = ByDefinition(logits, params, prompt, generated);
    ASSERT_EQ(processed.size(), vocabulary);
    for (std::size_t i = 0; i < vocabulary; ++i) {
      const double difference = std::abs(processed[i] - expected[i]);
      largest_difference = std::max(largest_difference, difference);
      ASSERT_LT(difference, 1e-5) << "run " << run << ", token " << i;
    }
  }
  std::printf("processed logits differ by at most %.1e of 1e-5\n", largest_difference);
}

// A verified row sees the drafts before it, and no others.
TEST(LogitProcessor, SeesDraftsWhileTheyStandInTheHistory) {
  SamplingParams params;
  params.repetition_penalty = 2;
  params.presence_penalty = 1;
  params.frequency_penalty = 0.5f;
  const std::vector<float> logits = {4, 4, -4, 4};
  TokenHistory history = HistoryOf({0}, {3});
  const std::vector<float> before = {2, 4, -4, 0.5f};
  EXPECT_EQ(Process(logits, params, history), before);
  history.Append(2, true);
  history.Append(3, true);
  EXPECT_EQ(Process(logits, params, history), (std::vector<float>{2, 4, -9.5f, 0}));
  history.Truncate(2);
  EXPECT_EQ(Process(logits, params, history), before);
}

TEST(LogitProcessor, KeepsFiniteLogitsFiniteAndForbiddenOnesForbidden) {
  SamplingParams params;
  params.logit_bias = {{0, kFloatMax}, {1, kForbidden}};
  params.repetition_penalty = std::numeric_limits<float>::denorm_min();
  params.frequency_penalty = -kFloatMax;
  params.presence_penalty = -kFloatMax;
  const std::vector<float> logits = {kFloatMax, 1, 1, kForbidden};
  const TokenHistory history = HistoryOf({}, {0, 1, 2, 3});
  EXPECT_EQ(Process(logits, params, history),
            (std::vector<float>{kFloatMax, kForbidden, kFloatMax, kForbidden}));
  params.repetition_penalty = params.frequency_penalty = params.presence_penalty = kFloatMax;
  EXPECT_EQ(Process({-1, 1, 1, kForbidden}, params, history),
            (std::vector<float>{-kFloatMax, kForbidden, -kFloatMax, kForbidden}));
  // What is no number is left to be found by whoever chooses.
  EXPECT_TRUE(std::isnan(Process({NAN, 1, 1, 1}, params, history)[0]));
}

}  // namespace
}  // namespace sparkspan::engine::runtime
