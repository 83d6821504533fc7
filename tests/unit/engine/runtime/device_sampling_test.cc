// The kernels of sampling, on the emulator, choose what the CPU's sampler and acceptance choose.

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "engine/base/gumbel.h"
#include "engine/runtime/acceptance.h"
#include "engine/runtime/sampler.h"
#include "kernels/simt/emulator.h"
#include "tests/unit/kernels/sampling/sampled_step.h"

namespace sparkspan::engine::runtime {
namespace {

using kernels::At;
using kernels::RandomFloats;

constexpr int kTokens = 5000;
constexpr int kHalf = 2500;

kernels::SampleRow RowOf(const SamplingParams& params, std::int64_t position) {
  return {IsGreedy(params) ? 0.0f : params.temperature,
          params.min_p,
          params.top_p,
          params.top_k,
          -1,
          -1,
          params.seed,
          static_cast<std::uint64_t>(position)};
}

// Parameters as requests have them, and some extreme ones.
SamplingParams RandomParams(std::mt19937& random) {
  const auto one_of = [&](std::vector<float> values) { return values[random() % values.size()]; };
  SamplingParams params;
  params.temperature = one_of({0.0f, 0.3f, 0.7f, 1.0f, 1.3f, 4.0f});
  params.top_p = one_of({1.0f, 0.95f, 0.8f, 0.3f, 1e-7f});
  params.top_k = static_cast<std::int32_t>(one_of({0, 0, 1, 20, 50, 1000, 6000}));
  params.min_p = one_of({0.0f, 0.0f, 0.01f, 0.1f, 1.0f});
  params.seed = random() * 0x9E3779B97F4A7C15ULL;
  return params;
}

TEST(DeviceSampling, ChoosesWhatTheSamplerChooses) {
  constexpr int kRows = 40;
  std::mt19937 random(1);
  kernels::SampledStep step;
  step.vocabulary = kTokens;
  step.cuts = {0, kHalf};
  std::vector<Token> expected;
  for (int row = 0; row < kRows; ++row) {
    const SamplingParams params = RandomParams(random);
    const std::int64_t position = 1000000007LL * row;
    const auto logits = RandomFloats(At(kTokens), 60 + static_cast<unsigned>(row), 3);
    step.logits.insert(step.logits.end(), logits.begin(), logits.end());
    step.settings.push_back(RowOf(params, position));
    Sampler sampler;
    expected.push_back(sampler.Sample(logits, logits, params, position)->token);
  }
  kernels::emulator::Emulation emulation;
  EXPECT_EQ(step.Tokens(), expected);
}

TEST(DeviceSampling, AcceptsWhatAcceptanceAccepts) {
  constexpr int kSequences = 12;
  constexpr int kDrafts = 3;
  std::mt19937 random(2);
  kernels::SampledStep step;
  step.vocabulary = kTokens;
  step.cuts = {0, kHalf};
  std::vector<Token> drafts, next;
  std::vector<std::int32_t> accepted, first_row;
  const std::vector<std::int32_t> counts(kSequences, kDrafts);
  for (int sequence = 0; sequence < kSequences; ++sequence) {
    SamplingParams params = RandomParams(random);
    params.temperature = std::max(params.temperature, 0.3f);
    const std::int64_t position = 77 * sequence;
    first_row.push_back(static_cast<std::int32_t>(step.settings.size()));
    const auto first_logit = static_cast<std::ptrdiff_t>(step.logits.size());
    const auto first_drafter = static_cast<std::ptrdiff_t>(step.drafters.size());
    std::vector<Token> drafted;
    for (int i = 0; i <= kDrafts; ++i) {
      const auto seed = static_cast<unsigned>(200 + sequence * (kDrafts + 1) + i);
      const auto logits = RandomFloats(At(kTokens), seed, 3);
      step.logits.insert(step.logits.end(), logits.begin(), logits.end());
      step.settings.push_back(RowOf(params, position + i));
      if (i == kDrafts) {
        break;
      }
      auto drafter = RandomFloats(At(kTokens), seed + 1000, 0.4f);
      for (std::size_t token = 0; token < drafter.size(); ++token) {
        drafter[token] += logits[token];
      }
      drafted.push_back(
          ArgmaxWithNoise(
              drafter, params.temperature, {params.seed, position + i, RandomPurpose::kDraft}, 0)
              .token);
      step.settings.back().drafter_row = sequence * kDrafts + i;
      step.settings.back().draft = drafted.back();
      step.drafters.insert(step.drafters.end(), drafter.begin(), drafter.end());
    }
    VerifiedRows rows;
    rows.logits = std::span(step.logits).subspan(static_cast<std::size_t>(first_logit));
    rows.drafts = drafted;
    rows.draft_logits = std::span(step.drafters).subspan(static_cast<std::size_t>(first_drafter));
    rows.position = position;
    Acceptance acceptance;
    const auto verdict = acceptance.Judge(rows, params, nullptr);
    accepted.push_back(verdict->accepted);
    next.push_back(verdict->tokens.back().token);
    drafts.insert(drafts.end(), drafted.begin(), drafted.end());
  }
  kernels::emulator::Emulation emulation;
  const auto verdicts = step.Verdicts(first_row, counts, drafts, kDrafts);
  EXPECT_EQ(verdicts.accepted, accepted);
  EXPECT_EQ(verdicts.next, next);
  const int stood = std::accumulate(accepted.begin(), accepted.end(), 0);
  std::printf("%d of %d drafts stand\n", stood, kSequences * kDrafts);
  EXPECT_GT(stood, kSequences / 2);
  EXPECT_LT(stood, kSequences * kDrafts);
}

}  // namespace
}  // namespace sparkspan::engine::runtime
