#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "engine/config/cluster_config.h"

namespace sparkspan::engine::config {

// What is wrong with a configuration, and the key that should be looked at.
struct ConfigFault {
  std::string key;
  std::string what;  // What was found and what is expected.

  bool operator==(const ConfigFault&) const = default;
};

// The first contradiction between values that are each well-formed: ranks that are not 0 to n-1,
// ports or addresses given twice, a head that is no node, and the like. Empty when there is none.
// That interfaces exist and hold their addresses is for each machine to see (fabric::VerifyPin).
std::optional<ConfigFault> FindFault(const ClusterConfig& config);

// The same as a status, "key: what".
absl::Status Check(const ClusterConfig& config);

}  // namespace sparkspan::engine::config
