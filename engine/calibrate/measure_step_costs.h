#pragma once

#include <chrono>
#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/runtime/cluster.h"
#include "engine/schedule/step_cost.h"

namespace sparkspan::engine::calibrate {

inline constexpr Duration kBudget = std::chrono::seconds(2);

// What steps of this cluster cost, by running some: decode and verification of 1, 2, 4, ...
// sequences up to `sequences_max` with none, half and all of a block of drafts, each with drafting,
// and one prefill. Some dozens of steps; larger sizes are left out, and extrapolated, once kBudget
// has gone into smaller ones, since requests wait for it. For a cluster with a drafter, at the
// beginning of the epoch `epoch`, which it uses up: Reform before the next plan. Times are the
// slowest rank's own. Errors: those of the cluster, DeadlineExceeded at `deadline`.
absl::StatusOr<schedule::StepCosts> MeasureStepCosts(runtime::Cluster& cluster,
                                                     Epoch epoch,
                                                     std::int32_t sequences_max,
                                                     Time deadline);

}  // namespace sparkspan::engine::calibrate
