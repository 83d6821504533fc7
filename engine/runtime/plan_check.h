#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "engine/runtime/plan.h"

// What a plan or a result must be for anybody to act on it, whoever made it: everything that can be
// checked without knowing the model or the ranks' state.
namespace sparkspan::engine::runtime {

// What a message may hold at most. An executor's own limits are lower and come with its
// ClusterShape.
struct PlanLimits {
  static constexpr std::size_t kMessageBytesMax = std::size_t{64} << 20;
  static constexpr std::int64_t kRowsMax = 1 << 16;       // literal and committed tokens of a plan
  static constexpr std::int64_t kSequencesMax = 1 << 12;  // in each list of a plan or a result
  static constexpr std::int64_t kBlocksMax = 1 << 20;     // granted in one plan
  static constexpr std::int64_t kPositionMax = std::int64_t{1} << 40;
  static constexpr std::int32_t kTopLogprobsMax = 128;
  static constexpr std::int64_t kSuppressedTokensMax = 1 << 12;  // of one sequence
  static constexpr std::int64_t kLogitBiasMax = 1 << 12;         // of one sequence
  static constexpr std::int64_t kAllowedTokensMax = 1 << 12;     // of one sequence
  static constexpr std::int64_t kForcedTokensMax = 1 << 12;      // of one sequence
  static constexpr std::int32_t kDraftTokensMax = 32;            // kernels/sampling/sampling.h
  static constexpr std::int32_t kRanksMax = 1 << 12;
};

// OK, or InvalidArgument naming the field and its value. The scheduler refuses a request whose
// sampling no plan may carry; whoever encodes or decodes a message checks all of it.
absl::Status CheckSampling(const SamplingParams& sampling);
absl::Status CheckPlan(const StepPlan& plan);
absl::Status CheckResult(const StepResult& result);

}  // namespace sparkspan::engine::runtime
