#include "engine/schedule/verification.h"

#include <algorithm>

namespace sparkspan::engine::schedule {
namespace {

struct Draft {
  double survival = 0;
  std::size_t position = 0;
  std::size_t candidate = 0;
};

std::vector<Draft> InOrderOfAdmission(std::span<const Candidate> candidates) {
  std::vector<Draft> drafts;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    for (std::size_t position = 0; position < candidates[i].survival.size(); ++position) {
      if (candidates[i].survival[position] > 0) {
        drafts.push_back({candidates[i].survival[position], position, i});
      }
    }
  }
  std::sort(drafts.begin(), drafts.end(), [](const Draft& a, const Draft& b) {
    if (a.survival != b.survival) {
      return a.survival > b.survival;
    }
    return a.position != b.position ? a.position < b.position : a.candidate < b.candidate;
  });
  return drafts;
}

// The rows that a step of `rows` pays for.
std::int64_t TierOf(std::int64_t rows, std::span<const std::int64_t> tiers) {
  const auto tier = std::lower_bound(tiers.begin(), tiers.end(), rows);
  return tier == tiers.end() ? rows : *tier;
}

}  // namespace

std::string_view ToString(VerificationPolicy policy) {
  switch (policy) {
    case VerificationPolicy::kNone:
      return "none";
    case VerificationPolicy::kFixed:
      return "fixed";
    case VerificationPolicy::kThreshold:
      return "threshold";
    case VerificationPolicy::kHardware:
      return "hardware";
  }
  return "none";
}

std::vector<std::int32_t> LengthsAbove(std::span<const Candidate> candidates, double threshold) {
  std::vector<std::int32_t> lengths;
  for (const Candidate& candidate : candidates) {
    const auto end = std::find_if(candidate.survival.begin(),
                                  candidate.survival.end(),
                                  [&](double survival) { return survival < threshold; });
    lengths.push_back(static_cast<std::int32_t>(end - candidate.survival.begin()));
  }
  return lengths;
}

std::vector<std::int32_t> AdmitWhileRateRises(std::span<const Candidate> candidates,
                                              std::int64_t other_rows,
                                              const std::function<double(std::int64_t)>& cost,
                                              std::span<const std::int64_t> row_tiers) {
  std::vector<std::int32_t> lengths(candidates.size(), 0);
  const std::vector<Draft> drafts = InOrderOfAdmission(candidates);
  std::int64_t rows = other_rows + static_cast<std::int64_t>(candidates.size());
  auto tokens = static_cast<double>(candidates.size());
  double best = tokens / cost(rows);
  std::size_t admitted = 0;
  for (; admitted < drafts.size(); ++admitted) {
    tokens += drafts[admitted].survival;
    const double rate = tokens / cost(rows + 1);
    if (rate <= best) {
      break;
    }
    best = rate;
    ++rows;
  }
  const std::int64_t paid_for = TierOf(rows, row_tiers);
  admitted = std::min(drafts.size(), admitted + static_cast<std::size_t>(paid_for - rows));
  for (std::size_t i = 0; i < admitted; ++i) {
    ++lengths[drafts[i].candidate];
  }
  return lengths;
}

std::vector<std::int32_t> LengthsByCost(std::span<const Candidate> candidates,
                                        std::int64_t other_rows,
                                        double fixed_cost,
                                        const StepCosts& costs) {
  // A machine that was not measured costs the same whatever it does: all pays.
  constexpr double kLeastCost = 1e-3;
  const auto cost = [&](std::int64_t rows) {
    return std::max(kLeastCost, fixed_cost + costs.rows.At(rows));
  };
  return AdmitWhileRateRises(candidates, other_rows, cost, costs.row_tiers);
}

}  // namespace sparkspan::engine::schedule
