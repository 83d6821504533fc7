#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/schedule/step_cost.h"
#include "engine/schedule/verification.h"

namespace sparkspan::engine::schedule {

struct DraftPlannerOptions {
  VerificationPolicy policy = VerificationPolicy::kNone;
  std::int32_t block = 0;  // drafts that a proposal has
  double threshold = 0.3;  // of kThreshold
};

// What became of drafts at one position of the block, over all steps so far.
struct PositionStatistics {
  std::uint64_t verified = 0;  // drafts at this position that a step verified
  std::uint64_t accepted = 0;  // of those, accepted, and so all before them
  // Sum over the verified ones of the chance that the drafter gave them: where it is far from
  // `accepted`, its confidence is off.
  double predicted = 0;
};

// Decides whether steps draft and how much of it they verify, and learns from what came of it.
// Pure: the same calls give the same answers. One thread at a time.
class DraftPlanner {
 public:
  DraftPlanner() = default;  // never drafts
  explicit DraftPlanner(const DraftPlannerOptions& options);

  const DraftPlannerOptions& options() const { return options_; }
  void SetCosts(StepCosts costs) { costs_ = std::move(costs); }

  // Whether a step of `sequences` decoding ones beside `other_rows` of prefill should propose
  // drafts for the next. By kHardware: while drafting is expected to give more tokens per second
  // than plain decoding, judged by the mean survival of recent proposals; else only now and then,
  // to notice when that changes.
  bool ShouldPropose(std::int64_t sequences, std::int64_t other_rows);

  // Survival of a proposal's drafts: the chance per position that it and all before it are
  // accepted. `confidence` are raw logits of the drafter's confidence head; from a
  // drafter without one (empty) the acceptance observed so far stands for `proposed` drafts.
  std::vector<double> Survival(std::span<const float> confidence, std::int32_t proposed);

  // How many drafts of each candidate, with the survival that Survival gave, a step verifies. By
  // kThreshold and kHardware survival counts as far as it came true lately: drafters tend to be too
  // sure of themselves, and a broken one is. After a trial (ShouldPropose) all are
  // verified, to see what comes of it.
  std::vector<std::int32_t> Lengths(std::span<const Candidate> candidates, std::int64_t other_rows);

  // A step verified `drafted` drafts whose survival was predicted, and accepted so many.
  void Observe(std::span<const double> survival, std::int32_t drafted, std::int32_t accepted);

  // [block]
  std::span<const PositionStatistics> statistics() const { return statistics_; }

  // The share of first drafts that were accepted lately (an exponential mean over some hundred);
  // 1 until there were enough to tell. Below 0.5 on ordinary text the drafter is broken: the text
  // stays right, only speed shows it.
  double RecentFirstAcceptance() const;

 private:
  std::vector<double> Calibrated(std::span<const double> survival) const;

  DraftPlannerOptions options_;
  StepCosts costs_;
  std::vector<PositionStatistics> statistics_;
  std::vector<double> recent_survival_;  // [block] exponential mean of proposals' survival
  std::vector<double> recent_chance_;    // [block] of acceptance, those before being accepted
  // [block] exponential means over verified drafts: what was predicted, and what came of it.
  std::vector<double> recent_predicted_;
  std::vector<double> recent_accepted_;
  double recent_first_ = 1.0;
  std::uint64_t first_seen_ = 0;
  std::uint64_t proposals_ = 0;
  std::uint64_t declined_ = 0;  // steps in a row without a proposal
  bool on_trial_ = false;       // the proposals to come are a trial
};

}  // namespace sparkspan::engine::schedule
