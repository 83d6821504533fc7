#pragma once

#include "absl/status/status.h"
#include "engine/config/cluster_config.h"

namespace sparkspan::engine::config {

// Refuses by key what a configuration may say but this release cannot do yet (Unimplemented), so
// that nothing is silently done otherwise: encryption is never replaced by plaintext, nor RDMA by
// TCP. Head and workers ask before they open anything.
absl::Status CheckSupported(const ClusterConfig& config);

}  // namespace sparkspan::engine::config
