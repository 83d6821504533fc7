#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"

// Whether the machine at the other end of a TCP connection is still there. Its kernel acknowledges
// what arrives even while the process is stopped or busy, so only a cut path or a dead machine lets
// retransmissions go unanswered: long before the exchange's own deadline, and never because a rank
// computes for long.
namespace sparkspan::engine::collective {

// What the kernel knows of a connection's sending side (tcp(7), TCP_INFO).
struct TcpAcknowledgement {
  std::uint32_t unacknowledged = 0;   // segments sent and not acknowledged
  std::uint32_t retransmissions = 0;  // of the oldest of them, in a row
  Duration since_last{};              // since anything was acknowledged
};

absl::StatusOr<TcpAcknowledgement> ReadAcknowledgement(int socket);

// Whether what has been sent since `sending` ago is lost: it was retransmitted, and nothing at all
// was acknowledged for `limit`. A connection that was idle before counts from when it was used.
bool IsPathCut(const TcpAcknowledgement& found, Duration sending, Duration limit);

}  // namespace sparkspan::engine::collective
