#include "engine/schedule/verification.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <numeric>
#include <random>
#include <string>

namespace sparkspan::engine::schedule {
namespace {

using ::testing::ElementsAre;

StepCosts CostsOf(std::vector<CostPoint> points) {
  StepCosts costs;
  costs.rows = CostCurve::Create(std::move(points)).value();
  return costs;
}

double RateOf(std::span<const std::vector<double>> survival,
              std::span<const std::int32_t> lengths,
              double fixed_cost,
              const StepCosts& costs) {
  double tokens = 0;
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < survival.size(); ++i) {
    tokens += std::accumulate(survival[i].begin(), survival[i].begin() + lengths[i], 1.0);
    rows += 1 + lengths[i];
  }
  return tokens / (fixed_cost + costs.rows.At(rows));
}

// Over every combination of lengths.
double BestRate(std::span<const std::vector<double>> survival,
                double fixed_cost,
                const StepCosts& costs) {
  std::vector<std::int32_t> lengths(survival.size(), 0);
  double best = 0;
  const std::function<void(std::size_t)> choose = [&](std::size_t i) {
    if (i == survival.size()) {
      best = std::max(best, RateOf(survival, lengths, fixed_cost, costs));
      return;
    }
    for (lengths[i] = 0; lengths[i] <= static_cast<std::int32_t>(survival[i].size());
         ++lengths[i]) {
      choose(i + 1);
    }
  };
  choose(0);
  return best;
}

std::vector<std::vector<double>> RandomSurvival(std::mt19937* random) {
  std::vector<std::vector<double>> survival(1 + (*random)() % 3);
  std::uniform_real_distribution<double> chance(0.1, 1.0);
  for (std::vector<double>& sequence : survival) {
    double product = 1;
    for (std::size_t i = (*random)() % 4; i > 0; --i) {
      sequence.push_back(product *= chance(*random));
    }
  }
  return survival;
}

std::vector<Candidate> CandidatesOf(std::span<const std::vector<double>> survival) {
  return {survival.begin(), survival.end()};
}

TEST(LengthsByCost, FindsTheOptimumOfEnumeratedCases) {
  std::mt19937 random(7);
  int trimmed = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto survival = RandomSurvival(&random);
    std::vector<CostPoint> points;
    double cost = 10;
    double slope = 0;
    for (std::int64_t rows = 1; rows <= 16; ++rows) {  // convex
      points.push_back({rows, cost += slope += static_cast<double>(random() % 100) / 50.0});
    }
    const StepCosts costs = CostsOf(points);
    const double fixed = static_cast<double>(random() % 10);
    const auto lengths = LengthsByCost(CandidatesOf(survival), 0, fixed, costs);
    ASSERT_NEAR(RateOf(survival, lengths, fixed, costs), BestRate(survival, fixed, costs), 1e-12);
    for (std::size_t i = 0; i < survival.size(); ++i) {
      trimmed += lengths[i] < static_cast<std::int32_t>(survival[i].size()) ? 1 : 0;
    }
  }
  EXPECT_GT(trimmed, 100) << "the cases must not all be trivial";
}

// A rule that looks at a draft before it decides about it: one request, two tokens, a step of one,
// two, three rows costing 1, 1 / 0.5, 1 / 0.45.
struct Counterexample {
  static constexpr std::array<double, 2> kTarget = {0.7, 0.3};
  static constexpr std::array<double, 2> kDraft = {0.5, 0.5};

  static double Cost(std::int64_t rows) {
    constexpr std::array<double, 3> kStepsPerSecond = {1, 0.5, 0.45};
    return 1 / kStepsPerSecond[static_cast<std::size_t>(rows - 1)];
  }

  // The distribution of the first emitted token, `length` giving how many drafts are verified.
  static std::array<double, 2> Emitted(
      const std::function<std::int32_t(std::span<const double>)>& length) {
    std::array<double, 2> emitted = {0, 0};
    for (std::size_t drawn = 0; drawn < 2; ++drawn) {
      const std::array<double, 2> survival = {0.8, 0.8 * (drawn == 0 ? 0.9 : 0.1)};
      if (length(survival) == 0) {
        emitted[0] += kDraft[drawn] * kTarget[0];
        emitted[1] += kDraft[drawn] * kTarget[1];
      } else {
        const double accepted = std::min(1.0, kTarget[drawn] / kDraft[drawn]);
        emitted[drawn] += kDraft[drawn] * accepted;
        emitted[0] += kDraft[drawn] * (1 - accepted);  // the residual has mass on token 0 alone
      }
    }
    return emitted;
  }
};

TEST(AdmitWhileRateRises, ReproducesThePapersCounterexample) {
  const auto early_stop = Counterexample::Emitted([](std::span<const double> survival) {
    const std::vector<Candidate> one = {{survival}};
    const std::int32_t length = AdmitWhileRateRises(one, 0, Counterexample::Cost, {})[0];
    EXPECT_EQ(length, 0);
    return length;
  });
  EXPECT_NEAR(early_stop[0], 0.7, 1e-12);
  EXPECT_NEAR(early_stop[1], 0.3, 1e-12);
  // On the convex hull of those costs one draft is verified or two, the first always: lossless too.
  const StepCosts costs =
      CostsOf({{1, Counterexample::Cost(1)}, {2, Counterexample::Cost(2)}, {3, 1 / 0.45}});
  const auto smoothed = Counterexample::Emitted([&](std::span<const double> survival) {
    const std::vector<Candidate> one = {{survival}};
    return LengthsByCost(one, 0, 0, costs)[0];
  });
  EXPECT_NEAR(smoothed[0], 0.7, 1e-12);
  // The control: the global maximum looks at what follows the draft, and bends the text.
  const auto global = Counterexample::Emitted([](std::span<const double> survival) {
    const double both = (1 + survival[0] + survival[1]) / Counterexample::Cost(3);
    return both > 1 / Counterexample::Cost(1) ? 2 : 0;
  });
  EXPECT_NEAR(global[0], 0.85, 1e-12);
  EXPECT_NEAR(global[1], 0.15, 1e-12);
}

// Whether a draft is admitted must not depend on it or on what follows it: here its own and later
// confidences change, and everything that ranks before stays admitted alike.
TEST(LengthsByCost, NeverAnticipates) {
  std::mt19937 random(11);
  std::uniform_real_distribution<double> chance(0.05, 1.0);
  int admitted = 0;
  for (int round = 0; round < 3000; ++round) {
    auto survival = RandomSurvival(&random);
    const StepCosts costs = CostsOf({{1, 10}, {2, 10.5}, {4, 12}, {8, 18}, {16, 40}});
    const auto before = LengthsByCost(CandidatesOf(survival), 0, 1, costs);
    const std::size_t changed = random() % survival.size();
    if (survival[changed].size() < 2) {
      continue;
    }
    // Position `from` and later are functions of draft from - 1: whether that one is admitted
    // must stay as it was.
    const std::size_t from = 1 + random() % (survival[changed].size() - 1);
    double product = survival[changed][from - 1];
    for (std::size_t i = from; i < survival[changed].size(); ++i) {
      survival[changed][i] = product *= chance(random);
    }
    const auto after = LengthsByCost(CandidatesOf(survival), 0, 1, costs);
    const auto last = static_cast<std::int32_t>(from);
    ASSERT_EQ(before[changed] >= last, after[changed] >= last);
    admitted += before[changed] >= last ? 1 : 0;
  }
  EXPECT_GT(admitted, 300);
}

TEST(LengthsByCost, VerifiesLessUnderLoad) {
  const std::vector<double> survival = {0.8, 0.6, 0.45, 0.3, 0.2};
  const StepCosts costs = CostsOf({{1, 100}, {8, 110}, {32, 200}, {96, 800}});
  double last = 6;
  for (const std::size_t sequences : {1u, 4u, 8u, 16u, 32u}) {
    const std::vector<Candidate> load(sequences, {survival});
    const auto lengths = LengthsByCost(load, 0, 10, costs);
    const double mean = static_cast<double>(std::accumulate(lengths.begin(), lengths.end(), 0)) /
                        static_cast<double>(sequences);
    EXPECT_LE(mean, last);
    last = mean;
    RecordProperty("verified_of_" + std::to_string(sequences), std::to_string(mean));
  }
  EXPECT_LT(last, 2);
}

TEST(LengthsByCost, FillsTheTierItPaysFor) {
  const std::vector<double> likely = {0.9, 0.1};
  const std::vector<double> unlikely = {0.3, 0.2};
  StepCosts costs = CostsOf({{1, 10}, {2, 10}, {3, 10.1}, {4, 20}, {8, 90}});
  const std::vector<Candidate> candidates = {{unlikely}, {likely}};
  EXPECT_THAT(LengthsByCost(candidates, 0, 0, costs), ElementsAre(0, 1));
  costs.row_tiers = {2, 4, 8};
  EXPECT_THAT(LengthsByCost(candidates, 0, 0, costs), ElementsAre(1, 1));
  // Of equals the earlier position, then the earlier candidate.
  const std::vector<double> same = {0.5, 0.5};
  const std::vector<Candidate> equals = {{same}, {same}};
  costs = CostsOf({{1, 10}, {2, 10}, {3, 10}, {4, 500}});
  EXPECT_THAT(LengthsByCost(equals, 0, 0, costs), ElementsAre(1, 0));
}

TEST(LengthsByCost, VerifiesAllWhereNothingWasMeasured) {
  const std::vector<double> survival = {0.2, 0.001};
  const std::vector<Candidate> candidates = {{survival}, {}};
  EXPECT_THAT(LengthsByCost(candidates, 0, 0, {}), ElementsAre(2, 0));
  EXPECT_TRUE(LengthsByCost({}, 0, 0, {}).empty());
}

TEST(LengthsAbove, KeepsLeadingDrafts) {
  const std::vector<double> survival = {0.9, 0.5, 0.5, 0.2};
  const std::vector<Candidate> candidates = {{survival}, {}};
  EXPECT_THAT(LengthsAbove(candidates, 0.5), ElementsAre(3, 0));
  EXPECT_THAT(LengthsAbove(candidates, 0.95), ElementsAre(0, 0));
  EXPECT_THAT(LengthsAbove(candidates, 0), ElementsAre(4, 0));
}

}  // namespace
}  // namespace sparkspan::engine::schedule
