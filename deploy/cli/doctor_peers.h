#pragma once

#include <cstdint>

#include "engine/config/cluster_config.h"
#include "engine/doctor/finding.h"
#include "engine/doctor/peer_facts.h"

namespace sparkspan::deploy::cli {

// The part of `sparkspan doctor` that is between nodes: has the other nodes' workers look at their
// machines and answer probes, where this is the head's node and they run, and probes every link; a
// node without a worker is probed by the standing doctor (`--answer`) on `probe_port`. With three
// nodes and more the workers probe each other too.
void ExaminePeers(const engine::config::ClusterConfig& config,
                  const engine::config::NodeConfig& node,
                  std::uint16_t probe_port,
                  const engine::doctor::PeerFacts& own,
                  engine::doctor::Report* report);

}  // namespace sparkspan::deploy::cli
