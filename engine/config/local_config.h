#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/config/cluster_config.h"

namespace sparkspan::engine::config {

// One box whose ranks are processes that speak over loopback.
struct LocalCluster {
  Model model;
  // [ranks] each: what a rank computes on and where it listens.
  std::vector<Device> devices;
  std::vector<std::uint16_t> control_ports;
  std::vector<std::uint16_t> data_ports;
  Api api;  // On 127.0.0.1 where it names no address; always plaintext.
  Numerics numerics = Numerics::kQuantised;
  Experts experts = Experts::kSplit;
  Draft draft = Draft::kAuto;
  Verification verification = Verification::kHardware;
  std::int64_t verification_threshold_percent = 30;
  Limits limits;
};

// The checked configuration of `sparkspan serve`: a node "local" on 127.0.0.1 and `lo`, collectives
// over TCP, no TLS.
absl::StatusOr<ClusterConfig> MakeLocalConfig(const LocalCluster& cluster);

}  // namespace sparkspan::engine::config
