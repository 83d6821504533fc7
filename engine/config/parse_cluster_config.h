#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/config/cluster_config.h"

namespace sparkspan::engine::config {

// The checked configuration that the YAML `text` describes. Unknown and duplicate keys, wrong types
// and contradictions are errors of the form "file:line: key: what was found; what is expected".
// `file` only names the text. deploy/examples/cluster.yaml shows every key.
absl::StatusOr<ClusterConfig> ParseClusterConfig(std::string_view text, std::string_view file);

// The same for a file of at most kYamlBytesMax bytes.
absl::StatusOr<ClusterConfig> ReadClusterConfig(const std::string& file);

}  // namespace sparkspan::engine::config
