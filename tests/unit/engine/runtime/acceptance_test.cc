#include "engine/runtime/acceptance.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/gumbel.h"
#include "engine/base/hash.h"
#include "tests/chi_square.h"

namespace sparkspan::engine::runtime {
namespace {

constexpr std::size_t kVocabulary = 12;

// Logits that depend on the token before, so that a wrong predecessor shows.
std::vector<float> LogitsAfter(Token previous, std::uint64_t salt, float spread) {
  std::vector<float> logits(kVocabulary);
  for (std::size_t i = 0; i < kVocabulary; ++i) {
    const std::uint64_t bits =
        CombineHash(CombineHash(salt, static_cast<std::uint64_t>(previous)), i);
    logits[i] = spread * (static_cast<float>(bits >> 40) / static_cast<float>(1 << 24) - 0.5f);
  }
  return logits;
}

std::vector<float> TargetAfter(Token previous) {
  return LogitsAfter(previous, 1, 4.0f);
}

std::vector<float> DraftAfter(Token previous) {
  std::vector<float> logits = TargetAfter(previous);
  const std::vector<float> error = LogitsAfter(previous, 2, 3.0f);
  for (std::size_t i = 0; i < kVocabulary; ++i) {
    logits[i] += error[i];
  }
  return logits;
}

// What a drafter would hand over: a chain of two drafts and the logits they were drawn of.
struct DraftedBlock {
  std::vector<Token> tokens;
  std::vector<float> logits;
};

DraftedBlock DraftTwo(Token anchor,
                      std::int64_t position,
                      const SamplingParams& params,
                      RandomPurpose purpose) {
  DraftedBlock block;
  Token previous = anchor;
  for (int i = 0; i < 2; ++i) {
    const std::vector<float> logits = DraftAfter(previous);
    previous =
        ArgmaxWithNoise(logits, params.temperature, {params.seed, position + i, purpose}, 0).token;
    block.tokens.push_back(previous);
    block.logits.insert(block.logits.end(), logits.begin(), logits.end());
  }
  return block;
}

std::vector<float> VerifiedLogits(Token anchor, std::span<const Token> drafts) {
  std::vector<float> logits = TargetAfter(anchor);
  for (const Token draft : drafts) {
    const std::vector<float> row = TargetAfter(draft);
    logits.insert(logits.end(), row.begin(), row.end());
  }
  return logits;
}

using Judge = std::function<Verdict(const VerifiedRows&, const SamplingParams&)>;

// The first two tokens after `anchor`, as decoding with drafts gives them.
std::array<Token, 2> TwoTokens(const SamplingParams& params,
                               Token anchor,
                               std::int32_t verified,
                               const Judge& judge) {
  std::vector<Token> text;
  std::int64_t position = 10;
  const RandomPurpose purpose =
      IsRejectionSampled(params) ? RandomPurpose::kDraft : RandomPurpose::kSample;
  while (text.size() < 2) {
    DraftedBlock block = DraftTwo(anchor, position, params, purpose);
    block.tokens.resize(static_cast<std::size_t>(verified));
    const std::vector<float> logits = VerifiedLogits(anchor, block.tokens);
    const Verdict verdict = judge({.logits = logits,
                                   .drafts = block.tokens,
                                   .draft_logits = block.logits,
                                   .position = position,
                                   .generated = 1},
                                  params);
    for (const CommittedToken& token : verdict.tokens) {
      text.push_back(token.token);
    }
    position += static_cast<std::int64_t>(verdict.tokens.size());
    anchor = verdict.tokens.back().token;
  }
  return {text[0], text[1]};
}

// The joint distribution of two tokens after `anchor` under the parameters, by their definitions.
std::vector<double> JointDistribution(const SamplingParams& params, Token anchor) {
  Sampler sampler;
  std::vector<double> first;
  EXPECT_TRUE(sampler.Distribution(TargetAfter(anchor), params, &first).ok());
  std::vector<double> joint;
  for (std::size_t token = 0; token < kVocabulary; ++token) {
    std::vector<double> second;
    EXPECT_TRUE(sampler.Distribution(TargetAfter(static_cast<Token>(token)), params, &second).ok());
    for (const double probability : second) {
      joint.push_back(first[token] * probability);
    }
  }
  return joint;
}

// How far `draws` continuations lie from the joint distribution.
double Deviation(const SamplingParams& base, std::int32_t verified, int draws, const Judge& judge) {
  constexpr Token kAnchor = 3;
  const std::vector<double> joint = JointDistribution(base, kAnchor);
  std::vector<int> counts(joint.size(), 0);
  SamplingParams params = base;
  for (int i = 0; i < draws; ++i) {
    params.seed = static_cast<std::uint64_t>(i) * 7919 + 1;
    const auto [first, second] = TwoTokens(params, kAnchor, verified, judge);
    ++counts[static_cast<std::size_t>(first) * kVocabulary + static_cast<std::size_t>(second)];
  }
  return tests::ChiSquareDeviation<int>(counts, joint);
}

Judge Ours() {
  auto acceptance = std::make_shared<Acceptance>();
  return [acceptance](const VerifiedRows& rows, const SamplingParams& params) {
    return acceptance->Judge(rows, params, nullptr).value();
  };
}

SamplingParams At(float temperature) {
  SamplingParams params;
  params.temperature = temperature;
  return params;
}

struct Case {
  const char* name;
  SamplingParams params;
};

std::vector<Case> Cases() {
  std::vector<Case> cases = {{"plain", At(1.0f)},
                             {"hot", At(1.7f)},
                             {"top_p", At(0.8f)},
                             {"top_k", At(1.0f)},
                             {"min_p", At(1.2f)}};
  cases[2].params.top_p = 0.8f;
  cases[3].params.top_k = 4;
  cases[4].params.min_p = 0.15f;
  return cases;
}

TEST(Acceptance, RejectionKeepsTheJointDistributionOfTwoTokens) {
  for (const Case& tested : Cases()) {
    for (const std::int32_t verified : {0, 1, 2}) {
      const int draws = tested.params.temperature == 1.0f && verified == 2 ? 200'000 : 15'000;
      const double deviation = Deviation(tested.params, verified, draws, Ours());
      EXPECT_LT(deviation, 4) << tested.name << " verifying " << verified;
      RecordProperty(std::string(tested.name) + "_" + std::to_string(verified),
                     std::to_string(deviation));
    }
  }
}

// The control: drawing from p itself after a rejection is the classic mistake.
TEST(Acceptance, TheSameTestSeesAWrongResidual) {
  const Judge ours = Ours();
  const Judge wrong = [&](const VerifiedRows& rows, const SamplingParams& params) {
    Verdict verdict = ours(rows, params);
    const auto last = static_cast<std::size_t>(verdict.accepted);
    if (last < rows.drafts.size()) {
      const auto row = rows.logits.subspan(last * kVocabulary, kVocabulary);
      verdict.tokens.back().token =
          ArgmaxWithNoise(row,
                          params.temperature,
                          {params.seed, rows.position + verdict.accepted, RandomPurpose::kResidual},
                          0)
              .token;
    }
    return verdict;
  };
  const double deviation = Deviation(At(1), 2, 200'000, wrong);
  EXPECT_GT(deviation, 20);
  RecordProperty("deviation", std::to_string(deviation));
}

TEST(Acceptance, SharedNoiseGivesTheTextOfNoDrafts) {
  int accepted = 0;
  const Judge ours = Ours();
  for (Case tested : Cases()) {
    tested.params.acceptance = AcceptanceRule::kSharedNoise;
    for (std::uint64_t seed = 0; seed < 2000; ++seed) {
      tested.params.seed = seed;
      const auto plain = TwoTokens(tested.params, 5, 0, ours);
      EXPECT_EQ(TwoTokens(tested.params,
                          5,
                          2,
                          [&](const auto& rows, const auto& params) {
                            Verdict verdict = ours(rows, params);
                            accepted += verdict.accepted;
                            return verdict;
                          }),
                plain);
    }
  }
  EXPECT_GT(accepted, 2000) << "drafts must also be accepted";
}

TEST(Acceptance, GreedyTakesDraftsWhileTheyAreTheLargest) {
  const SamplingParams greedy = At(0);
  Acceptance acceptance;
  const auto best = [](Token previous) {
    return ArgmaxWithNoise(TargetAfter(previous), 0, {}, 0).token;
  };
  const std::vector<Token> right = {best(2), best(best(2)), best(best(best(2)))};
  for (std::size_t wrong_at = 0; wrong_at <= 3; ++wrong_at) {
    std::vector<Token> drafts = right;
    if (wrong_at < 3) {
      drafts[wrong_at] = (drafts[wrong_at] + 1) % static_cast<Token>(kVocabulary);
    }
    const std::vector<float> logits = VerifiedLogits(2, drafts);
    const auto verdict = acceptance.Judge(
        {.logits = logits, .drafts = drafts, .draft_logits = {}, .position = 7, .generated = 1},
        greedy,
        nullptr);
    ASSERT_TRUE(verdict.ok());
    EXPECT_EQ(verdict->accepted, static_cast<std::int32_t>(wrong_at));
    ASSERT_EQ(verdict->tokens.size(), wrong_at + 1);
    for (std::size_t i = 0; i < wrong_at; ++i) {
      EXPECT_EQ(verdict->tokens[i].token, right[i]);
    }
    EXPECT_EQ(verdict->tokens.back().token, wrong_at < 3 ? right[wrong_at] : best(right[2]));
  }
}

// Forced tokens come in their order, at once or after the first of their trigger, whatever the rows
// say and however drafts group them.
TEST(Acceptance, GivesForcedTokensInsteadOfChosenOnes) {
  for (const bool with_trigger : {false, true}) {
    for (const float temperature : {0.0f, 1.0f}) {
      SamplingParams params = At(temperature);
      params.top_logprobs = 0;
      params.forced.tokens = {7, 3, 5};
      Acceptance acceptance;
      ForcedProgress progress;
      std::int64_t generated = 0;
      const auto judge = [&](const std::vector<Token>& drafts, Token likeliest) {
        std::vector<float> logits((drafts.size() + 1) * kVocabulary, 0.0f);
        for (std::size_t row = 0; row <= drafts.size(); ++row) {
          logits[row * kVocabulary + static_cast<std::size_t>(likeliest)] = 50;
        }
        const Verdict verdict = acceptance
                                    .Judge({.logits = logits,
                                            .drafts = drafts,
                                            .draft_logits = logits,
                                            .position = 9 + generated,
                                            .generated = generated},
                                           params,
                                           nullptr,
                                           &progress)
                                    .value();
        std::vector<Token> tokens;
        for (const CommittedToken& token : verdict.tokens) {
          EXPECT_TRUE(token.logprob.has_value());
          tokens.push_back(token.token);
        }
        generated += static_cast<std::int64_t>(tokens.size());
        return tokens;
      };
      using Tokens = std::vector<Token>;
      if (with_trigger) {
        params.forced.after = 2;
        EXPECT_EQ(judge({}, 4), Tokens{4});
        EXPECT_EQ(judge({}, 2), Tokens{2});
      }
      EXPECT_EQ(judge({7, 9}, 1), (Tokens{7, 3}));  // the second draft is not what must come
      EXPECT_EQ(judge({5, 2}, 2), (Tokens{5, 2, 2}));
      EXPECT_EQ(judge({}, 1), Tokens{1});  // once only, the trigger's second time too
    }
  }
}

// What is not asked for by a log-probability must not hide that the row is broken.
TEST(Acceptance, RefusesLogProbabilitiesOfBrokenRows) {
  SamplingParams params = At(0);
  params.top_logprobs = 0;
  params.min_tokens = 1;
  params.suppressed_until_min_tokens = {3};
  std::vector<float> logits(kVocabulary, 0.0f);
  logits[3] = std::numeric_limits<float>::quiet_NaN();
  Acceptance acceptance;
  EXPECT_EQ(
      acceptance
          .Judge(
              {.logits = logits, .drafts = {}, .draft_logits = {}, .position = 1}, params, nullptr)
          .status()
          .code(),
      absl::StatusCode::kDataLoss);
}

// Row i is judged as the token after the drafts before it: penalties count them, min_tokens too.
TEST(Acceptance, ProcessesEachRowWithTheDraftsBeforeIt) {
  SamplingParams params = At(0);
  params.presence_penalty = 100;
  Acceptance acceptance;
  const std::vector<float> flat(3 * kVocabulary, 0.0f);
  std::vector<float> logits = flat;
  for (std::size_t row = 0; row < 3; ++row) {
    logits[row * kVocabulary + 4] = 3;  // chosen once, then penalised
    logits[row * kVocabulary + 6] = 2;
    logits[row * kVocabulary + 8] = 1;
  }
  TokenHistory history;
  history.Append(1, /*generated=*/false);
  history.Append(2, /*generated=*/true);
  const std::vector<Token> drafts = {4, 6};
  const auto verdict = acceptance.Judge(
      {.logits = logits, .drafts = drafts, .draft_logits = {}, .position = 2, .generated = 1},
      params,
      &history);
  ASSERT_TRUE(verdict.ok());
  EXPECT_EQ(verdict->accepted, 2);
  EXPECT_EQ(verdict->tokens[2].token, 8);
  EXPECT_EQ(history.size(), 5);

  SamplingParams minimum = At(0);
  minimum.min_tokens = 3;
  minimum.suppressed_until_min_tokens = {4};
  const auto suppressed = acceptance.Judge(
      {.logits = logits, .drafts = drafts, .draft_logits = {}, .position = 2, .generated = 1},
      minimum,
      nullptr);
  EXPECT_EQ(suppressed->accepted, 0);
  EXPECT_EQ(suppressed->tokens[0].token, 6);
  const std::vector<Token> allowed = {6, 6};
  const auto lifted = acceptance.Judge(
      {.logits = logits, .drafts = allowed, .draft_logits = {}, .position = 2, .generated = 1},
      minimum,
      nullptr);
  EXPECT_EQ(lifted->accepted, 2);
  EXPECT_EQ(lifted->tokens[2].token, 4) << "the third row is the token after two generated";
}

}  // namespace
}  // namespace sparkspan::engine::runtime
