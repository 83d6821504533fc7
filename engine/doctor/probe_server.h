#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/log_throttle.h"
#include "engine/base/stop_event.h"
#include "engine/base/thread.h"
#include "engine/base/unique_fd.h"
#include "engine/config/cluster_config.h"
#include "engine/doctor/peer_facts.h"
#include "engine/fabric/pin.h"

namespace sparkspan::engine::doctor {

struct ProbeServerOptions {
  std::uint16_t port = 0;
  // What a probe must know to be answered; empty: nothing, and only addresses that cluster.yaml
  // declares for another node are answered, on a rail those of its subnet.
  std::string token;
  // This node's facts as they are now; asked again for every probe that wants them, by any thread.
  std::function<absl::StatusOr<PeerFacts>()> facts;
};

// Answers the probes of other nodes' doctors on this node's control and bootstrap addresses and on
// its data rails, a connection at a time on each.
class ProbeServer {
 public:
  // Asks for the facts once, for the rails.
  static absl::StatusOr<std::unique_ptr<ProbeServer>> Start(const config::ClusterConfig& config,
                                                            const config::NodeConfig& node,
                                                            ProbeServerOptions options);
  ~ProbeServer();
  ProbeServer(const ProbeServer&) = delete;
  ProbeServer& operator=(const ProbeServer&) = delete;

 private:
  struct Plane {
    fabric::DeclaredPin pin;
    int rail_prefix_length = 0;  // 0: no rail, but a declared address
    UniqueFd listener;
  };
  class Session;

  ProbeServer(std::vector<Plane> planes,
              std::vector<fabric::Ipv4Address> peers,
              ProbeServerOptions options,
              StopEvent stop);
  void Run(const Plane& plane) const;
  void Answer(const Plane& plane, UniqueFd socket) const;
  bool MayAsk(const Plane& plane, fabric::Ipv4Address peer) const;
  void LogRefusal(std::string text) const;

  const std::vector<Plane> planes_;
  const std::vector<fabric::Ipv4Address> peers_;
  const ProbeServerOptions options_;
  const StopEvent stop_;
  mutable LogThrottle refusals_;
  std::vector<Thread> threads_;  // last: they use all of the above
};

}  // namespace sparkspan::engine::doctor
