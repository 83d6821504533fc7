#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/runtime/plan.h"
#include "engine/runtime/plan_check.h"

namespace sparkspan::v1 {
class StepPlan;
class StepResult;
}  // namespace sparkspan::v1

// The plain structs of plan.h as protobuf (proto/sparkspan/v1/plan.proto), and back. What comes in
// was written by another process: decoding checks it (plan_check.h) and names the field and the
// value that it refuses (InvalidArgument). What only the executor can know, it checks itself.
namespace sparkspan::engine::runtime {

// A plan or result that CheckPlan or CheckResult refuses is our own mistake: CHECK.
std::string EncodePlan(const StepPlan& plan);
std::string EncodeResult(const StepResult& result);

absl::StatusOr<StepPlan> DecodePlan(std::string_view bytes);
absl::StatusOr<StepResult> DecodeResult(std::string_view bytes);

// The same for messages that stand inside others.
void PlanToProto(const StepPlan& plan, v1::StepPlan* message);
void ResultToProto(const StepResult& result, v1::StepResult* message);
absl::StatusOr<StepPlan> PlanFromProto(const v1::StepPlan& message);
absl::StatusOr<StepResult> ResultFromProto(const v1::StepResult& message);

}  // namespace sparkspan::engine::runtime
