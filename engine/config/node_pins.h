#pragma once

#include <vector>

#include "absl/status/status.h"
#include "engine/config/cluster_config.h"
#include "engine/fabric/pin_monitor.h"

namespace sparkspan::engine::config {

// That this machine has the interfaces that cluster.yaml declares for it, up and with their
// addresses. Nothing is chosen in their place; errors list the candidates.
absl::Status VerifyControlPin(const NodeConfig& node);

// The control and the bootstrap pin.
absl::Status VerifyPins(const NodeConfig& node);

// The same two, each once, with the planes that they carry. Data without ranks is none.
std::vector<fabric::PlanePin> PlanePins(const ClusterConfig& config, const NodeConfig& node);

// The control pin of the node that runs the head, and the workers' nodes that it is to reach.
fabric::PlanePin HeadPin(const ClusterConfig& config, const NodeConfig& node);

}  // namespace sparkspan::engine::config
