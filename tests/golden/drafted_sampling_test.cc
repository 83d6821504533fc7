// Sampled text, served with the demo's drafter, has the distribution of the model alone:
// continuations against probabilities computed token by token. SPARKSPAN_SAMPLED_TEXTS says how
// many (4,000; the soak tier of tests/run.sh takes 20,000).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "engine/cache/kv_pool.h"
#include "engine/runtime/sampler.h"
#include "tests/chi_square.h"
#include "tests/unit/engine/runtime/loaded_model.h"
#include "tests/unit/engine/runtime/served_texts.h"

namespace sparkspan::tests {
namespace {

using engine::Token;
using engine::runtime::AcceptanceRule;
using engine::runtime::Asked;
using engine::runtime::SamplingParams;
using engine::runtime::ServeTexts;
using engine::runtime::Texts;
using engine::schedule::ScheduleStats;
using engine::schedule::VerificationPolicy;

constexpr const char* kModel = "deploy/demo/model";
constexpr int kTopK = 4;
constexpr std::size_t kTokens = 3;  // compared: the first comes with the prompt, two with drafts

std::vector<Token> Prompt() {
  return {5, 70};
}

SamplingParams Sampling(std::uint64_t seed, AcceptanceRule rule) {
  SamplingParams sampling;
  sampling.temperature = 1.3f;
  sampling.top_k = kTopK;
  sampling.seed = seed;
  sampling.acceptance = rule;
  return sampling;
}

// The model alone, without scheduler, executor or drafter.
class Alone {
 public:
  Alone()
      : model_(engine::runtime::LoaderOf(kModel, 1, {})(engine::Rank(0), nullptr).value()),
        pool_(engine::cache::KvPool::Create(model_->cache_layout(), 1).value()) {}

  std::vector<double> After(const std::vector<Token>& tokens) {
    engine::cache::SequenceState state(model_->cache_layout());
    const std::vector<std::int32_t> blocks = {0};
    const engine::model::SequenceSpan span{
        &state, blocks, 0, tokens, engine::model::LogitsRows::kLast};
    engine::model::ForwardResult result;
    EXPECT_TRUE(model_->Forward({&span, 1}, *pool_, {}, &result).ok());
    std::vector<double> probabilities;
    EXPECT_TRUE(
        engine::runtime::Sampler()
            .Distribution(result.logits, Sampling(0, AcceptanceRule::kRejection), &probabilities)
            .ok());
    return probabilities;
  }

 private:
  std::unique_ptr<engine::model::Model> model_;
  std::unique_ptr<engine::cache::KvPool> pool_;
};

// Every text of kTokens tokens that can come, with its probability.
struct Outcome {
  std::vector<Token> text;
  double probability = 0;
};

std::vector<Outcome> AllOutcomes() {
  Alone alone;
  std::vector<Outcome> outcomes = {{{}, 1.0}};
  for (std::size_t i = 0; i < kTokens; ++i) {
    std::vector<Outcome> longer;
    for (const Outcome& outcome : outcomes) {
      std::vector<Token> tokens = Prompt();
      tokens.insert(tokens.end(), outcome.text.begin(), outcome.text.end());
      const std::vector<double> probabilities = alone.After(tokens);
      for (std::size_t token = 0; token < probabilities.size(); ++token) {
        if (probabilities[token] > 0) {
          Outcome& next = longer.emplace_back(outcome);
          next.text.push_back(static_cast<Token>(token));
          next.probability *= probabilities[token];
        }
      }
    }
    outcomes = std::move(longer);
  }
  return outcomes;
}

// How far the texts lie from the outcomes' probabilities.
double Deviation(const std::vector<Outcome>& outcomes, const Texts& texts) {
  std::vector<std::size_t> counts(outcomes.size(), 0);
  std::vector<double> probabilities;
  for (const Outcome& outcome : outcomes) {
    probabilities.push_back(outcome.probability);
  }
  for (const auto& text : texts) {
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      const bool same = std::equal(outcomes[i].text.begin(),
                                   outcomes[i].text.end(),
                                   text.begin(),
                                   [](Token a, const auto& b) { return a == b.token; });
      counts[i] += same ? 1 : 0;
    }
  }
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), std::size_t{0}), texts.size())
      << "a text that cannot come came";
  return ChiSquareDeviation<std::size_t>(counts, probabilities);
}

std::size_t TextsToSample() {
  const char* wanted = std::getenv("SPARKSPAN_SAMPLED_TEXTS");
  return wanted == nullptr ? 4000 : static_cast<std::size_t>(std::atoll(wanted));
}

TEST(DraftedSampling, ContinuationsHaveTheModelsDistribution) {
  const auto checkpoint = engine::weights::Checkpoint::Open(kModel).value();
  if (engine::draft::KindOf(checkpoint->shape()) == engine::draft::DrafterKind::kNone) {
    GTEST_SKIP() << "the demo model has no drafter";
  }
  const std::vector<Outcome> outcomes = AllOutcomes();
  EXPECT_EQ(outcomes.size(), 64u);
  for (const AcceptanceRule rule : {AcceptanceRule::kRejection, AcceptanceRule::kSharedNoise}) {
    const std::size_t count = rule == AcceptanceRule::kRejection ? TextsToSample() : 2'000;
    std::vector<Asked> asked;
    for (std::uint64_t seed = 1; seed <= count; ++seed) {
      // One token more than are compared, so that a draft can stand for the last of these.
      asked.push_back({Prompt(), kTokens + 1, Sampling(seed, rule)});
    }
    ScheduleStats stats;
    const Texts texts =
        ServeTexts(asked,
                   {.ranks = 1,
                    .policy = VerificationPolicy::kFixed,
                    .load = engine::runtime::DraftingLoaderOf(kModel, 1, {.threads = 2}),
                    .running_max = 16,
                    .steps_between = 0},
                   &stats);
    const double deviation = Deviation(outcomes, texts);
    EXPECT_LT(deviation, 4);
    EXPECT_GT(stats.accepted_tokens_total, count / 20) << "drafts must also be accepted";
    EXPECT_LT(stats.accepted_tokens_total, stats.draft_tokens_total);
    RecordProperty(rule == AcceptanceRule::kRejection ? "rejection" : "shared_noise",
                   std::to_string(deviation) + " sigma of 4");
  }
}

}  // namespace
}  // namespace sparkspan::tests
