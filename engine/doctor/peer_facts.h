#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/config/cluster_config.h"
#include "engine/doctor/facts.h"
#include "engine/doctor/finding.h"

namespace sparkspan::engine::doctor {

// A data rail of a node: the pin of its netdev, and its RDMA device.
struct RailFacts {
  fabric::DeclaredPin pin;
  int prefix_length = 0;
  std::int64_t mtu = 0;
  std::string rdma_device;  // empty: none

  bool operator==(const RailFacts&) const = default;
};

// What two nodes compare beyond what cluster.yaml says of them.
struct PeerFacts {
  std::string node;
  std::string program_version;
  std::uint64_t config_hash = 0;
  std::string kernel;
  std::string gpu_driver;
  std::uint64_t checkpoint_index_hash = 0;
  std::int64_t checkpoint_bytes = 0;
  std::int64_t control_mtu = 0;
  std::int64_t bootstrap_mtu = 0;
  std::vector<RailFacts> rails;        // those that have an address, in the order of `data`
  std::int64_t unix_milliseconds = 0;  // the node's own clock

  bool operator==(const PeerFacts&) const = default;
};

PeerFacts MakePeerFacts(const config::ClusterConfig& config,
                        const config::NodeConfig& node,
                        const NodeFacts& facts,
                        std::string_view program_version,
                        std::int64_t unix_milliseconds);

// Versioned JSON, and back.
std::string ToJson(const PeerFacts& facts);
absl::StatusOr<PeerFacts> ParsePeerFacts(std::string_view json);

// The rail of `other` at the other end of `rail`: the only one in its subnet; null when none or
// several are.
const RailFacts* OtherEnd(const RailFacts& rail, const PeerFacts& other);

// Pure: peer.*. `round_trip_ms` bounds how far the clocks may seem apart without being so.
void ComparePeers(const PeerFacts& own,
                  const PeerFacts& other,
                  std::int64_t round_trip_ms,
                  Report* report);

}  // namespace sparkspan::engine::doctor
