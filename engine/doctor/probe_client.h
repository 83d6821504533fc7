#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "engine/config/cluster_config.h"
#include "engine/doctor/finding.h"
#include "engine/doctor/peer_facts.h"
#include "engine/fabric/counters.h"

namespace sparkspan::engine::doctor {

// Asks the doctors that answer on the other nodes (ProbeServer), over every plane: tcp.* and peer.*
// findings. Each transfer is at most kProbeBytesMax, a pair of nodes takes a few seconds. Not while
// the cluster serves: it takes the link's bandwidth.
void ProbePeers(const config::ClusterConfig& config,
                const config::NodeConfig& node,
                std::uint16_t port,
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
