#pragma once

#include <cstdint>
#include <functional>
#include <optional>
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

// A port made for a fabric, faster than any management port.
bool IsFabric(const fabric::Interface& interface);

struct ProposalOptions {
  std::string model_path;
  // Tokens of a sequence that the checkpoint there was made for; empty: it was not read.
  std::optional<std::int64_t> context_max = {};
  DataTransport data = DataTransport::kTcp;  // kRails: the fabric's ports with RDMA devices
  // The MAC that answers on this machine's pin for an address of another node; without it links are
  // not probed (fabric::FindNeighbour).
  std::function<absl::StatusOr<std::string>(const fabric::DeclaredPin& pin,
                                            fabric::Ipv4Address peer)>
      probe = {};
};

struct Proposal {
  ClusterConfig config;
  std::vector<std::string> notes;               // on the cluster as a whole
  std::vector<std::vector<std::string>> nodes;  // [nodes]: why each entry says what it says
};

// A configuration for these machines, the head on the first, which is this one. It is for a person
// to read and to keep: nothing is chosen when the daemons start. Of the subnets that every node has
// one interface in, the fastest carries collectives, and the management network, if there is one,
// control. Wi-Fi and loopback are never chosen, virtual interfaces only where there is nothing
// else. A subnet whose probe is not answered by the interface that is described is left out.
// NotFound says what each node has when no subnet joins them all, FailedPrecondition that there are
// no rails.
absl::StatusOr<Proposal> ProposeConfig(const std::vector<NodeDescription>& nodes,
                                       const ProposalOptions& options);

// As cluster.yaml, with the notes as comments.
std::string ToYaml(const Proposal& proposal);

}  // namespace sparkspan::engine::config
