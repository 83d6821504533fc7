// Whole texts, served with the checkpoints' own drafters: with drafts and without they are equal,
// bit for bit where the rule promises it.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/hash.h"
#include "tests/golden_path.h"
#include "tests/unit/engine/runtime/loaded_model.h"
#include "tests/unit/engine/runtime/served_texts.h"

namespace sparkspan::tests {
namespace {

using engine::Token;
using engine::runtime::AcceptanceRule;
using engine::runtime::Asked;
using engine::runtime::DraftingLoaderOf;
using engine::runtime::LoaderOf;
using engine::runtime::ServeTexts;
using engine::runtime::Serving;
using engine::runtime::Texts;
using engine::schedule::ScheduleStats;
using engine::schedule::VerificationPolicy;

struct Model {
  const char* name;
  kernels::numerics::NumericsProfile numerics;
};

std::optional<std::filesystem::path> FolderOf(const std::string& name) {
  return name == "demo" ? std::filesystem::path("deploy/demo/model") : GoldenPath(name);
}

class DraftedText : public ::testing::TestWithParam<Model> {
 protected:
  void SetUp() override {
    folder_ = FolderOf(GetParam().name);
    if (!folder_.has_value()) {
      GTEST_SKIP() << "no golden data '" << GetParam().name << "'";
    }
    options_.numerics = GetParam().numerics;
    const auto checkpoint = engine::weights::Checkpoint::Open(*folder_).value();
    vocabulary_ = checkpoint->shape().vocabulary;
    block_ =
        engine::draft::BlockOf(checkpoint->shape(), engine::draft::KindOf(checkpoint->shape()));
    if (block_ == 0) {
      GTEST_SKIP() << GetParam().name << " has no drafter";
    }
    options_.rewind_rows_max = block_ + 1;
  }

  // Prompts that end at many offsets of the compressors' groups; one is longer than the window.
  std::vector<Asked> Requests(std::size_t count, float temperature) const {
    std::vector<Asked> asked;
    for (std::uint64_t i = 0; i < count; ++i) {
      Asked& one = asked.emplace_back();
      for (std::uint64_t j = 0; j < 5 + 45 * i; ++j) {
        one.prompt.push_back(static_cast<Token>(engine::CombineHash(i, j) %
                                                static_cast<std::uint64_t>(vocabulary_)));
      }
      one.max_tokens = 40 + static_cast<std::int64_t>(7 * i);
      one.sampling.temperature = temperature;
      one.sampling.seed = 1000 + i;
      one.sampling.acceptance = AcceptanceRule::kSharedNoise;
      one.sampling.top_logprobs = 1;  // compares the logits' bits
    }
    return asked;
  }

  Texts Plain(const std::vector<Asked>& asked, int ranks) const {
    return ServeTexts(asked, {.ranks = ranks, .load = LoaderOf(*folder_, ranks, options_)});
  }
  Texts Drafted(const std::vector<Asked>& asked,
                int ranks,
                VerificationPolicy policy,
                ScheduleStats* stats = nullptr) const {
    return ServeTexts(
        asked,
        {.ranks = ranks, .policy = policy, .load = DraftingLoaderOf(*folder_, ranks, options_)},
        stats);
  }

  std::optional<std::filesystem::path> folder_;
  engine::model::ModelOptions options_;
  std::int64_t vocabulary_ = 0;
  int block_ = 0;
};

TEST_P(DraftedText, IsThePlainOneAloneAndAmongOthersUnderEachPolicy) {
  const std::vector<Asked> asked = Requests(8, 0);
  const Texts plain = Plain(asked, 1);
  EXPECT_EQ(Drafted({asked[3]}, 1, VerificationPolicy::kFixed)[0], plain[3]);
  for (const VerificationPolicy policy : {VerificationPolicy::kFixed,
                                          VerificationPolicy::kThreshold,
                                          VerificationPolicy::kHardware}) {
    ScheduleStats stats;
    EXPECT_EQ(Drafted(asked, 1, policy, &stats), plain) << ToString(policy);
    EXPECT_GT(stats.draft_tokens_total, 0u) << ToString(policy);
    RecordProperty("accepted_" + std::string(ToString(policy)),
                   std::to_string(stats.accepted_tokens_total) + " of " +
                       std::to_string(stats.draft_tokens_total));
  }
}

TEST_P(DraftedText, IsThePlainOneOnTwoRanks) {
  const std::vector<Asked> asked = Requests(4, 0);
  EXPECT_EQ(Drafted(asked, 2, VerificationPolicy::kFixed), Plain(asked, 2));
}

TEST_P(DraftedText, OfSharedNoiseIsThatOfTheSameSeedWithoutDrafts) {
  const std::vector<Asked> asked = Requests(4, 0.8f);
  ScheduleStats stats;
  EXPECT_EQ(Drafted(asked, 1, VerificationPolicy::kFixed, &stats), Plain(asked, 1));
  EXPECT_GT(stats.draft_tokens_total, 0u);
}

// Penalties, bias and minimum length look at the drafts before a row as generated tokens.
TEST_P(DraftedText, WithPenaltiesIsThePlainOne) {
  std::vector<Asked> asked = Requests(4, 0);
  for (Asked& one : asked) {
    one.sampling.repetition_penalty = 1.3f;
    one.sampling.frequency_penalty = 0.7f;
    one.sampling.presence_penalty = 0.4f;
    one.sampling.logit_bias = {{7, 2.5f}, {11, -100.0f}};
    one.sampling.min_tokens = 20;
    one.sampling.suppressed_until_min_tokens = {3, 4};
  }
  const Texts plain = Plain(asked, 1);
  EXPECT_NE(plain, Plain(Requests(4, 0), 1)) << "the penalties must matter";
  ScheduleStats stats;
  EXPECT_EQ(Drafted(asked, 1, VerificationPolicy::kFixed, &stats), plain);
  EXPECT_GT(stats.draft_tokens_total, 0u);
}

INSTANTIATE_TEST_SUITE_P(Models,
                         DraftedText,
                         ::testing::Values(Model{"demo", kernels::numerics::kQuantised},
                                           Model{"dspark-a", kernels::numerics::kUnquantised},
                                           Model{"dspark-a", kernels::numerics::kQuantised},
                                           Model{"dspark-c", kernels::numerics::kUnquantised},
                                           Model{"mtp-a", kernels::numerics::kUnquantised}),
                         [](const auto& tested) {
                           std::string name =
                               std::string(tested.param.name) +
                               (tested.param.numerics.quantises() ? "_quantised" : "_unquantised");
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace sparkspan::tests
