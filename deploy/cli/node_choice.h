#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/config/cluster_config.h"

namespace sparkspan::deploy::cli {

// The entry of `config.nodes` that this machine is: the one named `name` (the --node flag), or
// without a name the one at place `node_rank` (the variable NODE_RANK, counted from 0), or without
// either the only one. Never guessed from host names or addresses.
absl::StatusOr<const engine::config::NodeConfig*> ChooseNode(
    const engine::config::ClusterConfig& config,
    const std::string& name,
    const std::string& node_rank);

// The value of NODE_RANK; empty where there is none.
std::string NodeRankVariable();

}  // namespace sparkspan::deploy::cli
