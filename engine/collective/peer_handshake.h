#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/base/unique_fd.h"
#include "engine/collective/abort_signal.h"
#include "engine/collective/wire_format.h"
#include "engine/fabric/address.h"
#include "engine/fabric/pinned_socket.h"

namespace sparkspan::engine::collective {

// One rank's part in a group of ranks that exchange over TCP.
struct TcpOptions {
  Rank rank;
  std::vector<fabric::Endpoint> endpoints;  // [ranks]: where each rank listens
  std::string interface;                    // of this rank; holds endpoints[rank]'s address
  Epoch epoch;
  std::uint64_t config_hash = 0;  // of the cluster's configuration (engine/config)
  SessionKey key{};
  // For all peers to be connected, from the call on.
  Duration connect_timeout = std::chrono::seconds(30);
  // For one accepted connection to say who it is. Others do not wait for it.
  Duration hello_timeout = std::chrono::seconds(5);
  // For one exchange of a step, from the call on.
  Duration exchange_timeout = std::chrono::seconds(30);
  // For a peer's kernel to acknowledge what was sent to it (tcp_path.h): a cut link ends an
  // exchange after so long, however long the exchange itself may take.
  Duration silence_limit = std::chrono::seconds(1);
};

// That the options describe a group; an error names the field.
absl::Status Validate(const TcpOptions& options);

// A connected, mutually accepted peer; the socket is non-blocking and without Nagle's delay.
struct PeerConnection {
  Rank rank;
  UniqueFd socket;
  fabric::SocketPath path;
};

// "rank 1 (192.168.177.2:7200, interface enp1s0f1np1)": how errors name a peer. The interface is
// this machine's.
std::string PeerName(const TcpOptions& options, Rank peer);

// Connects to the lower ranks and accepts the higher ones on `listener`, all at the same time, and
// returns the peers in the order of their ranks. Strangers are refused with a warning and hold
// nobody up: those from an address that is no peer's at once, those that say nothing after
// hello_timeout. A peer that proves to know the key but has another configuration is an error.
// Waits until connect_timeout or `abort`.
absl::StatusOr<std::vector<PeerConnection>> ConnectPeers(const TcpOptions& options,
                                                         int listener,
                                                         const AbortSignal& abort);

}  // namespace sparkspan::engine::collective
