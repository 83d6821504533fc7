#include "engine/schedule/draft_planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace sparkspan::engine::schedule {
namespace {

using ::testing::ElementsAre;

StepCosts CostsOf(double first_row, double per_row, double draft) {
  StepCosts costs;
  costs.rows = CostCurve::Create({{1, first_row}, {1001, first_row + 1000 * per_row}}).value();
  costs.drafts = CostCurve::Create({{1, draft}}).value();
  return costs;
}

TEST(DraftPlanner, NeverProposesWithoutADrafter) {
  DraftPlanner none;
  EXPECT_FALSE(none.ShouldPropose(4, 0));
  DraftPlanner off({.policy = VerificationPolicy::kNone, .block = 5});
  EXPECT_FALSE(off.ShouldPropose(4, 0));
  DraftPlanner fixed({.policy = VerificationPolicy::kFixed, .block = 5});
  EXPECT_TRUE(fixed.ShouldPropose(1, 0));
  EXPECT_FALSE(fixed.ShouldPropose(0, 9));
}

TEST(DraftPlanner, SurvivalIsTheProductOfConfidences) {
  DraftPlanner planner({.policy = VerificationPolicy::kFixed, .block = 3});
  const std::array<float, 3> confidence = {2.0f, 0.0f, -1.0f};
  const std::vector<double> survival = planner.Survival(confidence, 3);
  ASSERT_EQ(survival.size(), 3u);
  EXPECT_NEAR(survival[0], 1 / (1 + std::exp(-2.0)), 1e-12);
  EXPECT_NEAR(survival[1], survival[0] * 0.5, 1e-12);
  EXPECT_NEAR(survival[2], survival[1] / (1 + std::exp(1.0)), 1e-12);
}

TEST(DraftPlanner, LearnsSurvivalWhereTheDrafterGivesNone) {
  DraftPlanner planner({.policy = VerificationPolicy::kFixed, .block = 2});
  for (int i = 0; i < 2000; ++i) {
    const std::vector<double> survival = planner.Survival({}, 2);
    // The first is accepted nine times of ten, the second then each second time.
    const int accepted = i % 10 == 0 ? 0 : 1 + i % 2;
    planner.Observe(survival, 2, accepted);
  }
  const std::vector<double> survival = planner.Survival({}, 2);
  EXPECT_NEAR(survival[0], 0.9, 0.05);
  EXPECT_NEAR(survival[1] / survival[0], 0.55, 0.06);
}

TEST(DraftPlanner, CountsWhatWasPredictedAndWhatCame) {
  DraftPlanner planner({.policy = VerificationPolicy::kFixed, .block = 3});
  const std::array<double, 3> survival = {0.9, 0.5, 0.25};
  planner.Observe(survival, 2, 1);
  planner.Observe(survival, 3, 3);
  planner.Observe(survival, 0, 0);
  const auto statistics = planner.statistics();
  ASSERT_EQ(statistics.size(), 3u);
  EXPECT_EQ(statistics[0].verified, 2u);
  EXPECT_EQ(statistics[0].accepted, 2u);
  EXPECT_DOUBLE_EQ(statistics[0].predicted, 1.8);
  EXPECT_EQ(statistics[1].verified, 2u);
  EXPECT_EQ(statistics[1].accepted, 1u);
  EXPECT_EQ(statistics[2].verified, 1u);
  EXPECT_EQ(statistics[2].accepted, 1u);
  EXPECT_DOUBLE_EQ(statistics[2].predicted, 0.25);
}

TEST(DraftPlanner, TellsABrokenDrafterAfterEnoughSteps) {
  const std::array<double, 1> survival = {0.9};
  DraftPlanner planner({.policy = VerificationPolicy::kFixed, .block = 1});
  for (int i = 0; i < 99; ++i) {
    planner.Observe(survival, 1, 0);
  }
  EXPECT_EQ(planner.RecentFirstAcceptance(), 1.0);
  planner.Observe(survival, 1, 0);
  EXPECT_EQ(planner.RecentFirstAcceptance(), 0.0);
  for (int i = 0; i < 500; ++i) {
    planner.Observe(survival, 1, 1);
  }
  EXPECT_GT(planner.RecentFirstAcceptance(), 0.9);
}

TEST(DraftPlanner, StopsDraftingWhereItDoesNotPayAndTriesAgain) {
  DraftPlanner planner({.policy = VerificationPolicy::kHardware, .block = 5});
  planner.SetCosts(CostsOf(100, 1, 10));  // rows are nearly free
  EXPECT_TRUE(planner.ShouldPropose(1, 0));
  planner.SetCosts(CostsOf(100, 100, 10));  // a row costs as much as a step
  EXPECT_TRUE(planner.ShouldPropose(8, 0)) << "before anything is known";
  const std::array<float, 5> unsure = {0, 0, 0, 0, 0};
  for (int i = 0; i < 16; ++i) {
    (void)planner.Survival(unsure, 5);
  }
  int proposals = 0;
  for (int i = 0; i < 640; ++i) {
    proposals += planner.ShouldPropose(8, 0) ? 1 : 0;
  }
  EXPECT_EQ(proposals, 10);
}

// A drafter that is sure and wrong: its word is worth what came of it.
TEST(DraftPlanner, TrustsConfidenceAsFarAsItCameTrue) {
  DraftPlanner planner({.policy = VerificationPolicy::kHardware, .block = 2});
  planner.SetCosts(CostsOf(100, 20, 10));
  const std::array<float, 2> sure = {4.0f, 4.0f};
  const std::vector<double> survival = planner.Survival(sure, 2);
  const std::array<Candidate, 1> one = {{{survival}}};
  EXPECT_THAT(planner.Lengths(one, 0), ElementsAre(2));
  EXPECT_TRUE(planner.ShouldPropose(1, 0));
  for (int i = 0; i < 1000; ++i) {
    (void)planner.Survival(sure, 2);
    planner.Observe(survival, 2, 0);
  }
  EXPECT_THAT(planner.Lengths(one, 0), ElementsAre(0));
  EXPECT_FALSE(planner.ShouldPropose(1, 0));
  // A trial verifies all, to see whether that is still so; when it is not, drafting comes back.
  int trials = 0;
  for (int i = 0; i < 64 * 200 && trials < 200; ++i) {
    if (planner.ShouldPropose(1, 0)) {
      ++trials;
      (void)planner.Survival(sure, 2);
      planner.Observe(survival, planner.Lengths(one, 0)[0], 2);
    }
  }
  EXPECT_THAT(planner.Lengths(one, 0), ElementsAre(2));
  EXPECT_TRUE(planner.ShouldPropose(1, 0));
}

TEST(DraftPlanner, FollowsItsPolicy) {
  const std::array<double, 3> survival = {0.9, 0.5, 0.2};
  const std::array<Candidate, 2> candidates = {{{survival}, {}}};
  const auto lengths = [&](VerificationPolicy policy) {
    DraftPlanner planner({.policy = policy, .block = 3, .threshold = 0.4});
    planner.SetCosts(CostsOf(100, 60, 10));
    return planner.Lengths(candidates, 0);
  };
  EXPECT_THAT(lengths(VerificationPolicy::kNone), ElementsAre(0, 0));
  EXPECT_THAT(lengths(VerificationPolicy::kFixed), ElementsAre(3, 0));
  EXPECT_THAT(lengths(VerificationPolicy::kThreshold), ElementsAre(2, 0));
  // Two sequences: 2 tokens in 170 us; with one draft more 2.9 in 230, with two 3.4 in 290.
  EXPECT_THAT(lengths(VerificationPolicy::kHardware), ElementsAre(1, 0));
}

}  // namespace
}  // namespace sparkspan::engine::schedule
