#include "engine/config/local_config.h"

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/config/check_cluster_config.h"

namespace sparkspan::engine::config {

absl::StatusOr<ClusterConfig> MakeLocalConfig(const LocalCluster& cluster) {
  const std::size_t ranks = cluster.devices.size();
  if (cluster.control_ports.size() != ranks || cluster.data_ports.size() != ranks) {
    return absl::InvalidArgumentError(
        absl::StrFormat("found %d devices, %d control ports and %d data ports; expected one of "
                        "each for every rank",
                        ranks,
                        cluster.control_ports.size(),
                        cluster.data_ports.size()));
  }
  ClusterConfig config;
  config.cluster = "local";
  config.head = "local";
  config.model = cluster.model;
  config.numerics = cluster.numerics;
  config.experts = cluster.experts;
  config.draft = cluster.draft;
  config.verification = cluster.verification;
  config.verification_threshold_percent = cluster.verification_threshold_percent;
  config.limits = cluster.limits;
  config.api = cluster.api;
  if (config.api.address.empty()) {
    config.api.address = "127.0.0.1";
  }
  config.api.tls.plaintext = true;
  config.control_tls.plaintext = true;
  NodeConfig& node = config.nodes.emplace_back();
  node.name = "local";
  node.control = {"lo", {0x7F000001}};
  node.bootstrap = node.control;
  node.data = DataTransport::kTcp;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    node.ranks.push_back({Rank(static_cast<std::int32_t>(rank)),
                          cluster.devices[rank],
                          cluster.control_ports[rank],
                          cluster.data_ports[rank]});
  }
  RETURN_IF_ERROR(Check(config));
  return config;
}

}  // namespace sparkspan::engine::config
