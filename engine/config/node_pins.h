#pragma once

#include "absl/status/status.h"
#include "engine/config/cluster_config.h"

namespace sparkspan::engine::config {

// That this machine has the interfaces that cluster.yaml declares for it, up and with their
// addresses. Nothing is chosen in their place; errors list the candidates.
absl::Status VerifyControlPin(const NodeConfig& node);

// The control and the bootstrap pin.
absl::Status VerifyPins(const NodeConfig& node);

}  // namespace sparkspan::engine::config
