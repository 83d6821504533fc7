#pragma once

#include <string>

#include "absl/status/status.h"
#include "head/cluster/link_events.h"
#include "head/cluster/remote_cluster.h"

// What must be the same before anything is computed together. FailedPrecondition names what differs
// with both values and the remedy: a mismatch that only shows as a hang in the first collective
// costs an evening.
namespace sparkspan::head::cluster {

// A worker against the head that it serves. `name` is the worker's in messages.
absl::Status CheckFits(const WorkerIdentity& worker,
                       const std::string& name,
                       const RemoteClusterOptions& head);

// Two ranks of one cluster.
absl::Status CheckAlike(const WorkerIdentity& a,
                        const std::string& a_name,
                        const WorkerIdentity& b,
                        const std::string& b_name);

}  // namespace sparkspan::head::cluster
