#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "engine/config/cluster_config.h"
#include "engine/doctor/finding.h"
#include "engine/doctor/peer_facts.h"
#include "engine/fabric/counters.h"

namespace sparkspan::engine::doctor {

// Where another node answers probes (ProbeServer).
struct ProbeTarget {
  std::uint16_t port = 0;
  std::string token;
};

// Compares this node with another and measures every link between them, data rails among them:
// tcp.*, peer.* and subnet.rails. Each transfer is at most kProbeBytesMax, a link takes a few
// seconds and its bandwidth: not while the cluster serves.
void ProbeNode(const config::NodeConfig& node,
               const config::NodeConfig& peer,
               const ProbeTarget& target,
               const PeerFacts& own,
               Report* report);

using CountersByInterface = std::map<std::string, fabric::InterfaceCounters>;

// tcp.counters: whether a transfer of kProbeBytesMax from `interface` crossed it and no other.
void JudgeCounters(const std::string& subject,
                   const std::string& interface,
                   const CountersByInterface& before,
                   const CountersByInterface& after,
                   Report* report);

}  // namespace sparkspan::engine::doctor
