#include "engine/schedule/draft_planner.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace sparkspan::engine::schedule {
namespace {

// Of the exponential means: some hundred observations count.
constexpr double kWeight = 0.01;

// Before anything was observed: what healthy drafters reach.
constexpr double kChanceAtFirst = 0.7;

// While drafting does not pay, a step in so many drafts to see whether it would again.
constexpr std::uint64_t kStepsBetweenTrials = 64;

constexpr std::uint64_t kEnoughToTell = 100;

// Before so many proposals nothing is known of what they are worth here: drafting goes on.
constexpr std::uint64_t kProposalsToJudge = 16;

// Microseconds, and a chance, that are never nothing.
constexpr double kLeastCost = 1e-3;
constexpr double kLeastSurvival = 1e-6;

double Sigmoid(double logit) {
  return 1.0 / (1.0 + std::exp(-logit));
}

void Approach(double* mean, double value) {
  *mean += kWeight * (value - *mean);
}

}  // namespace

DraftPlanner::DraftPlanner(const DraftPlannerOptions& options)
    : options_(options),
      statistics_(static_cast<std::size_t>(options.block)),
      recent_chance_(static_cast<std::size_t>(options.block), kChanceAtFirst) {
  double survival = 1;
  for (const double chance : recent_chance_) {
    survival *= chance;
    recent_survival_.push_back(survival);
  }
  recent_predicted_ = recent_accepted_ = recent_survival_;
}

std::vector<double> DraftPlanner::Calibrated(std::span<const double> survival) const {
  std::vector<double> calibrated;
  double least = 1;  // survival does not rise
  for (std::size_t i = 0; i < survival.size(); ++i) {
    const double truth = recent_accepted_[i] / std::max(recent_predicted_[i], kLeastSurvival);
    least = std::min(least, survival[i] * truth);
    calibrated.push_back(least);
  }
  return calibrated;
}

bool DraftPlanner::ShouldPropose(std::int64_t sequences, std::int64_t other_rows) {
  if (options_.policy == VerificationPolicy::kNone || options_.block == 0 || sequences == 0) {
    return false;
  }
  if (options_.policy != VerificationPolicy::kHardware || costs_.rows.points().empty()) {
    return true;
  }
  if (proposals_ < kProposalsToJudge) {
    return true;
  }
  const std::vector<double> survival = Calibrated(recent_survival_);
  const std::vector<Candidate> alike(static_cast<std::size_t>(sequences), {survival});
  const double draft_cost = costs_.drafts.At(sequences);
  const std::vector<std::int32_t> lengths = LengthsByCost(alike, other_rows, draft_cost, costs_);
  auto tokens = static_cast<double>(sequences);
  std::int64_t rows = other_rows + sequences;
  const double plain = tokens / std::max(kLeastCost, costs_.rows.At(rows));
  for (const std::int32_t length : lengths) {
    rows += length;
    for (std::int32_t i = 0; i < length; ++i) {
      tokens += survival[static_cast<std::size_t>(i)];
    }
  }
  const bool pays = tokens / std::max(kLeastCost, draft_cost + costs_.rows.At(rows)) > plain;
  on_trial_ = !pays && ++declined_ >= kStepsBetweenTrials;
  if (pays || on_trial_) {
    declined_ = 0;
  }
  return pays || on_trial_;
}

std::vector<double> DraftPlanner::Survival(std::span<const float> confidence,
                                           std::int32_t proposed) {
  std::vector<double> survival;
  double product = 1;
  ++proposals_;
  // The plain mean at first.
  const double weight = std::max(kWeight, 1.0 / static_cast<double>(proposals_));
  for (std::size_t i = 0; i < static_cast<std::size_t>(proposed); ++i) {
    product *= confidence.empty() ? recent_chance_[i] : Sigmoid(static_cast<double>(confidence[i]));
    survival.push_back(product);
    recent_survival_[i] += weight * (product - recent_survival_[i]);
  }
  return survival;
}

std::vector<std::int32_t> DraftPlanner::Lengths(std::span<const Candidate> candidates,
                                                std::int64_t other_rows) {
  if (std::exchange(on_trial_, false)) {
    return LengthsAbove(candidates, 0);
  }
  std::vector<std::vector<double>> survival;
  std::vector<Candidate> calibrated;
  for (const Candidate& candidate : candidates) {
    survival.push_back(Calibrated(candidate.survival));
  }
  for (const std::vector<double>& of : survival) {
    calibrated.push_back({of});
  }
  switch (options_.policy) {
    case VerificationPolicy::kNone:
      return std::vector<std::int32_t>(candidates.size(), 0);
    case VerificationPolicy::kFixed:
      return LengthsAbove(candidates, 0);
    case VerificationPolicy::kThreshold:
      return LengthsAbove(calibrated, options_.threshold);
    case VerificationPolicy::kHardware:
      return LengthsByCost(calibrated,
                           other_rows,
                           costs_.drafts.At(static_cast<std::int64_t>(candidates.size())),
                           costs_);
  }
  return {};
}

void DraftPlanner::Observe(std::span<const double> survival,
                           std::int32_t drafted,
                           std::int32_t accepted) {
  for (std::int32_t i = 0; i < drafted; ++i) {
    const auto position = static_cast<std::size_t>(i);
    PositionStatistics& statistics = statistics_[position];
    ++statistics.verified;
    statistics.accepted += i < accepted ? 1 : 0;
    statistics.predicted += survival[position];
    Approach(&recent_predicted_[position], survival[position]);
    Approach(&recent_accepted_[position], i < accepted ? 1 : 0);
    if (i <= accepted) {  // all before it were accepted
      Approach(&recent_chance_[position], i < accepted ? 1 : 0);
    }
  }
  if (drafted > 0) {
    ++first_seen_;
    recent_first_ += std::max(kWeight, 1.0 / static_cast<double>(first_seen_)) *
                     ((accepted > 0 ? 1.0 : 0.0) - recent_first_);
  }
}

double DraftPlanner::RecentFirstAcceptance() const {
  return first_seen_ < kEnoughToTell ? 1.0 : recent_first_;
}

}  // namespace sparkspan::engine::schedule
