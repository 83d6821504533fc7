#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/thread.h"
#include "engine/base/unique_fd.h"
#include "engine/config/cluster_config.h"
#include "engine/doctor/peer_facts.h"
#include "engine/fabric/pin.h"

namespace sparkspan::engine::doctor {

// Answers the probes of other nodes' doctors on this node's control and bootstrap addresses, a
// connection at a time on each. Only addresses that cluster.yaml declares for another node are
// answered.
class ProbeServer {
 public:
  static absl::StatusOr<std::unique_ptr<ProbeServer>> Start(const config::ClusterConfig& config,
                                                            const config::NodeConfig& node,
                                                            std::uint16_t port,
                                                            PeerFacts facts);
  ~ProbeServer();
  ProbeServer(const ProbeServer&) = delete;
  ProbeServer& operator=(const ProbeServer&) = delete;

 private:
  struct Plane {
    fabric::DeclaredPin pin;
    UniqueFd listener;
  };

  ProbeServer(std::vector<Plane> planes,
              std::vector<fabric::Ipv4Address> peers,
              PeerFacts facts,
              UniqueFd stop_reader,
              UniqueFd stop_writer);
  void Run(const Plane& plane) const;
  void Answer(const Plane& plane, UniqueFd socket) const;

  const std::vector<Plane> planes_;
  const std::vector<fabric::Ipv4Address> peers_;
  const PeerFacts facts_;
  const UniqueFd stop_reader_;
  const UniqueFd stop_writer_;
  std::vector<Thread> threads_;  // last: they use all of the above
};

}  // namespace sparkspan::engine::doctor
