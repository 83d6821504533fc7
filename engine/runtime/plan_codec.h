#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/runtime/plan.h"

namespace sparkspan::v1 {
class StepPlan;
class StepResult;
}  // namespace sparkspan::v1

// The plain structs of plan.h as protobuf (proto/sparkspan/v1/plan.proto), and back. What comes in
// was written by another process: decoding checks everything that can be checked without knowing
// the model, and names the field and the value that it refuses (InvalidArgument). What only the
// executor can know, it checks itself (executor.h).
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
  static constexpr std::int32_t kDraftTokensMax = 32;            // kernels/sampling/sampling.h
  static constexpr std::int32_t kRanksMax = 1 << 12;
};

// A plan or result that breaks what Decode checks is our own mistake: CHECK.
std::string EncodePlan(const StepPlan& plan);
std::string EncodeResult(const StepResult& result);

absl::StatusOr<StepPlan> DecodePlan(std::string_view bytes);
absl::StatusOr<StepResult> DecodeResult(std::string_view bytes);

// The same for messages that stand inside others.
void PlanToProto(const StepPlan& plan, v1::StepPlan* message);
void ResultToProto(const StepResult& result, v1::StepResult* message);
absl::StatusOr<StepPlan> PlanFromProto(const v1::StepPlan& message);
absl::StatusOr<StepResult> ResultFromProto(const v1::StepResult& message);

// What decoding checks, for plans made in this process: OK or InvalidArgument.
absl::Status CheckPlan(const StepPlan& plan);
absl::Status CheckResult(const StepResult& result);

}  // namespace sparkspan::engine::runtime
