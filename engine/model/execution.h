#pragma once

#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/model/model.h"
#include "engine/model/model_parts.h"
#include "kernels/ops.h"
#include "kernels/task_team.h"

// What executes phases, for the model and for drafters.
namespace sparkspan::engine::model {

struct ExecutionParts {
  std::unique_ptr<kernels::TaskTeam> team;  // outlives the ops
  std::unique_ptr<kernels::Ops> ops;
};

// `layout` must be that of the same numerics. Errors: options out of range; a processor without the
// vector instructions.
absl::StatusOr<ExecutionParts> MakeExecution(const kernels::OpsShape& shape,
                                             const kernels::CacheLayout& layout,
                                             const ModelOptions& options);

// Refuses a share of a layer (named `where` in messages) that the profile cannot compute exactly.
absl::Status CheckShares(const LayerParts& layer,
                         std::string_view where,
                         const kernels::numerics::NumericsProfile& profile);

}  // namespace sparkspan::engine::model
