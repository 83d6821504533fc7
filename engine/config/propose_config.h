#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/config/cluster_config.h"
#include "engine/fabric/interfaces.h"

namespace sparkspan::engine::config {

// What a proposal has to know of a node.
struct NodeDescription {
  std::string name;
  std::int32_t cpus = 1;
  std::vector<fabric::Interface> interfaces;
};

struct Proposal {
  ClusterConfig config;
  std::vector<std::string> notes;               // on the cluster as a whole
  std::vector<std::vector<std::string>> nodes;  // [nodes]: why each entry says what it says
};

// A configuration for these machines, the head on the first. It is for a person to read and to
// keep: nothing is chosen when the daemons start. Of the subnets that every node has one interface
// in, the fastest carries collectives, and the management network, if there is one, control. Wi-Fi
// and loopback are never chosen, virtual interfaces only where there is nothing else. NotFound says
// what each node has when no subnet joins them all.
absl::StatusOr<Proposal> ProposeConfig(const std::vector<NodeDescription>& nodes,
                                       const std::string& model_path);

// As cluster.yaml, with the notes as comments.
std::string ToYaml(const Proposal& proposal);

}  // namespace sparkspan::engine::config
