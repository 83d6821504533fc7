#pragma once

#include "absl/status/statusor.h"
#include "engine/doctor/node_examiner.h"
#include "proto/sparkspan/v1/worker.pb.h"

namespace sparkspan::worker {

// What a request of the Examine call asks of this node's examiner. Whether who asks may, and is of
// this release and configuration, has been checked.
absl::StatusOr<v1::ExamineResponse> Examine(const v1::ExamineRequest& request,
                                            engine::doctor::NodeExaminer& examiner);

}  // namespace sparkspan::worker
