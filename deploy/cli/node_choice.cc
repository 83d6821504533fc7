#include "deploy/cli/node_choice.h"

#include <cstdlib>

#include "absl/strings/str_format.h"
#include "deploy/cli/flags.h"
#include "engine/base/status.h"

namespace sparkspan::deploy::cli {

using engine::config::NodeConfig;

absl::StatusOr<const NodeConfig*> ChooseNode(const engine::config::ClusterConfig& config,
                                             const std::string& name,
                                             const std::string& node_rank) {
  std::string names;
  for (const NodeConfig& node : config.nodes) {
    if (node.name == name) {
      return &node;
    }
    names += (names.empty() ? "" : ", ") + node.name;
  }
  if (!name.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--node %s: cluster.yaml has no such node; give one of: %s", name, names));
  }
  if (!node_rank.empty()) {
    const auto last = static_cast<std::int64_t>(config.nodes.size()) - 1;
    ASSIGN_OR_RETURN(const std::int64_t place, ParseInteger("NODE_RANK", node_rank, 0, last));
    return &config.nodes[static_cast<std::size_t>(place)];
  }
  if (config.nodes.size() > 1) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "cluster.yaml has several nodes (%s): say which one this machine is by --node NAME, or by "
        "NODE_RANK=0 for the first, 1 for the second",
        names));
  }
  return &config.nodes[0];
}

std::string NodeRankVariable() {
  const char* value = std::getenv("NODE_RANK");
  return value == nullptr ? "" : value;
}

}  // namespace sparkspan::deploy::cli
