#pragma once

#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/config/cluster_config.h"
#include "engine/fabric/interfaces.h"
#include "engine/fabric/nccl_settings.h"
#include "engine/fabric/rdma.h"

namespace sparkspan::engine::config {

// How NCCL is to use what the node declares, with the GID indices of the moment. NotFound names a
// rail that this machine does not have.
absl::StatusOr<fabric::NcclPlan> PlanNccl(const ClusterConfig& config,
                                          const NodeConfig& node,
                                          std::span<const fabric::Interface> interfaces,
                                          std::span<const fabric::RdmaPort> ports);

// Takes inherited variables of network libraries out of this process's environment, unless the file
// keeps them, and says which; reports nccl.conf files; where ranks of the node compute on a GPU,
// sets what PlanNccl asks for and was not kept. From main, before any thread starts and before
// NCCL's first call.
absl::Status PrepareEnvironment(const ClusterConfig& config, const NodeConfig& node);

}  // namespace sparkspan::engine::config
