#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/config/cluster_config.h"
#include "engine/weights/checkpoint.h"
#include "head/api/request.h"

namespace sparkspan::head {

// The model as clients see it: names and choices of cluster.yaml, facts of the checkpoint. Errors
// name the key of cluster.yaml.
absl::StatusOr<api::ServedModel> MakeServedModel(const engine::config::ClusterConfig& config,
                                                 const engine::weights::Checkpoint& checkpoint);

// The keys of a file, one a line; empty lines and those that begin with # do not count. No file, no
// keys. An error names the file; a file without any key is one: it would open the API to all.
absl::StatusOr<std::vector<std::string>> ReadApiKeys(const std::string& file);

}  // namespace sparkspan::head
