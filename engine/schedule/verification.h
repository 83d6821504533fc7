#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/schedule/step_cost.h"

// How many drafts of each sequence a step verifies (docs/drafting.md). Every rule here decides
// about a draft by what was known before that draft was drawn, or by older steps, never by the
// draft or what follows it: else the choice would change the distribution of the text.
namespace sparkspan::engine::schedule {

enum class VerificationPolicy : std::uint8_t {
  kNone,       // no drafts
  kFixed,      // all that were proposed
  kThreshold,  // while the chance that all up to here are accepted is at least a threshold
  kHardware,   // as many as raise the tokens per second, by the measured cost of a step
};

std::string_view ToString(VerificationPolicy policy);  // "none", "fixed", ...

// One decoding sequence: per draft that may be verified, the chance that it and all before it are
// accepted. Not rising. Empty: nothing was drafted.
struct Candidate {
  std::span<const double> survival;
};

// Lengths by kThreshold: of each candidate the leading drafts of at least `threshold`.
std::vector<std::int32_t> LengthsAbove(std::span<const Candidate> candidates, double threshold);

// DSpark's prefix scheduler (arXiv 2607.05147): drafts in falling order of survival, of equals the
// earlier position and then the earlier candidate first, are admitted while tokens / cost(rows)
// rises; the first that does not raise it ends the search, and so nothing that ranks later decides
// about what ranks before. With `row_tiers` (ascending) the tier that the rows reached is then
// filled in the same order. `other_rows` are those of prefill in the same step.
std::vector<std::int32_t> AdmitWhileRateRises(std::span<const Candidate> candidates,
                                              std::int64_t other_rows,
                                              const std::function<double(std::int64_t)>& cost,
                                              std::span<const std::int64_t> row_tiers);

// Lengths by kHardware: AdmitWhileRateRises with the measured costs, on which its early stop finds
// the optimum as they are convex. `fixed_cost` are microseconds that the step costs whatever is
// verified (drafting).
std::vector<std::int32_t> LengthsByCost(std::span<const Candidate> candidates,
                                        std::int64_t other_rows,
                                        double fixed_cost,
                                        const StepCosts& costs);

}  // namespace sparkspan::engine::schedule
