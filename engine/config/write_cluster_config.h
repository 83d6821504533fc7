#pragma once

#include <string>

#include "engine/config/cluster_config.h"

namespace sparkspan::engine::config {

// A file that ParseClusterConfig reads to an equal configuration, for a checked one.
std::string ToYaml(const ClusterConfig& config);

}  // namespace sparkspan::engine::config
