#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/config/cluster_config.h"
#include "engine/fabric/pin.h"
#include "engine/fabric/pin_monitor.h"

namespace sparkspan::engine::config {

// That this machine has an interface that cluster.yaml declares for it, up and with its address.
// Nothing is chosen in its place; errors list the candidates, and are Unavailable where waiting may
// help (fabric::VerifyPin).
absl::StatusOr<fabric::VerifiedPin> VerifyControlPin(const NodeConfig& node);
absl::StatusOr<fabric::VerifiedPin> VerifyBootstrapPin(const NodeConfig& node);

// The same, but OK where waiting may help: what a process asks before it begins to wait.
absl::Status CheckControlPin(const NodeConfig& node);
absl::Status CheckBootstrapPin(const NodeConfig& node);

// The same two, each once, with the planes that they carry. Data without ranks is none.
std::vector<fabric::PlanePin> PlanePins(const ClusterConfig& config, const NodeConfig& node);

// The control pin of the node that runs the head, and the workers' nodes that it is to reach.
fabric::PlanePin HeadPin(const ClusterConfig& config, const NodeConfig& node);

}  // namespace sparkspan::engine::config
